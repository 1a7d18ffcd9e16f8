import ArgumentParser
import ControlPlane
import IO
import JSON

/// Which instance, and as whom.
struct ClientOptions: ParsableArguments {
    @Option(
        name: .long,
        help:
            "Base URL of the instance, or unix:/path (BREAKWATER_URL; default http://127.0.0.1:8080)."
    )
    var url: String?

    @Option(
        name: .long, help: "Key to call with (BREAKWATER_OPERATOR_KEY, else DATA/operator.key).")
    var key: String?

    @Option(
        name: .long,
        help: "Data folder that holds operator.key (BREAKWATER_DATA; default ./.breakwater).")
    var data: String?

    func client() throws -> APIClient {
        let environment = givenVariables()
        let folder = data ?? environment["BREAKWATER_DATA"] ?? "./.breakwater"
        let found =
            key ?? environment["BREAKWATER_OPERATOR_KEY"]
            ?? readFile(folder + "/operator.key")?.trimmed
        guard let found, !found.isEmpty else {
            throw ValidationError(
                "no key: give --key, set BREAKWATER_OPERATOR_KEY, or name the data folder with --data"
            )
        }
        return APIClient(url: try baseURL(url), key: found)
    }

    /// Calls and prints the answer as it is: one JSON document, for people and `jq` alike.
    func show(_ method: String, _ path: String, body: [UInt8]? = nil) async throws {
        let client = try client()
        do {
            let answer = try await onThread { try client.call(method, path, body: body) }
            if !answer.isEmpty {
                print(String(decoding: answer, as: UTF8.self), to: .standardOutput)
            }
        } catch {
            print("breakwater: \(describe(error))", to: .standardError)
            throw ExitCode(1)
        }
    }
}

struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Make, list, rotate and revoke API keys.",
        subcommands: [Create.self, List.self, Rotate.self, Revoke.self, Generate.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key; the answer is the only place where it stands.")
        @OptionGroup var options: ClientOptions
        @Argument(help: "The tenant's id.") var tenant: String
        @Option(
            name: .customLong("scope"),
            help: "record, sandbox, read or admin; several times. Default record and read.")
        var scopes: [String] = []
        @Option(help: "A name for people.") var name: String = ""
        @Option(help: "When it ends, e.g. 2030-01-31T12:00:00Z.") var expiresAt: String?

        func run() async throws {
            var writer = JSONWriter()
            writer.object {
                $0.member("scopes", scopes.isEmpty ? ["record", "read"] : scopes)
                $0.member("name", name)
                $0.member("expiresAt", ifPresent: expiresAt)
            }
            try await options.show(
                "POST", "/v1/admin/tenants/\(try checkedID(tenant))/keys", body: writer.bytes)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List a tenant's keys.")
        @OptionGroup var options: ClientOptions
        @Argument(help: "The tenant's id.") var tenant: String
        @Option(help: "Items of a page, 1 to 200.") var limit: Int = 200
        @Option(help: "nextCursor of the page before.") var cursor: String?

        func run() async throws {
            try await options.show(
                "GET",
                "/v1/admin/tenants/\(try checkedID(tenant))/keys?limit=\(limit)"
                    + cursorQuery(cursor))
        }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key that takes over; the old one ends after the overlap.")
        @OptionGroup var options: ClientOptions
        @Argument(help: "The tenant's id.") var tenant: String
        @Argument(help: "The old key's id.") var key: String
        @Option(help: "Seconds for which both work, 0 to 604800.") var overlapS: Int = 86_400

        func run() async throws {
            var writer = JSONWriter()
            writer.object { $0.member("overlapS", overlapS) }
            try await options.show(
                "POST",
                "/v1/admin/tenants/\(try checkedID(tenant))/keys/\(try checkedID(key))/rotate",
                body: writer.bytes)
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a key, on every instance within a second.")
        @OptionGroup var options: ClientOptions
        @Argument(help: "The tenant's id.") var tenant: String
        @Argument(help: "The key's id.") var key: String

        func run() async throws {
            try await options.show(
                "DELETE", "/v1/admin/tenants/\(try checkedID(tenant))/keys/\(try checkedID(key))")
        }
    }

    struct Generate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a new key, e.g. for BREAKWATER_OPERATOR_KEY; nothing is stored.")

        func run() async throws {
            var random = SystemRandomNumberGenerator()
            print(APIKeySecret(using: &random).text, to: .standardOutput)
        }
    }
}

struct Health: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Exit 0 if the instance is ready, 1 if not; for container health checks.")
    @Option(
        name: .long,
        help:
            "Base URL of the instance, or unix:/path (BREAKWATER_URL; default http://127.0.0.1:8080)."
    )
    var url: String?

    func run() async throws {
        let client = APIClient(url: try baseURL(url), key: nil)
        do {
            let answer = try await onThread { try client.call("GET", "/readyz") }
            print(String(decoding: answer, as: UTF8.self), to: .standardOutput)
        } catch {
            print("breakwater: \(describe(error))", to: .standardError)
            throw ExitCode(1)
        }
    }
}

/// An empty variable is one that is not given, as for `serve`.
private func givenVariables() -> [String: String] {
    SettingsReader.environment.filter { !$0.value.isEmpty }
}

/// Where the instance is, without a slash at its end; only what speaks HTTP.
private func baseURL(_ given: String?) throws -> String {
    var base = given ?? givenVariables()["BREAKWATER_URL"] ?? "http://127.0.0.1:8080"
    while base.hasSuffix("/") { base.removeLast() }
    let isOther = base.contains("://") && !base.hasPrefix("http://") && !base.hasPrefix("https://")
    guard !base.isEmpty, !isOther else {
        throw ValidationError("the base URL must be like http://127.0.0.1:8080 or unix:/path")
    }
    return base
}

/// `&cursor=...`, or nothing.
func cursorQuery(_ cursor: String?) -> String {
    cursor.map { "&" + query("cursor", $0) } ?? ""
}

/// Escaped but for the unreserved characters of RFC 3986, 2.3: a value is what the caller types.
func query(_ name: String, _ value: String) -> String {
    value.utf8.reduce(into: name + "=") { query, byte in
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e:
            query.unicodeScalars.append(Unicode.Scalar(byte))
        default:
            let digits = String(byte, radix: 16, uppercase: true)
            query += digits.utf8.count == 1 ? "%0" + digits : "%" + digits
        }
    }
}

/// An id may stand in a path as it is: letters, digits and hyphens.
func checkedID(_ text: String) throws -> String {
    guard !text.isEmpty,
        text.utf8.allSatisfy({
            $0 == 0x2d || (0x30...0x39).contains($0) || (0x61...0x7a).contains($0 | 0x20)
        })
    else { throw ValidationError("\(text) is not an id") }
    return text
}
