package import IO
package import Postgres

/// The rate-limit ledger of one loop: exact, durable when answered, batched.
///
/// What arrives while a batch is out forms the next, so that batches grow with load and a lone call
/// never waits for a timer. One connection decides, another reads.
package actor Ledger: LoopBound {
    package struct Settings: Sendable {
        /// Calls waiting for a decision on this loop; past it 503.
        package var maxQueued = 10_000
        /// Calls in one batch. 1,000 decisions took 5 to 8 ms, 100 took 2 (measured), so this
        /// bounds what a call waits for its neighbours.
        package var maxBatch = 1_000
        /// Distinct keys in one statement: each is a lock, and a server that is not ours has room
        /// for 64 a connection by default.
        package var maxBatchKeys = 256
        /// Units that one call may cost.
        package var maxCost = 1_000_000
        /// How long rows are kept at least: the longest window of any policy, never under an hour.
        package var retention: Duration = .seconds(3600)
        /// Rows of one transaction of the manual cleanup (the original's value).
        package var cleanupBatchSize = 100
        /// Rows of one call of the manual cleanup (the original's value).
        package var cleanupMaxPerCall = 500
        /// Operation numbers remembered; past it the memory starts anew.
        package var nameCapacity = 100_000

        package init() {}
    }

    /// What this loop's ledger did since it started.
    package struct Counters: Hashable, Sendable {
        package var batches = 0
        package var batchedCalls = 0
        package var recorded = 0
        package var admitted = 0
        package var denied = 0
        package var checked = 0
        package var failed = 0
    }

    private struct Name: Hashable {
        let tenant: Tenant.ID
        let operation: String
    }

    package nonisolated let loop: EventLoop
    package nonisolated let settings: Settings
    private let reads: Pipeline
    private let decide: Batcher<LedgerCall, LedgerDecision>
    private let check: Batcher<LedgerCall, Int64>
    private let names: Batcher<OperationName, Int16?>
    private var numbers: [Name: Int16] = [:]
    private var counted = Counters()

    /// - Parameters:
    ///   - writes: decides; its transactions hold locks, so nothing else uses it.
    ///   - now: a test's clock, else nil: the database's.
    package init(
        on loop: EventLoop, writes: Pipeline, reads: Pipeline, settings: Settings = Settings(),
        now: (@Sendable () -> Timestamp)? = nil
    ) {
        self.loop = loop
        self.settings = settings
        self.reads = reads
        let maxKeys = settings.maxBatchKeys
        decide = Batcher(on: loop, maxBatch: settings.maxBatch, maxQueued: settings.maxQueued) {
            calls in await decideAll(calls, maxKeys: maxKeys, now: now?(), writes)
        }
        check = Batcher(on: loop, maxBatch: settings.maxBatch, maxQueued: settings.maxQueued) {
            calls in await checkAll(calls, now: now?(), reads)
        }
        names = Batcher(on: loop) { names in await numberAll(names, reads) }
    }

    /// Serves until cancelled.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask(executorPreference: loop) { await self.decide.run() }
            group.addTask(executorPreference: loop) { await self.check.run() }
            group.addTask(executorPreference: loop) { await self.names.run() }
        }
    }

    package var counters: Counters {
        get async {
            let statistics = await decide.statistics
            var counters = counted
            counters.batches = statistics.batches
            counters.batchedCalls = statistics.calls
            return counters
        }
    }

    /// Records `cost` units, whatever the count. Throws `.tooManyOperations`, `.postgres`.
    package func record(
        _ operation: String, cost: Int32, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> (count: Int64, at: Timestamp) {
        let key = try await key(operation, of: tenant)
        let call = LedgerCall(key: key, cost: cost, limit: nil, window: 3600)
        guard case .admitted(let count, let at) = try await ask(decide, call) else {
            throw .postgres(.decode("an unlimited record was denied"))
        }
        counted.recorded += 1
        return (count, at)
    }

    /// Checks and records in one atomic step; a denial records nothing.
    package func acquire(
        _ operation: String, cost: Int32, limit: Int64, window: Int32 = 3600, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> LedgerDecision {
        let key = try await key(operation, of: tenant)
        let call = LedgerCall(key: key, cost: cost, limit: limit, window: window)
        let decision = try await ask(decide, call)
        if case .admitted = decision { counted.admitted += 1 } else { counted.denied += 1 }
        return decision
    }

    /// The exact count of the window. A name that was never recorded counts 0 and makes no row.
    package func count(
        _ operation: String, window: Int32 = 3600, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Int64 {
        guard let number = try await number(operation, of: tenant, create: false) else { return 0 }
        counted.checked += 1
        let key = UsageKey(tenant: tenant, operation: number)
        return try await ask(check, LedgerCall(key: key, cost: 1, limit: nil, window: window))
    }

    /// Units by operation in the window, in the order in which the operations were first recorded.
    package func stats(
        window: Int32, for tenant: Tenant.ID, now: Timestamp? = nil
    ) async throws(ControlPlaneError) -> [(operation: String, units: Int64)] {
        do throws(PostgresError) {
            let rows = try await reads.execute(
                .stats, [.uuid(tenant.uuid), .int4(window), .timestamp(now)])
            var stats: [(operation: String, units: Int64)] = []
            for row in rows { stats.append((try row.text(0), try row.int64(1))) }
            return stats
        } catch {
            throw .postgres(error)
        }
    }

    // MARK: Names

    private func key(
        _ operation: String, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> UsageKey {
        guard let number = try await number(operation, of: tenant, create: true) else {
            throw .tooManyOperations
        }
        return UsageKey(tenant: tenant, operation: number)
    }

    private func number(
        _ operation: String, of tenant: Tenant.ID, create: Bool
    ) async throws(ControlPlaneError) -> Int16? {
        let name = Name(tenant: tenant, operation: operation)
        if let number = numbers[name] { return number }
        let asked = OperationName(tenant: tenant, operation: operation, create: create)
        guard let number = try await ask(names, asked) else { return nil }
        if numbers.count >= settings.nameCapacity { numbers.removeAll() }
        numbers[name] = number
        return number
    }

    private func ask<Call, Answer>(
        _ batcher: Batcher<Call, Answer>, _ call: Call
    ) async throws(ControlPlaneError) -> Answer {
        do throws(PostgresError) {
            return try await batcher(call)
        } catch {
            counted.failed += 1
            throw .postgres(error)
        }
    }
}
