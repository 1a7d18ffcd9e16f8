import ControlPlane
import Foundation
import HTTP
import IO
import JSON
import Outbound
import Postgres
import ServiceSupport
import Simulator
import Synchronization
import TestSupport
import Testing

/// A database, a provider that fails as it is told to, and what makes sandboxes between them.
struct Fleet: Sendable {
    static let key = "e2b_00a1"

    let plane: Plane
    let address: Address
    let creations: Creations
    let tasks: SandboxTasks
    let reconciler: Reconciler
    let sweep: SandboxSweep
    let killing: KillSwitch
    let tenant: Tenant.ID
    let target: CreationTarget
    let told: Told

    /// - Parameters:
    ///   - faults: of the provider, as its script has them.
    ///   - retries: waits are of milliseconds unless they are given.
    static func with(
        faults: String = "[]", templates: String? = nil, limits: String = "{}",
        retries: RetryPolicy.Settings? = nil, breakers: Breakers.Settings = Breakers.Settings(),
        settings: Creations.Settings = .patient,
        reconciler: Reconciler.Settings = .quick,
        _ body: @Sendable (Fleet) async throws -> Void
    ) async throws {
        let named = templates.map { "\"templates\": \($0)," } ?? ""
        let text = """
            {"seed": 7, "faults": \(faults), "regions": [
              {"name": "us", "listen": ["127.0.0.1:0"], "domain": "us.example", \(named)
               "keys": {"one": "\(key)", "two": "e2b_00a2"}, "limits": \(limits),
               "latency": {"createMs": 1, "otherMs": 0, "commandMs": 0, "sigma": 0}}]}
            """
        let script = try JSONReader.decode(Script.self, from: Array(text.utf8))
        let loop = try EventLoop.start(name: "sim-test")
        let server = try SimulatorServer(
            on: loop, script, text: Array(text.utf8),
            defaultAddress: .tcp(host: "127.0.0.1", port: 0))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask(executorPreference: loop) { try await server.run() }
            let outcome: Result<Void, any Error>
            do {
                try await Plane.with(breakers: breakers) { plane in
                    try await with(
                        plane, server.addresses[0].addresses[0], retries ?? .quick, settings,
                        reconciler, body)
                }
                outcome = .success(())
            } catch {
                outcome = .failure(error)
            }
            await server.drain(within: .milliseconds(200))
            try await group.waitForAll()
            try outcome.get()
        }
        loop.stop()
    }

    /// Another instance on the same rows and provider.
    func beside(_ body: @Sendable (Fleet) async throws -> Void) async throws {
        let (url, address, tenant) = (plane.url, address, tenant)
        try await Plane.with(url: url) { plane in
            try await Fleet.with(
                plane, address, .quick, .patient, .quick, tenant: tenant, body)
        }
    }

    private static func with(
        _ plane: Plane, _ address: Address, _ retries: RetryPolicy.Settings,
        _ settings: Creations.Settings, _ reconciling: Reconciler.Settings,
        tenant: Tenant.ID? = nil, _ body: @Sendable (Fleet) async throws -> Void
    ) async throws {
        var outbound = HTTPClient.Settings()
        outbound.addresses = AddressRule(allowsPrivate: true)
        let http = try HTTPClient(on: plane.loop, outbound)
        let told = Told()
        let creations = Creations(
            on: plane.loop, pipeline: plane.reads, instance: "test-\(UUID.v7())",
            providers: SandboxProviders(on: plane.loop, http), ledger: plane.ledger,
            breakers: plane.breakers, budget: plane.budget,
            budgets: RetryBudgetKeeper(on: plane.loop), retries: RetryPolicy(retries),
            settings: settings, tell: { told.note($0) })
        guard let api = UpstreamURL("http://\(address)") else { throw Trouble(what: "no URL") }
        let target = CreationTarget(
            provider: "e2b", region: "us",
            account: ProviderAccount(id: "us", limits: .init()),
            endpoint: ProviderEndpoint(api: api, apiKey: key, dataPlane: api))
        let owner: Tenant.ID
        if let tenant { owner = tenant } else { owner = try await plane.makeTenant() }
        let targets = TargetSource(
            find: { tenant, region in tenant == owner && region == "us" ? target : nil },
            all: { [(owner, target)] })
        var doing = SandboxTasks.Settings()
        doing.backoff = .milliseconds(1)
        doing.settle = reconciling.settle
        let killing = KillSwitch(plane.reads)
        let fleet = Fleet(
            plane: plane, address: address, creations: creations,
            tasks: SandboxTasks(
                on: plane.loop, pipeline: plane.reads, instance: "test", creations: creations,
                targets: targets, killing: killing, settings: doing),
            reconciler: Reconciler(
                creations, breakers: plane.breakers, targets: targets, killing: killing,
                settings: reconciling),
            sweep: SandboxSweep(creations.store, tryAge: .zero), killing: killing, tenant: owner, target: target,
            told: told)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask(executorPreference: plane.loop) { await creations.run() }
            let outcome: Result<Void, any Error>
            do { outcome = .success(try await body(fleet)) } catch { outcome = .failure(error) }
            group.cancelAll()
            try await group.waitForAll()
            await http.close()
            try outcome.get()
        }
    }

    // MARK: What tests do

    func order(
        _ template: String = "base", fallback: String? = nil,
        rule: FallbackRule = .templateNotFound, life: Duration = .seconds(1800),
        deadline: Duration = .seconds(20), maxAttempts: Int? = nil,
        healthCheck: HealthCheckMode = .off, maxLive: Int? = nil, idempotency: Idempotency? = nil
    ) -> CreationOrder {
        CreationOrder(
            tenant: tenant, way: .api, target: target,
            choice: TemplateChoice(template, framework: "nextjs"),
            fallback: fallback.map { TemplateChoice($0) }, fallbackRule: rule, life: life,
            deadline: deadline, maxAttempts: maxAttempts, healthCheck: healthCheck,
            maxLive: maxLive, metadata: [("who", "me")], idempotency: idempotency)
    }

    func create(_ template: String = "base") async throws -> CreatedSandbox {
        try await creations.create(order(template)).get()
    }

    /// Asks the simulator itself.
    func ask(_ method: String, _ path: String, _ body: String? = nil) async throws -> JSONValue {
        var client = Client(address)
        client.key = Self.key
        let answer = try await client.send(method, path, body, ["X-API-Key": Self.key])
        return answer.json ?? .null
    }

    /// Puts other faults in force.
    func setFaults(_ faults: String) async throws {
        let text = """
            {"seed": 7, "faults": \(faults), "regions": [
              {"name": "us", "listen": ["127.0.0.1:0"], "domain": "us.example",
               "keys": {"one": "\(Self.key)", "two": "e2b_00a2"},
               "latency": {"createMs": 1, "otherMs": 0, "commandMs": 0, "sigma": 0}}]}
            """
        let answer = try await Client(address).send("PUT", "/_sim/script", text)
        guard answer.status == 204 else { throw Trouble(what: answer.text) }
    }

    /// The provider's sandboxes that run or are paused.
    func live() async throws -> [JSONValue] {
        guard
            case .array(let all)? = try await ask("GET", "/_sim/sandboxes?state=live&limit=5000")[
                "sandboxes"]
        else { return [] }
        return all
    }

    func rows() async throws -> [ControlPlane.Sandbox] {
        try await creations.store.list(of: tenant, states: [], before: nil, limit: 10_000)
    }

    func pass() async throws -> Reconciler.Report {
        try await reconciler.pass(over: target, of: tenant)
    }

    /// Passes, sweeps and tasks until nothing is on its way any more; false after 10 s.
    func settle() async throws -> Bool {
        for _ in 0..<500 {
            _ = try await sweep.run(plane.reads)
            _ = try? await pass()
            await tasks.round()
            if try await rows().allSatisfy({ $0.state.isEnd || $0.state.isBound }) { return true }
            try await Task.sleep(for: .milliseconds(20))
        }
        return false
    }

    /// What docs/operations.md says must hold of sandboxes, whenever it is asked.
    func checkInvariants() throws {
        let session = try Session(Conninfo(url: plane.url))
        let invariants = try Self.invariants()
        #expect(invariants.count >= 10)
        for (name, query) in invariants {
            let broken = try session.execute(query)
            #expect(broken.isEmpty, "\(name)")
        }
    }

    /// The statements of the last SQL block of that page's Invariants, each under the comment that names it.
    static func invariants() throws -> [(name: String, query: String)] {
        let page = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "../../../docs/operations.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        let section = text.components(separatedBy: "\n## Invariants\n").last ?? ""
        let block = section.components(separatedBy: "```sql\n").last?.components(separatedBy: "```").first ?? ""
        return block.components(separatedBy: ";\n").compactMap { statement in
            let lines = statement.split(separator: "\n", maxSplits: 1).map(String.init)
            guard lines.count == 2 else { return nil }
            return (lines[0], lines[1])
        }
    }
}

