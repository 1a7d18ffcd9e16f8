import ControlPlane
import Glibc
import IO

/// Where settings come from, the strongest last: defaults, file, environment, flags.
enum SettingsReader {
    /// Reads all three. Unknown names are refused: a typing error must not pass for a default.
    static func read(
        file: String?, environment: [String: String],
        flags: [(flag: String, name: String, value: String)]
    ) throws(SettingsError) -> Settings {
        let (settings, errors) = check(file: file, environment: environment, flags: flags)
        if let first = errors.first { throw first }
        return settings
    }

    /// What could be read, and everything that could not.
    static func check(
        file: String?, environment: [String: String],
        flags: [(flag: String, name: String, value: String)]
    ) -> (Settings, [SettingsError]) {
        var settings = Settings()
        var errors: [SettingsError] = []
        if let file {
            apply(lines(of: file, &errors), from: file, to: &settings, &errors)
        }
        apply(fromEnvironment(environment, &errors), from: "environment", to: &settings, &errors)
        for (flag, name, value) in flags {
            guard let setting = Settings.table.first(where: { $0.name == name }) else {
                errors.append(
                    SettingsError("there is no setting \(name); see `breakwater settings`"))
                continue
            }
            do throws(SettingsError) {
                try take(setting, value, from: flag, into: &settings)
            } catch { errors.append(error) }
        }
        if let fault = settings.breakers.policy.fault {
            errors.append(SettingsError("breaker: \(fault)"))
        }
        settings.cleanup.usageRetention = settings.ledger.retention
        settings.sandboxTasks.settle = settings.reconciler.settle
        #if DEBUG
            if let factor = environment[Settings.testTimeScale].flatMap({ Int($0) }), factor > 0 {
                settings.shortenSandboxTimes(by: factor)
            }
        #endif
        return (settings, errors)
    }

    private static func apply(
        _ values: [(name: String, value: String)], from place: String, to settings: inout Settings,
        _ errors: inout [SettingsError]
    ) {
        for (name, value) in values {
            guard
                let setting = Settings.table.first(where: {
                    $0.environmentName == name || $0.name == name
                })
            else {
                errors.append(
                    SettingsError(
                        "\(place): there is no setting \(name); see `breakwater settings`"))
                continue
            }
            do throws(SettingsError) {
                try take(setting, value, from: place, into: &settings)
            } catch { errors.append(error) }
        }
    }

    private static func take(
        _ setting: Setting, _ value: String, from place: String, into settings: inout Settings
    ) throws(SettingsError) {
        do throws(SettingsError) {
            try setting.read(value, &settings)
        } catch {
            throw SettingsError("\(place): \(setting.name) \(error)")
        }
    }

    /// Names that other parts of the command, its scripts and its tests read, no settings of the
    /// service.
    private static let reserved: Set<String> = [
        "BREAKWATER_URL", "BREAKWATER_CONFIG", "BREAKWATER_BIN", "BREAKWATER_TEST_DATABASE_URL",
        "BREAKWATER_TEST_CRASH", "BREAKWATER_TEST_TIME_SCALE", "BREAKWATER_GOLDEN",
    ]

    /// `BREAKWATER_...` and `DATABASE_URL`; `..._FILE` names a file that holds the value.
    private static func fromEnvironment(
        _ environment: [String: String], _ errors: inout [SettingsError]
    ) -> [(name: String, value: String)] {
        var values: [(name: String, value: String)] = []
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) {
            guard
                name.hasPrefix("BREAKWATER_")
                    || ["DATABASE_URL", "DATABASE_MIGRATION_URL", "DATABASE_LISTEN_URL"].contains(
                        name.hasSuffix("_FILE") ? String(name.dropLast(5)) : name),
                !reserved.contains(name), !value.isEmpty
            else { continue }
            if name.hasSuffix("_FILE") {
                guard let text = readFile(value) else {
                    errors.append(SettingsError("\(name): cannot read \(value)"))
                    continue
                }
                values.append((String(name.dropLast(5)), text.trimmed))
            } else {
                values.append((name, value))
            }
        }
        return values
    }

    /// `NAME=value` a line, as systemd's EnvironmentFile; `#` starts a comment line.
    private static func lines(
        of file: String, _ errors: inout [SettingsError]
    ) -> [(name: String, value: String)] {
        guard let text = readFile(file) else {
            errors.append(SettingsError("cannot read \(file)"))
            return []
        }
        var values: [(name: String, value: String)] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            let line = String(line).trimmed
            if line.isEmpty || line.hasPrefix("#") { continue }
            guard let equals = line.firstIndex(of: "=") else {
                errors.append(SettingsError("\(file), line \(index + 1): must be NAME=value"))
                continue
            }
            var value = String(line[line.index(after: equals)...]).trimmed
            if value.count >= 2, value.hasPrefix("\""), value.hasSuffix("\"") {
                value = String(value.dropFirst().dropLast())
            }
            values.append((String(line[..<equals]).trimmed, value))
        }
        return values
    }

    /// The process's environment.
    static var environment: [String: String] {
        var values: [String: String] = [:]
        var entry = unsafe environ
        while let text = unsafe entry.pointee {
            let line = unsafe String(cString: text)
            if let equals = line.firstIndex(of: "=") {
                values[String(line[..<equals])] = String(line[line.index(after: equals)...])
            }
            unsafe entry += 1
        }
        return values
    }
}

extension String {
    /// Without white space at both ends.
    var trimmed: String {
        let isSpace = { (character: Character) in character.isWhitespace }
        return String(drop(while: isSpace).reversed().drop(while: isSpace).reversed())
    }
}
