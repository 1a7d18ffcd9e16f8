import ArgumentParser
import IO
import JSON
import Postgres

extension KeySampler.Distribution: ExpressibleByArgument {}
extension LoadPlan.Call: ExpressibleByArgument {}

/// Loads a running instance and says how it fared.
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Load a running instance; print requests/s, latencies, statuses, errors.",
        discussion: """
            Keeps connections busy over plain HTTP: each sends its next request when the one before
            is answered. With an operator's key it makes a tenant and a key first; with a
            tenant's key it records under that tenant, in operations bench-0, bench-1 and so on.
            Exits 1 when a connection failed or an answer was not what the call may have.
            """)

    /// A tenant has no more operations.
    private static let maxKeys = 1_000
    private static let maxConnections = 20_000

    @OptionGroup var options: ClientOptions

    @Option(
        help: "What to call: \(LoadPlan.Call.allCases.map(\.rawValue).joined(separator: ", ")).")
    var call = LoadPlan.Call.record
    @Option(help: "Connections, 1 to 20000.") var connections = 64
    @Option(help: "Requests that a connection holds out at a time, 1 to 1000.") var pipeline = 1
    @Option(help: "Seconds to measure for.") var duration = 10.0
    @Option(help: "Seconds of load before that.") var warmUp = 1.0
    @Option(help: "Operations, each a key of the ledger, 1 to 1000.") var keys = 1_000
    @Option(help: "How often which operation: zipf, uniform or one.")
    var distribution = KeySampler.Distribution.zipf
    @Option(help: "Units of a call, 1 to 1000000.") var cost = 1
    @Option(help: "Limit of check, acquire and permit, 0 to 1000000000.") var maxPerHour = 1_000_000_000
    @Flag(help: "Send no limit: the tenant's policies decide.") var policies = false
    @Option(help: "A local server's process, for its CPU, where its metrics do not tell.")
    var serverPid: Int32?
    @Flag(help: "Print one JSON document.") var json = false

    func validate() throws {
        func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
            guard range.contains(value) else {
                throw ValidationError(
                    "\(name) must be from \(range.lowerBound) to \(range.upperBound), not \(value)")
            }
        }
        try check("--connections", connections, 1...Self.maxConnections)
        try check("--pipeline", pipeline, 1...1_000)
        try check("--keys", keys, 1...Self.maxKeys)
        try check("--cost", cost, 1...1_000_000)
        try check("--max-per-hour", maxPerHour, 0...1_000_000_000)
        guard (0.1...86_400).contains(duration), (0...3_600).contains(warmUp) else {
            throw ValidationError("--duration must be from 0.1 to 86400, --warm-up from 0 to 3600")
        }
        if let serverPid, cpuSeconds(of: serverPid) == nil {
            throw ValidationError("--server-pid \(serverPid): there is no such process here")
        }
    }

    func run() async throws {
        let client = try options.client()
        guard let target = Target(client.url) else {
            throw ValidationError("bench speaks plain HTTP: http://host:port or unix:/path")
        }
        do {
            let report = try await measure(client, target)
            print(json ? report.json : report.text, to: .standardOutput)
            if !report.isClean { throw ExitCode(1) }
        } catch let code as ExitCode {
            throw code
        } catch {
            print("breakwater: \(describe(error))", to: .standardError)
            throw ExitCode(1)
        }
    }

    private func measure(_ client: APIClient, _ target: Target) async throws -> LoadReport {
        let key = try await onThread { try tenantKey(client) }
        let plan = LoadPlan(
            call, host: target.host, key: key, keys: distribution == .one ? 1 : keys,
            distribution: distribution, cost: cost, maxPerHour: policies ? nil : maxPerHour)
        let loop = try EventLoop.start(name: "bw-bench")
        defer { loop.stop() }
        let descriptors = try await onThread { [connections] in
            try (0..<connections).map { _ in try target.connect() }
        }
        let generator = LoadGenerator(on: loop, target, plan, pipeline: pipeline)
        let tally = await generator.run(
            descriptors, warmUp: .seconds(warmUp), duration: .seconds(duration)
        ) { [serverPid] in
            if let serverPid { return cpuSeconds(of: serverPid) }
            let page = try? await onThread { try client.call("GET", "/metrics") }
            return page.flatMap { cpuSeconds(inMetrics: $0) }
        }
        return LoadReport(
            title: "\(call.rawValue), \(connections) connections, \(plan.requests.count) keys "
                + "(\(distribution.rawValue)), pipeline \(pipeline)",
            asked: [
                ("call", .text(call.rawValue)), ("connections", .number(connections)),
                ("pipeline", .number(pipeline)), ("keys", .number(plan.requests.count)),
                ("distribution", .text(distribution.rawValue)), ("cost", .number(cost)),
            ],
            tally: tally, wanted: plan.wanted,
            cpuSource: serverPid.map { "process \($0)" } ?? "its metrics")
    }
}

/// The key to load with: the given one, or that of a new tenant if it is an operator's. Blocks.
private func tenantKey(_ client: APIClient) throws -> String {
    func document(_ answer: [UInt8]) -> JSONValue? {
        try? JSONReader.decode(Document.self, from: answer).value
    }
    func member(_ name: String, of answer: [UInt8]) -> String? {
        if case .string(let text)? = document(answer)?[name] { text } else { nil }
    }
    let caller = document(try client.call("GET", "/v1/whoami"))
    guard case .array(let scopes)? = caller?["scopes"], let key = client.key else {
        throw APIClient.Failure(description: "\(client.url): is that a Breakwater?")
    }
    let isOperator = scopes.contains { if case .string("operator") = $0 { true } else { false } }
    guard isOperator else { return key }
    let tenant = try client.call(
        "POST", "/v1/admin/tenants", body: Array(#"{"name":"bench \#(UUID.v7())"}"#.utf8))
    guard let id = member("id", of: tenant) else {
        throw APIClient.Failure(description: "the new tenant has no id")
    }
    let made = try client.call(
        "POST", "/v1/admin/tenants/\(id)/keys",
        body: Array(#"{"scopes":["record","read"],"name":"bench"}"#.utf8))
    guard let key = member("key", of: made) else {
        throw APIClient.Failure(description: "the new key has no text")
    }
    return key
}
