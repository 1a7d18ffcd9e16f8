import ControlPlane
import IO

/// One thing that an operator may set: its name, what it takes, and why it is as it is.
///
/// The table of settings is the one place where they are listed: environment, file, `--set`,
/// `breakwater settings` and the docs read it.
struct Setting: Sendable {
    /// Dotted, e.g. `http.headBytes`; the unit is at its end.
    let name: String
    let help: String
    /// Never shown.
    var isSecret = false
    let read: @Sendable (String, inout Settings) throws(SettingsError) -> Void
    let show: @Sendable (Settings) -> String

    /// `http.headBytes` → `BREAKWATER_HTTP_HEAD_BYTES`.
    var environmentName: String {
        if name == "databaseURL" { return "DATABASE_URL" }
        if name == "databaseMigrationURL" { return "DATABASE_MIGRATION_URL" }
        if name == "databaseListenURL" { return "DATABASE_LISTEN_URL" }
        if name == "outbound.allowPrivate" { return "BREAKWATER_ALLOW_PRIVATE_UPSTREAMS" }
        var text = "BREAKWATER_"
        var wasLower = false
        for character in name {
            if character == "." {
                text += "_"
                wasLower = false
            } else {
                if character.isUppercase && wasLower { text += "_" }
                text += character.uppercased()
                wasLower = character.isLowercase
            }
        }
        return text
    }
}

