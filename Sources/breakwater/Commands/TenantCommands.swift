import ArgumentParser
import Glibc
import JSON

struct TenantCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tenant", abstract: "Make, list, suspend, resume, export and delete tenants.",
        subcommands: [
            Create.self, List.self, Show.self, Suspend.self, Resume.self, Export.self, Delete.self,
        ])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a tenant.")
        @OptionGroup var options: ClientOptions
        @Argument(help: "Its name, 1 to 100 characters.") var name: String

        func run() async throws {
            var writer = JSONWriter()
            writer.object { $0.member("name", name) }
            try await options.show("POST", "/v1/admin/tenants", body: writer.bytes)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List tenants, a page at a time.")
        @OptionGroup var options: ClientOptions
        @Option(help: "Items of a page, 1 to 200.") var limit: Int = 200
        @Option(help: "nextCursor of the page before.") var cursor: String?

        func run() async throws {
            try await options.show("GET", "/v1/admin/tenants?limit=\(limit)" + cursorQuery(cursor))
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one tenant.")
        @OptionGroup var options: ClientOptions
        @Argument(help: "The tenant's id.") var tenant: String

        func run() async throws {
            try await options.show("GET", "/v1/admin/tenants/\(try checkedID(tenant))")
        }
    }

    struct Suspend: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Refuse all of a tenant's keys, on every instance within a second.")
        @OptionGroup var options: ClientOptions
        @Argument(help: "The tenant's id.") var tenant: String
        @Option(help: "Why; kept with the tenant and in its audit log.") var reason: String?

        func run() async throws {
            var writer = JSONWriter()
            writer.object { $0.member("reason", ifPresent: reason) }
            try await options.show(
                "POST", "/v1/admin/tenants/\(try checkedID(tenant))/suspend", body: writer.bytes)
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a suspended tenant's keys work again.")
        @OptionGroup var options: ClientOptions
        @Argument(help: "The tenant's id.") var tenant: String

        func run() async throws {
            try await options.show(
                "POST", "/v1/admin/tenants/\(try checkedID(tenant))/resume")
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a suspended tenant and all its rows, for good.")
        @OptionGroup var options: ClientOptions
        @Argument(help: "The tenant's id.") var tenant: String
        @Option(help: "The tenant's name, so that a wrong id deletes nobody.") var confirm: String

        func run() async throws {
            try await options.show(
                "DELETE", "/v1/admin/tenants/\(try checkedID(tenant))?" + query("confirm", confirm))
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write all that is kept of a tenant to standard output, as JSON lines.")
        @OptionGroup var options: ClientOptions
        @Argument(help: "The tenant's id.") var tenant: String

        func run() async throws {
            let client = try options.client()
            let path = "/v1/admin/tenants/\(try checkedID(tenant))/export"
            do {
                let end = try await onThread { try client.stream(path, to: writeAll) }
                guard String(decoding: end, as: UTF8.self).contains(#"{"type": "end", "#) else {
                    throw APIClient.Failure(description: "the export ends early; it is not whole")
                }
            } catch {
                print("breakwater: \(describe(error))", to: .standardError)
                throw ExitCode(1)
            }
        }
    }
}

/// To standard output; false when that cannot be written to.
private func writeAll(_ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = unsafe rest.withUnsafeBytes { piece in
            unsafe write(STDOUT_FILENO, piece.baseAddress, piece.count)
        }
        if count < 0, errno != EINTR { return false }
        rest = rest.dropFirst(max(0, count))
    }
    return true
}
