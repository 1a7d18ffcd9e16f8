package import IO
package import Postgres

/// The circuit breakers as one loop knows them.
///
/// A call through a closed breaker reads memory: no SQL, no lock. Failures, probes and acts go to the
/// database at once, in batches; what others did is polled. While the database is away each loop goes
/// on with what it knew and counts for itself: no caller ever sees an error of the store.
package actor Breakers: LoopBound {
    package struct Settings: Sendable {
        package var policy = BreakerPolicy()
        /// Tenants whose failures open the breaker over all of them.
        package var parentTenants = 3
        /// What counts once: the operation with its retries (the original), or each try.
        package var unit = Unit.operation
        /// The kinds of errors that count as failures.
        package var countKinds = Set(ErrorKind.allCases.filter(\.traits.countsForBreaker))
        /// How often others' moves are asked for; they are promised within 1 s.
        package var pollInterval: Duration = .milliseconds(400)
        /// The least time between two questions, however many hints come.
        package var hintSpacing: Duration = .milliseconds(20)
        /// How far back they are asked for: longer than a write lasts (statement time-out, 5 s).
        package var changeSpan: Duration = .seconds(15)
        /// How long successes that end a run of failures wait for others of their kind.
        package var successFlush: Duration = .milliseconds(100)
        /// Breakers whose unreported outcomes are kept; past it those of successes are forgotten.
        package var capacity = 100_000

        package init() {}

        /// Of the breaker over all tenants: one sick tenant does not open it.
        package var parentPolicy: BreakerPolicy {
            var parent = policy
            parent.distinctTenants = parentTenants
            return parent
        }
    }

    package enum Unit: String, Hashable, Sendable, CaseIterable { case operation, attempt }

    package struct Counters: Hashable, Sendable {
        package var refused = 0
        package var probes = 0
        package var moves = 0
        package var stale = 0
        /// Changes decided without the database.
        package var local = 0
        /// Batches of changes sent to the database.
        package var batches = 0

        package init() {}
    }

    /// Outcomes that are not in the database yet, of calls of one generation.
    private struct Pending {
        var generation: Int64
        var runs: [OutcomeRun] = []
        var isDue = false
    }

    package nonisolated let loop: EventLoop
    package nonisolated let settings: Settings
    private let instance: String
    private let store: BreakerStore
    private let changes: Batcher<BreakerChange, BreakerChanged>
    private let hints: BreakerHints?
    private let tell: Tell
    private let hinted = Waiter<Void>()
    private lazy var pollTimer = LoopTimer { [weak self] in
        self?.assumeIsolated { $0.pollSoon() }
    }
    private var snapshots: [BreakerKey: BreakerSnapshot] = [:]
    private var pending: [BreakerKey: Pending] = [:]
    private var hasDue = false
    /// The database's clock, and when it was read.
    private var clock: (time: Timestamp, at: MonotonicInstant)?
    /// When all that is known was last true.
    private var freshAt: MonotonicInstant?
    private var counted = Counters()
    /// Rises when what is known of any breaker changes.
    package private(set) var revision = 0

    /// - Parameters:
    ///   - instance: names this process in leases and in the history.
    ///   - hints: tells others of moves, and hears of theirs.
    package init(
        on loop: EventLoop, pipeline: Pipeline, instance: String, settings: Settings = Settings(),
        hints: BreakerHints? = nil, tell: @escaping Tell = { _ in }
    ) {
        self.loop = loop
        self.settings = settings
        self.instance = instance
        self.hints = hints
        self.tell = tell
        let store = BreakerStore(pipeline, instance: instance)
        self.store = store
        changes = Batcher(on: loop) { changes in await store.apply(changes) }
    }

    package func policy(of key: BreakerKey) -> BreakerPolicy {
        key.isParent ? settings.parentPolicy : settings.policy
    }

    package var counters: Counters {
        get async {
            var counters = counted
            counters.batches = await changes.statistics.batches
            return counters
        }
    }

    /// How old what is known of others' moves is; nil before the first poll.
    package var age: Duration? { freshAt.map { $0.duration(to: .now) } }

    /// What is known of a breaker: as it is in the database, up to `age`.
    package func snapshot(of key: BreakerKey) -> BreakerSnapshot? { snapshots[key] }

    /// The database's time and a breaker's state, as this loop knows them.
    func glance(at key: BreakerKey) -> (now: Timestamp, state: BreakerMachine.State) {
        (now, snapshots[key]?.machine.effectiveState ?? .closed)
    }

    /// The database's time as this loop knows it.
    var now: Timestamp {
        guard let clock else { return .now }
        return clock.time + clock.at.duration(to: .now)
    }

    // MARK: Calls

    /// Asks a tenant's breaker and the one over all tenants.
    ///
    /// - Parameter lease: how long a probe may be out; by default the policy's.
    package func admit(_ key: BreakerKey, lease: Duration? = nil) async -> BreakerAdmission {
        let own = await enter(key, lease)
        guard case .passed(let pass) = own else { return .init(own, key, parent: nil) }
        let parent = await enter(key.parent, lease)
        if case .refused = parent, let token = pass.probe {
            // The parent's no says nothing of the tenant's own: its probe is free again.
            _ = await change(key, .settle(token: token, generation: pass.generation, .ignored))
        }
        return .init(own, key, parent: parent)
    }

    private func enter(_ key: BreakerKey, _ lease: Duration?) async -> BreakerEntry {
        let policy = policy(of: key)
        guard let snapshot = snapshots[key] else { return .passed(BreakerPass(generation: 0)) }
        let random = policy.ramp > .zero ? Double.random(in: 0..<1) : 0
        switch snapshot.machine.admission(at: snapshot.now(), policy, random: random) {
        case .admitted(let generation): return .passed(BreakerPass(generation: generation))
        case .refused(let wait):
            counted.refused += 1
            return .refused(retryAfter: wait)
        case .due: break
        }
        let token = UUID.v7()
        let probe = BreakerInput.probe(
            token: token, holder: instance, lease: lease ?? policy.probeLease)
        switch await change(key, probe) {
        case .probing(let generation):
            counted.probes += 1
            return .passed(BreakerPass(generation: generation, probe: token))
        case .admitted(let generation): return .passed(BreakerPass(generation: generation))
        case .refused(let wait):
            counted.refused += 1
            return .refused(retryAfter: wait)
        case .applied, .stale: return .refused(retryAfter: .seconds(1))
        }
    }

    /// Tells what an admitted call came to. Once is enough; again, late or never does no harm.
    ///
    /// Returns when the database knows of a failure or a probe; successes are told later.
    package func settle(
        _ ticket: BreakerTicket, _ outcome: CallOutcome, took duration: Duration
    ) async {
        let end = now
        await settle(ticket.key, ticket.own, ticket.key.tenant, outcome, duration, end)
        await settle(ticket.key.parent, ticket.parent, ticket.key.tenant, outcome, duration, end)
    }

    private func settle(
        _ key: BreakerKey, _ pass: BreakerPass, _ tenant: Tenant.ID, _ outcome: CallOutcome,
        _ duration: Duration, _ end: Timestamp
    ) async {
        if let token = pass.probe {
            _ = await change(
                key,
                .settle(
                    token: token, generation: pass.generation,
                    outcome.asProbe(counting: settings.countKinds)))
            return
        }
        guard let isFailure = outcome.isFailure(counting: settings.countKinds) else { return }
        let policy = policy(of: key)
        // Where failures are counted in a row alone, a slow call says nothing.
        let isSlow = policy.mode != .consecutive && policy.slowCall.map { duration > $0 } ?? false
        let run = OutcomeRun(
            isFailure: isFailure, isSlow: isSlow, tenant: tenant, endedAt: end)
        note(run, of: key, generation: pass.generation, policy)
        if isFailure || isSlow { await flush(key) }
    }

    private func note(
        _ run: OutcomeRun, of key: BreakerKey, generation: Int64, _ policy: BreakerPolicy
    ) {
        if generation != snapshots[key]?.machine.generation ?? 0 {
            counted.stale += 1
            return
        }
        var kept = pending[key] ?? Pending(generation: generation)
        if kept.generation != generation { kept = Pending(generation: generation) }
        if let last = kept.runs.indices.last, kept.runs[last].isAlike(run) {
            kept.runs[last].count += 1
            kept.runs[last].endedAt = run.endedAt
        } else {
            kept.runs.append(run)
        }
        let isWanted =
            policy.mode != .consecutive || (snapshots[key]?.machine.run ?? 0) > 0
            || kept.runs.count > 1
        if isWanted {
            kept.isDue = true
            hasDue = true
        }
        if pending.count >= settings.capacity, pending[key] == nil {
            pending = pending.filter { $0.value.isDue }
        }
        pending[key] = kept
    }

    private func flush(_ key: BreakerKey) async {
        guard let kept = pending.removeValue(forKey: key) else { return }
        _ = await change(key, .outcomes(kept.runs, generation: kept.generation))
    }

    // MARK: Acts

    /// An operator's act. Throws `.postgres` when the database is away: nobody else would know.
    package func act(
        _ key: BreakerKey, _ input: BreakerInput, by actor: Actor, reason: String?
    ) async throws(ControlPlaneError) -> BreakerSnapshot {
        var change = BreakerChange(key: key, input: input, policy: policy(of: key))
        change.actor = actor
        change.reason = reason
        do throws(PostgresError) {
            let changed = try await changes(change)
            adopt(changed, of: key)
            return changed.snapshot
        } catch {
            throw .postgres(error)
        }
    }

    /// The breakers of a tenant that have a row, the worst first, as they are in the database now.
    package func list(of tenant: Tenant.ID) async throws(ControlPlaneError) -> [BreakerView] {
        do throws(PostgresError) {
            return try await store.list(of: tenant).map { key, snapshot in
                BreakerView(key, snapshot, policy(of: key))
            }.sorted(by: <)
        } catch {
            throw .postgres(error)
        }
    }

    /// Breakers that are not closed and at rest, of a tenant or (nil) of all and those over all, the worst
    /// first: as this loop knows them, without SQL.
    package func troubled(of tenant: Tenant.ID?) -> [BreakerView] {
        var views: [BreakerView] = []
        for (key, snapshot) in snapshots where tenant == nil || key.tenant == tenant {
            let machine = snapshot.machine
            guard
                machine.effectiveState != .closed || machine.override != nil
                    || machine.failureCount > 0
            else { continue }
            views.append(BreakerView(key, snapshot, policy(of: key)))
        }
        return views.sorted { ($0, $0.key.tenant.uuid) < ($1, $1.key.tenant.uuid) }
    }

    /// One breaker as it is in the database now, with or without a row.
    package func view(of key: BreakerKey) async throws(ControlPlaneError) -> BreakerView {
        let all = try await list(of: key.tenant)
        return all.first { $0.key == key } ?? BreakerView(key, nil, policy(of: key))
    }

    /// Its moves, the newest first, those of generations before `generation`.
    package func history(
        of key: BreakerKey, before generation: Int64?, limit: Int
    ) async throws(ControlPlaneError) -> [BreakerEvent] {
        do throws(PostgresError) {
            return try await store.history(of: key, before: generation, limit: limit)
        } catch {
            throw .postgres(error)
        }
    }

    // MARK: Changes

    private func change(_ key: BreakerKey, _ input: BreakerInput) async -> BreakerAnswer {
        let change = BreakerChange(key: key, input: input, policy: policy(of: key))
        let changed: BreakerChanged
        do throws(PostgresError) {
            changed = try await changes(change)
        } catch {
            changed = decideAlone(change)
        }
        adopt(changed, of: key)
        return changed.answer
    }

    /// The same code on what is known, while the database is away; open times are spread, since every
    /// instance then has a breaker of its own.
    private func decideAlone(_ change: BreakerChange) -> BreakerChanged {
        counted.local += 1
        let known = snapshots[change.key]
        var machine = known?.machine ?? BreakerMachine()
        var policy = change.policy
        policy.openJitter = max(policy.openJitter, 0.5)
        var moves: [BreakerMove] = []
        let time = known?.now() ?? now
        let answer = machine.apply(
            change.input, at: time, policy, random: .random(in: 0...1), moves: &moves)
        let snapshot = BreakerSnapshot(
            machine: machine, version: known?.version ?? 0, clock: time, readAt: .now,
            isLocal: true)
        return BreakerChanged(answer: answer, snapshot: snapshot, moves: moves)
    }

    private func adopt(_ changed: BreakerChanged, of key: BreakerKey) {
        if changed.answer == .stale { counted.stale += 1 }
        for move in changed.moves {
            counted.moves += 1
            tell(.breakerMoved(key, move))
        }
        if !changed.moves.isEmpty, !changed.snapshot.isLocal { hints?.send() }
        adopt(changed.snapshot, of: key)
    }

    /// Never an older one than is known.
    private func adopt(_ snapshot: BreakerSnapshot, of key: BreakerKey) {
        if let known = snapshots[key], !known.isLocal, !snapshot.isLocal,
            snapshot.version < known.version
        {
            return
        }
        if snapshots[key]?.version != snapshot.version || snapshot.isLocal { revision += 1 }
        snapshots[key] = snapshot
        if pending[key]?.generation != snapshot.machine.generation { pending[key] = nil }
    }

    // MARK: Life

    /// Polls and reports until cancelled.
    package func run() async {
        await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group in
                group.addTask(executorPreference: loop) { await self.changes.run() }
                group.addTask(executorPreference: loop) { await self.report() }
                while !Task.isCancelled {
                    await poll()
                    let jitter = Double.random(in: 0.9...1)
                    pollTimer.set(.now.advanced(by: settings.pollInterval * jitter), on: loop)
                    do throws(IOError) { try await loop.sleep(for: settings.hintSpacing) } catch {
                        break
                    }
                    await hinted.wait()
                }
                group.cancelAll()
            }
        } onCancel: {
            loop.execute { self.assumeIsolated { $0.pollSoon() } }
        }
    }

    /// Others have moved a breaker, or so it seems: asks them now, not at the end of the interval.
    package func pollSoon() { hinted.resume(()) }

    /// Learns what others did. After a failure, and the first time, all is read.
    package func poll() async {
        let isFresh = age.map { $0 < settings.changeSpan / 2 } ?? false
        let startedAt = MonotonicInstant.now
        guard let rows = try? await store.changed(within: isFresh ? settings.changeSpan : nil)
        else { return }
        if !isFresh { snapshots = snapshots.filter { !$0.value.isLocal } }
        for (key, snapshot) in rows {
            clock = (snapshot.clock, snapshot.readAt)
            adopt(snapshot, of: key)
            if snapshot.machine.isAhead(of: snapshot.clock) { _ = await change(key, .look) }
        }
        freshAt = startedAt
    }

    /// Brings outcomes that can wait a moment, all that have come together.
    private func report() async {
        while !Task.isCancelled {
            do throws(IOError) { try await loop.sleep(for: settings.successFlush) } catch { return }
            guard hasDue else { continue }
            hasDue = false
            let due = pending.filter { $0.value.isDue }
            for key in due.keys { pending[key] = nil }
            await withDiscardingTaskGroup { group in
                for (key, kept) in due {
                    group.addTask(executorPreference: loop) {
                        _ = await self.change(
                            key, .outcomes(kept.runs, generation: kept.generation))
                    }
                }
            }
        }
    }
}

extension OutcomeRun {
    fileprivate func isAlike(_ other: OutcomeRun) -> Bool {
        // Whose successes they are matters to nobody: those of all tenants are one run for their parent.
        isFailure == other.isFailure && isSlow == other.isSlow
            && (!isFailure || tenant == other.tenant)
    }
}