/// A setting that cannot be taken: which, and what it must be.
struct SettingsError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension Setting {
    static func int(
        _ name: String, _ path: any WritableKeyPath<Settings, Int> & Sendable,
        _ range: ClosedRange<Int>,
        _ help: String
    ) -> Setting {
        Setting(name: name, help: help) { text, settings throws(SettingsError) in
            guard let value = Int(text), range.contains(value) else {
                throw SettingsError(
                    "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            settings[keyPath: path] = value
        } show: {
            "\($0[keyPath: path])"
        }
    }

    static func optionalInt(
        _ name: String, _ path: any WritableKeyPath<Settings, Int64?> & Sendable,
        _ range: ClosedRange<Int64>, _ help: String
    ) -> Setting {
        Setting(name: name, help: help) { text, settings throws(SettingsError) in
            guard let value = Int64(text), range.contains(value) else {
                throw SettingsError(
                    "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            settings[keyPath: path] = value
        } show: { settings in
            settings[keyPath: path].map { "\($0)" } ?? ""
        }
    }

    /// A duration in the unit at the name's end: `S` or `Ms`.
    static func duration(
        _ name: String, _ path: any WritableKeyPath<Settings, Duration> & Sendable,
        _ range: ClosedRange<Int>, _ help: String
    ) -> Setting {
        let isMilliseconds = name.hasSuffix("Ms")
        return Setting(name: name, help: help) { text, settings throws(SettingsError) in
            guard let value = Int(text), range.contains(value) else {
                throw SettingsError(
                    "must be a whole number from \(range.lowerBound) to \(range.upperBound) (\(isMilliseconds ? "ms" : "seconds"))"
                )
            }
            settings[keyPath: path] = isMilliseconds ? .milliseconds(value) : .seconds(value)
        } show: {
            let value = $0[keyPath: path]
            return "\(isMilliseconds ? value.milliseconds : value.components.seconds)"
        }
    }

    /// Waits in milliseconds with commas between, 1 to 20 of at most an hour each.
    static func milliseconds(
        _ name: String, _ path: any WritableKeyPath<Settings, [Int]> & Sendable, _ help: String
    ) -> Setting {
        Setting(name: name, help: help) { text, settings throws(SettingsError) in
            let parts = text.split(separator: ",", omittingEmptySubsequences: false)
            let waits = parts.compactMap { Int(String($0).trimmed) }
            let range = 0...RetryPolicy.longestWait
            guard (1...20).contains(parts.count), waits.count == parts.count,
                waits.allSatisfy(range.contains)
            else {
                throw SettingsError(
                    "must be 1 to 20 whole numbers from 0 to \(range.upperBound) (ms), with commas")
            }
            settings[keyPath: path] = waits
        } show: {
            $0[keyPath: path].map(String.init).joined(separator: ",")
        }
    }

    static func bool(
        _ name: String, _ path: any WritableKeyPath<Settings, Bool> & Sendable, _ help: String
    ) -> Setting {
        Setting(name: name, help: help) { text, settings throws(SettingsError) in
            switch text.lowercased() {
            case "true", "1", "yes", "on": settings[keyPath: path] = true
            case "false", "0", "no", "off": settings[keyPath: path] = false
            default: throw SettingsError("must be true or false")
            }
        } show: {
            "\($0[keyPath: path])"
        }
    }

    static func text(
        _ name: String, _ path: any WritableKeyPath<Settings, String?> & Sendable,
        isSecret: Bool = false, _ help: String
    ) -> Setting {
        Setting(name: name, help: help, isSecret: isSecret) {
            text, settings throws(SettingsError) in
            guard !text.isEmpty else { throw SettingsError("must not be empty") }
            settings[keyPath: path] = text
        } show: { settings in
            guard let value = settings[keyPath: path] else { return "" }
            return isSecret ? "<redacted>" : value
        }
    }

    /// Keys that seal secrets, separated by commas.
    static func secretKeys(
        _ name: String, _ path: any WritableKeyPath<Settings, [SecretKey]> & Sendable,
        _ help: String, atMost: Int
    ) -> Setting {
        Setting(name: name, help: help, isSecret: true) { text, settings throws(SettingsError) in
            let parts = text.split(separator: ",", omittingEmptySubsequences: false)
            let keys = parts.compactMap { SecretKey(String($0).trimmed) }
            guard keys.count == parts.count, keys.count <= atMost else {
                throw SettingsError(
                    "must be 32 octets as 64 hexadecimal digits or in base64"
                        + (atMost > 1 ? ", at most \(atMost) of them with commas" : "")
                        + "; `openssl rand -hex 32` makes one")
            }
            settings[keyPath: path] = keys
        } show: {
            $0[keyPath: path].isEmpty ? "" : "<redacted>"
        }
    }

    /// What libpq takes. To a URL of another kind it would say that a socket of its own is missing.
    static func database(
        _ name: String, _ path: any WritableKeyPath<Settings, String?> & Sendable, _ help: String
    ) -> Setting {
        Setting(name: name, help: help, isSecret: true) { text, settings throws(SettingsError) in
            let scheme = text.prefix { $0.isLetter || $0.isNumber || "+-.".contains($0) }
            let isOther =
                text.dropFirst(scheme.count).hasPrefix("://")
                && !["postgresql", "postgres"].contains(scheme)
            guard !text.isEmpty, !isOther else {
                throw SettingsError(
                    "must be a libpq URL, postgresql://user@host/database, or its keywords, "
                        + "host=... dbname=...")
            }
            settings[keyPath: path] = text
        } show: {
            $0[keyPath: path] == nil ? "" : "<redacted>"
        }
    }

    static func double(
        _ name: String, _ path: any WritableKeyPath<Settings, Double> & Sendable,
        _ range: ClosedRange<Double>, _ help: String
    ) -> Setting {
        Setting(name: name, help: help) { text, settings throws(SettingsError) in
            guard let value = Double(text), range.contains(value) else {
                throw SettingsError(
                    "must be a number from \(range.lowerBound) to \(range.upperBound)")
            }
            settings[keyPath: path] = value
        } show: {
            "\($0[keyPath: path])"
        }
    }

    /// One of the cases of an enum, by their raw values.
    static func choice<Value: RawRepresentable<String> & CaseIterable & Sendable>(
        _ name: String, _ path: any WritableKeyPath<Settings, Value> & Sendable, _ help: String
    ) -> Setting {
        Setting(name: name, help: help) { text, settings throws(SettingsError) in
            guard let value = Value(rawValue: text) else {
                let known = Value.allCases.map(\.rawValue).joined(separator: ", ")
                throw SettingsError("must be one of \(known)")
            }
            settings[keyPath: path] = value
        } show: {
            $0[keyPath: path].rawValue
        }
    }

    /// A duration in milliseconds, or none.
    static func optionalDuration(
        _ name: String, _ path: any WritableKeyPath<Settings, Duration?> & Sendable,
        _ range: ClosedRange<Int>, _ help: String
    ) -> Setting {
        Setting(name: name, help: help) { text, settings throws(SettingsError) in
            guard let value = Int(text), range.contains(value) else {
                throw SettingsError(
                    "must be a whole number from \(range.lowerBound) to \(range.upperBound) (ms)")
            }
            settings[keyPath: path] = .milliseconds(value)
        } show: { settings in
            settings[keyPath: path].map { "\($0.milliseconds)" } ?? ""
        }
    }
}
