import ArgumentParser
import ControlPlane
import Postgres

/// The flags that `serve` and `migrate` share.
struct SettingsOptions: ParsableArguments {
    @Option(name: .long, help: "File of NAME=value lines; the environment and flags win over it.")
    var config: String?

    @Option(
        name: .long,
        help:
            "Where to serve: host:port or unix:/path, several with commas (default 127.0.0.1:8080)."
    )
    var listen: String?

    @Option(
        name: .long,
        help: "Folder of the private PostgreSQL and the operator key (default ./.breakwater).")
    var data: String?

    @Option(
        name: .customLong("set"), help: "Any setting, as name=value; see `breakwater settings`.")
    var assignments: [String] = []

    func settings() throws -> Settings {
        let (settings, errors) = try checked()
        if let first = errors.first { throw ValidationError("\(first)") }
        return settings
    }

    /// What could be read, and everything that could not; throws only for a malformed flag.
    func checked() throws -> (Settings, [SettingsError]) {
        var flags: [(flag: String, name: String, value: String)] = []
        if let listen { flags.append(("--listen", "listen", listen)) }
        if let data { flags.append(("--data", "data", data)) }
        for assignment in assignments {
            guard let equals = assignment.firstIndex(of: "=") else {
                throw ValidationError("--set \(assignment): must be name=value")
            }
            let value = String(assignment[assignment.index(after: equals)...])
            flags.append(("--set", String(assignment[..<equals]), value))
        }
        return SettingsReader.check(
            file: file, environment: SettingsReader.environment, flags: flags)
    }

    /// The file of settings, if one is named.
    var file: String? { config ?? SettingsReader.environment["BREAKWATER_CONFIG"] }
}

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve until SIGTERM or SIGINT.",
        discussion: """
            Logs JSON lines on standard output and prints nothing else there. The first start makes
            an operator key, shows it once on standard error and keeps it in DATA/operator.key.
            """)

    @OptionGroup var options: SettingsOptions

    func run() async throws {
        let settings = try options.settings()
        let tell = makeTell(level: settings.logLevel)
        do {
            try await Service(settings: settings, log: tell).run()
        } catch {
            print("breakwater: \(describe(error))", to: .standardError)
            throw ExitCode(1)
        }
    }
}

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring the database's schema to this version; `serve` does so by itself.")

    @OptionGroup var options: SettingsOptions

    @Flag(name: .long, help: "Say what would be applied, and change nothing.")
    var dryRun = false

    func run() async throws {
        let settings = try options.settings()
        let dryRun = dryRun
        do {
            let lines = try await onThread { try migrate(settings, dryRun: dryRun) }
            for line in lines { print(line, to: .standardOutput) }
        } catch {
            print("breakwater: \(describe(error))", to: .standardError)
            throw ExitCode(1)
        }
    }
}

/// An error's text for an operator, on one line and without secrets.
func describe(_ error: any Error) -> String {
    var text = "\(error)"
    if case .postgres(let cause)? = error as? ControlPlaneError {
        text = "the database does not answer: \(cause.reason)"
    }
    return redacted(text.split(whereSeparator: \.isWhitespace).joined(separator: " "))
}
