import ArgumentParser
import ControlPlane
import JSON

struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Bring another system's records into a tenant's rate limits.",
        discussion: """
            JSON lines {"operation", "timestamp"}, the time in ms since 1970 or RFC 3339; "cost" \
            and "count" may be given. Every line is checked first, and nothing is imported if one \
            is bad. Counts what a window may still count, and what the charts show; works while \
            it is served. The same file is never imported twice: its SHA-256 tells, so a changed \
            file is another one.
            """)

    @OptionGroup var options: SettingsOptions
    @Argument(help: "The file of lines.") var file: String
    @Option(name: .long, help: "The tenant's id.") var tenant: String
    @Flag(name: .long, help: "Pass bad lines over, naming them.") var skipBad = false

    func run() async throws {
        let settings = try options.settings()
        guard let id = Tenant.ID(tenant), id != .fleet else {
            throw ValidationError("--tenant: \(tenant) is not a tenant's id")
        }
        let work = Import(settings: settings, path: file, tenant: id, skipsBad: skipBad)
        try await reporting {
            let report = try work.run { print("breakwater: \($0)", to: .standardError) }
            var writer = JSONWriter()
            report.write(to: &writer)
            return String(decoding: writer.bytes, as: UTF8.self)
        }
    }
}
