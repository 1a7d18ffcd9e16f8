package import ControlPlane
package import IO
package import Outbound
package import Postgres
import Synchronization
import TestSupport

/// The domain on a real database with the schema, on one loop, for one test.
package struct Plane: Sendable {
    package let url: String
    package let loop: EventLoop
    package let writes: Pipeline
    /// What a large batch is shared with.
    private let moreWrites: Pipeline
    package let reads: Pipeline
    package let keys: KeyCache
    package let ledger: Ledger
    package let directory: Directory
    package let breakers: Breakers
    /// Of breakers' moves; not through a pooler.
    private let hints: BreakerHints?
    package let attempts: Attempts
    package let regions: RegionCache
    package let budget: CreationBudget
    /// May reach loopback.
    package let http: HTTPClient
    package let creations: Creations
    package let sandboxes: Sandboxes
    /// What breakers, permits and creations tell.
    package let buffer: EventBuffer
    package let eventWriter: EventWriter
    package let events: EventHub
    package let refusals: Refusals
    package let alertSender: AlertSender
    /// Seals secrets with a key of the tests'.
    package let secrets: SecretBox
    /// The clock that the ledger is given; nil: the database's own.
    package let clock: TestClock?

    /// Gives `body` a plane on a fresh database; all ends with it.
    package static func with<Answer: Sendable>(
        clock: TestClock? = nil, settings: Ledger.Settings = Ledger.Settings(),
        breakers: Breakers.Settings = Breakers.Settings(), hints: Bool = false,
        events: EventHub.Settings = EventHub.Settings(),
        _ body: @Sendable (Plane) async throws -> Answer
    ) async throws -> Answer {
        let template = try await Template.name()
        return try await TestDatabase.withDatabase(template: template) { url in
            try await with(
                url: url, clock: clock, settings: settings, breakers: breakers, hints: hints,
                events: events, body)
        }
    }

    /// The same on a database that is there: a second instance beside the first.
    package static func with<Answer: Sendable>(
        url: String, clock: TestClock? = nil, settings: Ledger.Settings = Ledger.Settings(),
        breakers: Breakers.Settings = Breakers.Settings(), hints: Bool = false,
        events: EventHub.Settings = EventHub.Settings(),
        connectWait: Duration = .seconds(10),
        _ body: @Sendable (Plane) async throws -> Answer
    ) async throws -> Answer {
        try await withLoop { loop in
            let plane = try Plane(
                url: url, loop: loop, clock: clock, settings: settings, breakers: breakers,
                hints: hints, events: events, connectWait: connectWait)
            return try await withThrowingTaskGroup(of: Void.self) { group in
                let background: [@Sendable () async -> Void] = [
                    { await plane.writes.run() }, { await plane.moreWrites.run() },
                    { await plane.reads.run() },
                    { await plane.keys.run() }, { await plane.ledger.run() },
                    { await plane.breakers.run() }, { await plane.attempts.run() },
                    { await plane.budget.run() }, { await plane.regions.run() },
                    { await plane.creations.run() },
                    { await plane.eventWriter.run() }, { await plane.events.run() },
                    { await plane.refusals.run() },
                    { await plane.hints?.run() },
                ]
                for work in background {
                    group.addTask(executorPreference: loop) { await work() }
                }
                let outcome: Result<Answer, any Error>
                do { outcome = .success(try await body(plane)) } catch { outcome = .failure(error) }
                group.cancelAll()
                await plane.http.close()
                return try outcome.get()
            }
        }
    }

    private init(
        url: String, loop: EventLoop, clock: TestClock?, settings: Ledger.Settings,
        breakers: Breakers.Settings, hints: Bool, events: EventHub.Settings, connectWait: Duration
    ) throws {
        var wanted = Pipeline.Settings(url: TestDatabase.serving(url))
        wanted.role = "bw_app"
        wanted.ownsSession = !TestDatabase.isPooled
        wanted.connectWait = connectWait
        // Hundreds of databases on two cores, which others may use as well: slow is not lost.
        wanted.statementTimeout = .seconds(30)
        wanted.deadline = .seconds(40)
        self.url = url
        self.loop = loop
        self.clock = clock
        writes = Pipeline(on: loop, wanted)
        moreWrites = Pipeline(on: loop, wanted)
        reads = Pipeline(on: loop, wanted)
        keys = KeyCache(on: loop, pipeline: reads)
        var now: (@Sendable () -> Timestamp)?
        if let clock { now = { clock.now } }
        let buffer = EventBuffer()
        self.buffer = buffer
        let tell: Tell = { buffer.note($0) }
        ledger = Ledger(
            on: loop, writes: [writes, moreWrites], reads: reads, settings: settings, now: now,
            tell: tell)
        directory = Directory(reads)
        var direct = wanted
        direct.conninfo = Conninfo(url: try TestDatabase.direct(url))
        direct.ownsSession = true
        direct.role = "bw_app"
        self.hints = hints ? BreakerHints(on: loop, direct) : nil
        let hub = EventHub(on: loop, pipeline: moreWrites, settings: events)
        self.events = hub
        eventWriter = EventWriter(
            on: loop, pipeline: moreWrites, buffer: buffer, onStored: { hub.hint() })
        refusals = Refusals(on: loop, interval: .milliseconds(100), tell: tell)
        self.breakers = Breakers(
            on: loop, pipeline: reads, instance: "test-\(UUID.v7())", settings: breakers,
            hints: self.hints, tell: tell)
        self.hints?.tell(self.breakers)
        budget = CreationBudget(on: loop, pipeline: reads, now: now)
        regions = RegionCache(on: loop, pipeline: reads, budget: budget)
        var retryBudget = RetryBudget.Settings()
        retryBudget.tenantPercent = 20
        retryBudget.providerPercent = 10
        attempts = Attempts(
            on: loop, pipeline: reads, ledger: ledger, breakers: self.breakers,
            regions: regions, budget: budget, budgets: RetryBudgetKeeper(on: loop, retryBudget),
            refusals: refusals, tell: tell)
        secrets = SecretBox(SecretKey(octets: Array(1...32)))
        var outbound = HTTPClient.Settings()
        outbound.addresses = AddressRule(allowsPrivate: true)
        http = try HTTPClient(on: loop, outbound)
        var creating = Creations.Settings()
        // A busy machine makes no healthy sandbox a dead one.
        creating.health.limit = .seconds(30)
        creations = Creations(
            on: loop, pipeline: reads, instance: "test-\(UUID.v7())",
            providers: SandboxProviders(on: loop, http), ledger: ledger,
            breakers: self.breakers, budget: budget, budgets: RetryBudgetKeeper(on: loop),
            settings: creating, refusals: refusals, tell: tell)
        alertSender = AlertSender(
            on: loop, pipeline: reads, instance: "test-\(UUID.v7())", secrets: secrets, client: http)
        var making = Sandboxes.Settings()
        // Regions of tests have no data plane, unless they say so.
        making.standard.healthCheck = .off
        sandboxes = Sandboxes(
            creations, targets: RegionTargets(regions, secrets, reads), breakers: self.breakers,
            pipeline: reads, killing: KillSwitch(reads), settings: making)
    }

    /// Makes a tenant with any name.
    package func makeTenant(_ name: String = "tenant \(UUID.v7())") async throws -> Tenant.ID {
        try await directory.createTenant(name: name, by: .system).value.id
    }
}

