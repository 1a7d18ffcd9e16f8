package import IO
package import Postgres

/// Permits for calls that a caller makes itself, and what became of them.
///
/// A permit asks the breaker (memory) and the ledger (its batch); a success is heard in memory and stored
/// with others each second. So neither costs a statement of its own. A failure is stored at once, since
/// the try's place in the table is what keeps a doubled report from counting twice.
package actor Attempts: LoopBound {
    package struct Settings: Hashable, Sendable {
        /// How often successes are brought to the table: a kill loses so much of its history.
        package var flush: Duration = .seconds(1)
        /// Tries that wait for that; past it they are not stored.
        package var maxKept = 20_000
        /// The last number that a try may have.
        package static let mostTries = 1_000
        /// The longest deadline of a permit.
        package static let longestDeadline: Duration = .seconds(3600)
        /// What a probe's lease adds to the deadline: the outcome has to arrive, too.
        package static let leaseMargin: Duration = .seconds(10)
        /// How long a creation without a deadline takes its account's place at most.
        package static let placeTime: Duration = .seconds(120)

        package init() {}
    }

    package struct Counters: Hashable, Sendable {
        package var allowed = 0
        package var overQuota = 0
        package var breakerOpen = 0
        package var throttled = 0
        package var degraded = 0
        package var succeeded = 0
        package var failed = 0
        package var cancelled = 0
        /// Reports of a try that had been reported before.
        package var replayed = 0
        /// Tries that were not stored, since the database was away for too long.
        package var dropped = 0

        package init() {}
    }

    package nonisolated let loop: EventLoop
    package nonisolated let settings: Settings
    let ledger: Ledger
    let breakers: Breakers
    private let regions: RegionCache
    let budget: CreationBudget
    let budgets: RetryBudgetKeeper
    let retries: RetryPolicy
    let classifier: Classifier
    let store: AttemptStore
    let failures: Batcher<TryNote, StoredTry>
    let tell: Tell
    private let refusals: Refusals?
    private var signer: AttemptSigner?
    var kept: [TryNote] = []
    package internal(set) var counters = Counters()

    package init(
        on loop: EventLoop, pipeline: Pipeline, ledger: Ledger, breakers: Breakers,
        regions: RegionCache, budget: CreationBudget, budgets: RetryBudgetKeeper, retries: RetryPolicy = RetryPolicy(),
        classifier: Classifier = Classifier(), settings: Settings = Settings(),
        refusals: Refusals? = nil, tell: @escaping Tell = { _ in }
    ) {
        self.loop = loop
        self.settings = settings
        self.ledger = ledger
        self.breakers = breakers
        self.regions = regions
        self.budget = budget
        self.budgets = budgets
        self.retries = retries
        self.classifier = classifier
        self.tell = tell
        self.refusals = refusals
        let store = AttemptStore(pipeline: pipeline)
        self.store = store
        failures = Batcher(on: loop) { tries in
            do throws(PostgresError) {
                return try await store.note(tries).map { .success($0) }
            } catch {
                return tries.map { _ in .failure(error) }
            }
        }
    }

    /// Serves until cancelled.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask(executorPreference: loop) { await self.failures.run() }
            while !Task.isCancelled {
                do throws(IOError) { try await loop.sleep(for: settings.flush) } catch { break }
                await flush()
            }
            group.cancelAll()
        }
    }

    /// Brings what is kept to the table; what cannot be brought now stays for the next time.
    package func flush() async {
        guard !kept.isEmpty else { return }
        let taken = kept
        kept = []
        do throws(PostgresError) {
            _ = try await store.note(taken)
        } catch {
            let room = max(settings.maxKept - kept.count, 0)
            counters.dropped += max(taken.count - room, 0)
            kept = taken.prefix(room) + kept
        }
    }

    // MARK: Permits

    /// Asks whether a call may be made now, and records it.
    ///
    /// The breaker first: what it refuses costs no unit. A probe's place is free again when the ledger
    /// denies. While the database is away, the breaker answers as it was known last, and nothing is
    /// recorded; only a call that asked for an identity of its own fails.
    ///
    /// Throws `.tooManyOperations`, `.costExceedsLimit`, `.idempotencyMismatch`, `.postgres`.
    package func permit(
        _ request: PermitRequest
    ) async throws(ControlPlaneError) -> PermitAnswer {
        let ask = request.ask
        let signer = try await loadedSigner()
        let (key, region) = await place(of: request)
        let lease = request.deadline.map { deadline in
            max(breakers.settings.policy.probeLease, deadline + Settings.leaseMargin)
        }
        let ticket: BreakerTicket
        switch await breakers.admit(key, lease: lease) {
        case .admitted(let admitted): ticket = admitted
        case .refused(let refusal):
            counters.breakerOpen += 1
            let state = await breakers.glance(at: refusal.key).state
            await refusals?.note(key, .breakerOpen, state)
            return .breakerOpen(refusal, state)
        }
        let lastingID = ask.identity?.id ?? .v7()
        if let region, key.operationClass == .create,
            let answer = await wait(for: region.account, lastingID, request.deadline)
        {
            await breakers.settle(ticket, .local, took: .zero)
            counters.throttled += 1
            await refusals?.note(key, .throttled, await breakers.glance(at: key).state)
            return answer
        }
        let verdict: Verdict?
        do throws(ControlPlaneError) {
            verdict = try await record(ask, for: key.tenant)
        } catch {
            await breakers.settle(ticket, .local, took: .zero)
            if let region { await budget.release(region.account, lease: lastingID) }
            throw error
        }
        if let verdict, !verdict.isAdmitted {
            await breakers.settle(ticket, .local, took: .zero)
            if let region { await budget.release(region.account, lease: lastingID) }
            counters.overQuota += 1
            await refusals?.note(key, .quotaExceeded, await breakers.glance(at: key).state)
            return .overQuota(verdict)
        }
        await budgets.noteFirstTry(of: key.tenant, at: key.provider, now: .now)
        let (now, state) = await breakers.glance(at: key)
        // A replay's time is that of the first call, so that both permits are one.
        let issuedAt = verdict?.admittedAt ?? now
        let token = AttemptToken(
            id: verdict?.id ?? lastingID, issuedAt: issuedAt, deadline: request.deadline,
            ask: ask, ticket: ticket, template: request.template, framework: request.framework)
        let permit = Permit(
            token: token, id: signer.sign(token), verdict: verdict, breakerState: state,
            region: region)
        counters.allowed += 1
        if permit.isDegraded { counters.degraded += 1 }
        if verdict?.isReplay != true { await told(.start, token, request.traceID) }
        return .allowed(permit)
    }

    /// The breaker to ask, and the tenant's region behind it, if it has one of that name.
    private func place(of request: PermitRequest) async -> (BreakerKey, Region?) {
        func key(_ region: String) -> BreakerKey {
            BreakerKey(
                request.tenant, provider: request.provider, region: region,
                request.operationClass)
        }
        // What is not known while the database is away is left out: breaker and limits still hold.
        let known = ((try? await regions.regions(of: request.tenant)) ?? []).filter {
            $0.isEnabled && $0.provider == request.provider
        }
        if let name = request.region { return (key(name), known.first { $0.name == name }) }
        for region in known {
            let key = key(region.name)
            if await breakers.glance(at: key).state != .open { return (key, region) }
        }
        guard let first = known.first else { return (key("default"), nil) }
        return (key(first.name), first)
    }

    /// Takes a creation of the account; nil: it may go.
    private func wait(
        for account: ProviderAccount, _ lease: UUID, _ deadline: Duration?
    ) async -> PermitAnswer? {
        let time = (deadline ?? Settings.placeTime) + Settings.leaseMargin
        // Where the database is away the provider itself holds its limits.
        guard case .wait(let wait, let reason)? = try? await budget.take(
            account, lease: lease, for: time)
        else { return nil }
        return .throttled(reason, retryAfter: wait)
    }

    /// What an outcome says of the account that the creation went to.
    func settle(_ token: AttemptToken, _ error: Classification?) async {
        let key = token.ticket.key
        guard key.operationClass == .create,
            let region = ((try? await regions.regions(of: key.tenant)) ?? []).first(where: {
                $0.name == key.region && $0.provider == key.provider
            })
        else { return }
        await budget.release(region.account, lease: token.id)
        if let error, error.kind == .rateLimit {
            await budget.throttled(region.account, retryAfter: error.retryAfter)
        }
    }

    /// Nil while the database is away.
    private func record(
        _ ask: Ask, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Verdict? {
        do throws(ControlPlaneError) {
            return try await ledger.decide(ask, for: tenant)
        } catch .postgres(let error) where error.isOutage && ask.identity == nil {
            return nil
        } catch {
            throw error
        }
    }

    func loadedSigner() async throws(ControlPlaneError) -> AttemptSigner {
        if let signer { return signer }
        do throws(PostgresError) {
            let made = AttemptSigner(secret: try await store.secret())
            signer = made
            return made
        } catch {
            throw .postgres(error)
        }
    }
}
