package import IO
package import Postgres

/// The rate-limit ledger of one loop: exact, durable when answered, batched.
///
/// What arrives while a batch is out forms the next, so that batches grow with load and a lone call
/// never waits for a timer. Connections that decide do nothing else; another one reads.
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
        /// Connections that share the keys of a batch that is larger than that.
        package var connections = 2
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
        /// Tenants whose policies are remembered; past it the memory starts anew.
        package var policyCapacity = 10_000
        /// The hourly limit of operations without a policy, where the tenant sets none; nil: none.
        package var defaultMaxPerHour: Int64?
        /// How long at most an equal call is denied from memory. Nothing but a refund makes room
        /// before the time that a denial names, so this is how late a refund may be noticed.
        package var denialMemory: Duration = .seconds(1)
        /// Denials remembered; past it the memory starts anew.
        package var denialCapacity = 10_000
        /// How often denials, which write no row, are brought to the roll-ups: a kill loses so much.
        package var denialFlush: Duration = .seconds(1)
        /// How often they are told of, added up for each operation.
        package var denialTell: Duration = .seconds(10)

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
    /// A test's clock stands still while this machine's goes on.
    private let isOnTestClock: Bool
    private let reads: Pipeline
    private let plain: Batcher<LedgerCall, LedgerDecision>
    private let detailed: Batcher<DetailedCall, DetailedAnswer>
    private let counts: Batcher<[CountCall], [Counted]>
    private let names: Batcher<OperationName, Int16?>
    private let policies: Batcher<Tenant.ID, PolicySet>
    private var numbers: [Name: Int16] = [:]
    private var policySets: [Tenant.ID: PolicySet] = [:]
    private var denials: [LedgerCall: Denial] = [:]
    var counted = Counters()
    private var denied: DenialCounts
    /// In the roll-ups, and not told of yet.
    private var untold: [UsageKey: DenialCounts.Total] = [:]
    private var toldAt = MonotonicInstant.now
    private let tell: Tell
    private let now: (@Sendable () -> Timestamp)?

    /// A denial that equal calls are answered with for a while.
    private struct Denial {
        let count: Int64
        let madeAt: MonotonicInstant
        let retryAfter: Duration
        let nextFreeIn: Duration?
        let forgetAt: MonotonicInstant
    }

    /// - Parameters:
    ///   - writes: decide; their transactions hold locks, so nothing else uses them. At least one.
    ///   - now: a test's clock, else nil: the database's.
    package init(
        on loop: EventLoop, writes: [Pipeline], reads: Pipeline, settings: Settings = Settings(),
        now: (@Sendable () -> Timestamp)? = nil, tell: @escaping Tell = { _ in }
    ) {
        self.loop = loop
        self.settings = settings
        self.reads = reads
        self.tell = tell
        isOnTestClock = now != nil
        self.now = now
        denied = DenialCounts(capacity: settings.denialCapacity)
        let maxKeys = settings.maxBatchKeys
        let (maxBatch, maxQueued) = (settings.maxBatch, settings.maxQueued)
        plain = Batcher(on: loop, maxBatch: maxBatch, maxQueued: maxQueued) { calls in
            await decideAll(calls, maxKeys: maxKeys, now: now?(), writes)
        }
        detailed = Batcher(on: loop, maxBatch: maxBatch, maxQueued: maxQueued) { calls in
            await decideDetailed(calls, maxKeys: maxKeys, now: now?(), writes[0])
        }
        counts = Batcher(on: loop, maxBatch: maxBatch, maxQueued: maxQueued) { calls in
            await countAll(calls, now: now?(), reads)
        }
        names = Batcher(on: loop) { names in await numberAll(names, reads) }
        policies = Batcher(on: loop) { tenants in
            await ControlPlane.policySets(of: tenants, reads)
        }
    }

    /// Serves until cancelled.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask(executorPreference: loop) { await self.plain.run() }
            group.addTask(executorPreference: loop) { await self.detailed.run() }
            group.addTask(executorPreference: loop) { await self.counts.run() }
            group.addTask(executorPreference: loop) { await self.names.run() }
            group.addTask(executorPreference: loop) { await self.policies.run() }
            while !Task.isCancelled {
                do throws(IOError) { try await loop.sleep(for: settings.denialFlush) } catch {
                    break
                }
                await flushDenials()
                if toldAt.duration(to: .now) >= settings.denialTell { tellDenials() }
            }
        }
    }

    /// Counts a denial for the roll-ups.
    func countDenial(_ key: UsageKey, cost: Int32) {
        denied.add(key, cost: cost, at: now?() ?? .now)
    }

    /// Brings what was denied since the last time; what cannot be brought is kept for the next.
    package func flushDenials() async {
        guard !denied.isEmpty else { return }
        let taken = denied
        denied = DenialCounts(capacity: settings.denialCapacity)
        do throws(PostgresError) {
            _ = try await reads.execute(.countDenied, taken.parameters)
            untold.merge(taken.totals) { $0 + $1 }
        } catch .checkViolation(constraint: "") {
            // No partition for the minute yet: made now, and there the next time.
            _ = try? await reads.execute(
                .makePartitions, [.text("usage_minute"), .timestamp(now?()), .int4(1)])
            denied.merge(taken)
        } catch {
            denied.merge(taken)
        }
    }

    /// Tells of what was denied since the last time: a handful of events, whatever the number of calls.
    package func tellDenials() {
        toldAt = .now
        guard !untold.isEmpty else { return }
        for (name, number) in numbers {
            let key = UsageKey(tenant: name.tenant, operation: number)
            guard let total = untold[key] else { continue }
            tell(
                .rateLimitDenied(
                    tenant: name.tenant, operation: name.operation, calls: total.calls,
                    units: total.units))
        }
        untold = [:]
    }

    package var counters: Counters {
        get async {
            let (plain, detailed) = (await plain.statistics, await detailed.statistics)
            var counters = counted
            counters.batches = plain.batches + detailed.batches
            counters.batchedCalls = plain.calls + detailed.calls
            return counters
        }
    }

    // MARK: One limit

    /// Checks and records in one atomic step; a denial records nothing. One limit of any window, and
    /// no policy: `decide` asks those.
    package func acquire(
        _ operation: String, cost: Int32, limit: Int64?, window: Int32 = 3600, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> LedgerDecision {
        for _ in 0..<Self.maxReloads {
            let decision = try await acquireOnce(
                operation, cost: cost, limit: limit, window: window,
                version: policySet(of: tenant).version, for: tenant)
            if decision != .outdated { return decision }
        }
        throw .postgres(.serialization)
    }

    /// As the tenant's policies of that version say; `.outdated` when there are others, which have
    /// been read then.
    func acquireOnce(
        _ operation: String, cost: Int32, limit: Int64?, window: Int32, version: Int64,
        for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> LedgerDecision {
        let call = LedgerCall(
            key: try await key(operation, of: tenant), cost: cost, limit: limit, window: window,
            version: version)
        if let denial = remembered(call) {
            countDenial(call.key, cost: cost)
            return denial
        }
        let decision = try await ask(plain, call)
        switch decision {
        case .outdated: try await reloadPolicies(of: tenant)
        case .admitted: break
        case .denied:
            countDenial(call.key, cost: cost)
            remember(decision, of: call)
        }
        return decision
    }

    private func remembered(_ call: LedgerCall) -> LedgerDecision? {
        guard !denials.isEmpty, let denial = denials[call] else { return nil }
        let now = MonotonicInstant.now
        guard now < denial.forgetAt else {
            denials[call] = nil
            return nil
        }
        let age = denial.madeAt.duration(to: now)
        return .denied(
            count: denial.count, retryAfter: max(denial.retryAfter - age, .zero),
            nextFreeIn: denial.nextFreeIn.map { max($0 - age, .zero) })
    }

    private func remember(_ decision: LedgerDecision, of call: LedgerCall) {
        guard case .denied(let count, let retryAfter?, let nextFreeIn) = decision else { return }
        let memory = min(retryAfter, settings.denialMemory)
        guard memory > .zero, !isOnTestClock else { return }
        if denials.count >= settings.denialCapacity { denials.removeAll() }
        let now = MonotonicInstant.now
        denials[call] = Denial(
            count: count, madeAt: now, retryAfter: retryAfter, nextFreeIn: nextFreeIn,
            forgetAt: now.advanced(by: memory))
    }

    // MARK: Policies

    /// Policies change seldom: a call that finds them outdated this often in a row gives up.
    static let maxReloads = 5

    func policySet(of tenant: Tenant.ID) -> PolicySet { policySets[tenant] ?? .none }

    func reloadPolicies(of tenant: Tenant.ID) async throws(ControlPlaneError) {
        let set = try await ask(policies, tenant)
        if policySets.count >= settings.policyCapacity { policySets.removeAll() }
        policySets[tenant] = set
    }

    /// How long a tenant's settings are used without a look at the database. Who changes them waits as
    /// long before it says so (`TenantSettingsStore`), whence no two releases may differ in it.
    static let settingsMemory: Duration = .milliseconds(200)

    /// What the tenant has set for its sandboxes, as it is now: every change that was answered is in it.
    package func settings(
        of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> TenantSettings {
        let known = policySet(of: tenant)
        if known.readAt.duration(to: .now) < Self.settingsMemory { return known.settings }
        try await reloadPolicies(of: tenant)
        return policySet(of: tenant).settings
    }

    /// The same as this loop's last decision for the tenant knew it.
    package func knownSettings(of tenant: Tenant.ID) -> TenantSettings {
        policySet(of: tenant).settings
    }

    /// Asks the detailed way; nil when the policies were outdated and have been read anew.
    func decideOnce(
        _ call: DetailedCall
    ) async throws(ControlPlaneError) -> Verdict? {
        switch try await ask(detailed, call) {
        case .verdict(let verdict):
            if !verdict.isAdmitted { countDenial(call.key, cost: call.cost) }
            return verdict
        case .mismatch: throw .idempotencyMismatch
        case .outdated:
            try await reloadPolicies(of: call.key.tenant)
            return nil
        }
    }

    /// What the windows hold; nil when the policies were outdated and have been read anew.
    func countOnce(
        _ calls: [CountCall], of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> [Counted]? {
        let counted = try await ask(counts, calls)
        if counted.contains(where: { $0.units == nil }) {
            try await reloadPolicies(of: tenant)
            return nil
        }
        return counted
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

    func key(
        _ operation: String, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> UsageKey {
        guard let number = try await number(operation, of: tenant, create: true) else {
            throw .tooManyOperations
        }
        return UsageKey(tenant: tenant, operation: number)
    }

    func number(
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