struct Trouble: Error { let what: String }

extension RetryPolicy.Settings {
    /// Waits of milliseconds.
    static var quick: RetryPolicy.Settings {
        var settings = RetryPolicy.Settings()
        settings.transient = [5]
        settings.unknown = [5]
        settings.rateLimit = [20]
        settings.capacity = [5]
        settings.minTry = .zero
        return settings
    }
}

extension Creations.Settings {
    /// A busy machine makes no healthy sandbox a dead one.
    static var patient: Creations.Settings { checking(within: .seconds(30)) }

    static func checking(within limit: Duration) -> Creations.Settings {
        var settings = Creations.Settings()
        settings.health.limit = limit
        settings.health.pause = .milliseconds(20)
        return settings
    }

    /// As long as it takes to find that kind of death, and for a healthy one as long as it may take.
    static func finding(_ mode: ZombieMode) -> Creations.Settings {
        checking(within: [.commandsHang, .hangMidStream].contains(mode) ? .seconds(5) : .seconds(30))
    }
}

extension Reconciler.Settings {
    /// Nothing is too young.
    static var quick: Reconciler.Settings {
        var settings = Reconciler.Settings()
        settings.young = .zero
        settings.missSpacing = .zero
        settings.settle = .milliseconds(100)
        settings.orphanGrace = .zero
        settings.endedGrace = .zero
        return settings
    }
}

/// What was told of creations.
final class Told: Sendable {
    private let all = Mutex<[Event]>([])

    func note(_ event: Event) {
        switch event {
        case .creation, .healthChecked, .providerProbed: all.withLock { $0.append(event) }
        default: break
        }
    }

    var events: [Event] { all.withLock { $0 } }
}