/// A clock that stands until it is moved, in either direction.
package final class TestClock: Sendable {
    private let time: Mutex<Timestamp>

    package init(_ time: Timestamp) { self.time = Mutex(time) }

    package var now: Timestamp { time.withLock { $0 } }
    package func move(by duration: Duration) { time.withLock { $0 = $0 + duration } }
    package func set(_ new: Timestamp) { time.withLock { $0 = new } }
}

/// A database with the schema that each test's own is copied from, made once.
private enum Template {
    private static let made = Mutex<Result<String, any Error>?>(nil)

    static func name() async throws -> String {
        try await onThread {
            try made.withLock { made in
                if made == nil { made = Result { try make() } }
                return try made?.get() ?? ""
            }
        }
    }

    private static func make() throws -> String {
        let url = try TestDatabase.makeKeptDatabase("bw_template")
        _ = try Migrator(Conninfo(url: url), Schema.migrations).migrate()
        if TestDatabase.isPooled { try Session(Conninfo(url: url)).run("ALTER ROLE bw_app LOGIN") }
        return "bw_template"
    }
}

extension Plane {
    /// Returns when all that was told so far is in the table.
    package func allStored() async throws {
        try await eventually {
            await eventWriter.flush()
            let (told, stored) = (buffer.counters, await eventWriter.counters)
            return stored.stored + stored.failed + told.dropped >= told.kept
        }
    }
}
