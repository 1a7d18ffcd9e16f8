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
    private let ledger: Ledger
    private let breakers: Breakers
    private let regions: RegionCache
    private let budget: CreationBudget
    private let budgets: RetryBudgetKeeper
    private let retries: RetryPolicy
    private let classifier: Classifier
    private let store: AttemptStore
    private let failures: Batcher<TryNote, StoredTry>
    private let tell: Tell
    private let refusals: Refusals?
    private var signer: AttemptSigner?
    private var kept: [TryNote] = []
    package private(set) var counters = Counters()

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
    private func settle(_ token: AttemptToken, _ error: Classification?) async {
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

    private func loadedSigner() async throws(ControlPlaneError) -> AttemptSigner {
        if let signer { return signer }
        do throws(PostgresError) {
            let made = AttemptSigner(secret: try await store.secret())
            signer = made
            return made
        } catch {
            throw .postgres(error)
        }
    }

    // MARK: Outcomes

    /// Takes what became of a try, and says what to do next.
    ///
    /// Once is enough; again, late or never does no harm: a try has one place in the table, a report of
    /// another generation of the breaker changes nothing, and a probe's lease ends by itself.
    ///
    /// Throws `.notFound` for an id that this tenant was not given in the last 24 hours, `.postgres`.
    package func report(
        _ report: TryReport, of id: String, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Advice {
        let now = await breakers.now
        let token = try await token(id, of: tenant, now)
        let outcome: CallOutcome
        switch report.outcome {
        case .failed: return try await failed(report, token, now)
        case .succeeded:
            outcome = .succeeded
            counters.succeeded += 1
        case .cancelled:
            outcome = .local
            counters.cancelled += 1
        }
        await breakers.settle(token.ticket, outcome, took: report.duration)
        await settle(token, nil)
        let note = TryNote(
            token: token, number: report.number, endedAt: now, outcome: report.outcome, kind: nil,
            duration: report.duration, wait: nil, stop: nil)
        keep(note)
        told(note)
        if report.outcome == .succeeded {
            let step = CreationEvent.Step.success(
                sandboxID: report.sandboxID, attempt: report.number, took: report.duration)
            await told(step, token, report.traceID)
        }
        return Advice(token: token, next: .done, error: nil)
    }

    /// The tries of a permit that are stored. Throws as `report` does.
    package func tries(
        of id: String, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> (token: AttemptToken, tries: [StoredTry]) {
        let token = try await token(id, of: tenant, await breakers.now)
        do throws(PostgresError) {
            return (token, try await store.tries(of: token))
        } catch {
            throw .postgres(error)
        }
    }

    private func token(
        _ id: String, of tenant: Tenant.ID, _ now: Timestamp
    ) async throws(ControlPlaneError) -> AttemptToken {
        guard let token = try await loadedSigner().read(id, for: tenant), token.isAlive(at: now)
        else {
            throw .notFound("attempt; an id is as its permit gave it, and counts for 24 hours")
        }
        return token
    }

    private func failed(
        _ report: TryReport, _ token: AttemptToken, _ now: Timestamp
    ) async throws(ControlPlaneError) -> Advice {
        let key = token.ticket.key
        let error = classifier.classify(report.facts ?? ErrorFacts())
        var random = SystemRandomNumberGenerator()
        let left = token.deadline.map { $0 - (now - token.issuedAt) }
        var advice = Advice(
            token: token,
            next: Advice.Next(
                retries.verdict(
                    on: error, attempt: report.number, remaining: left, using: &random)),
            error: error)
        if report.willRetry, case .retry(let wait) = advice.next {
            if await budgets.take(for: key.tenant, at: key.provider, now: .now) {
                try await recordNext(report.number + 1, after: wait, &advice)
            } else {
                advice.next = .stop(.budget, retryAfter: wait)
            }
        }
        let note = TryNote(
            token: token, number: report.number, endedAt: now, outcome: .failed, kind: error.kind,
            duration: report.duration, wait: advice.next.wait, stop: advice.next.stop)
        do throws(PostgresError) {
            let stored = try await failures(note)
            if !stored.isNew { return await replayed(stored, instead: advice, report) }
        } catch {
            guard error.isOutage else { throw .postgres(error) }
            keep(note)
            advice.isDegraded = true
        }
        counters.failed += 1
        told(note)
        await settle(token, error)
        if !advice.isRetried(report) || breakers.settings.unit == .attempt {
            await breakers.settle(
                token.ticket, .failed(error.kind, retryAfter: error.retryAfter),
                took: report.duration)
        }
        let words = report.facts?.words ?? error.kind.rawValue
        await told(
            .failure(attempt: report.number, error: words, took: report.duration), token,
            report.traceID)
        if !advice.isRetried(report) {
            await told(.criticalFailure(error: words), token, report.traceID)
        }
        return advice
    }

    /// Each try that is sent to the provider is a record; that of a retry is made with the advice to
    /// make it, and once, however often the failed try is reported.
    private func recordNext(
        _ number: Int, after wait: Duration, _ advice: inout Advice
    ) async throws(ControlPlaneError) {
        let token = advice.token
        let once = Idempotency(key: "\(token.id) \(number)", route: "attempt", body: [])
        let ask = Ask(
            token.operation, cost: token.cost, maxPerHour: token.maxPerHour,
            identity: Ask.Identity(idempotency: once))
        let verdict: Verdict
        do throws(ControlPlaneError) {
            verdict = try await ledger.decide(ask, for: token.ticket.key.tenant)
        } catch .postgres(let error) where error.isOutage {
            advice.isDegraded = true
            return
        } catch .costExceedsLimit {
            // The limit has become tighter since the permit was given.
            advice.next = .stop(.quota, retryAfter: nil)
            return
        } catch {
            throw error
        }
        advice.verdict = verdict
        guard case .denied(let retryAfter) = verdict.outcome else { return }
        let key = token.ticket.key
        await budgets.giveBack(for: key.tenant, at: key.provider)
        advice.next = .stop(.quota, retryAfter: retryAfter.map { max($0, wait) })
    }

    /// The answer that the first report of this try got.
    private func replayed(
        _ stored: StoredTry, instead advice: Advice, _ report: TryReport
    ) async -> Advice {
        counters.replayed += 1
        let key = advice.token.ticket.key
        if advice.isRetried(report) { await budgets.giveBack(for: key.tenant, at: key.provider) }
        var earlier = Advice(
            token: advice.token, next: Advice.Next(stored),
            error: stored.outcome == .failed ? advice.error : nil)
        earlier.isReplay = true
        return earlier
    }

    private func keep(_ note: TryNote) {
        if kept.count < settings.maxKept { kept.append(note) } else { counters.dropped += 1 }
    }

    /// The events of a creation that its caller makes itself.
    private func told(
        _ step: CreationEvent.Step, _ token: AttemptToken, _ traceID: String?
    ) async {
        let key = token.ticket.key
        guard key.operationClass == .create else { return }
        tell(
            .creation(
                CreationEvent(
                    step: step, tenant: key.tenant, region: key.region, template: token.template,
                    framework: token.framework, breaker: await breakers.glance(at: key).state,
                    traceID: traceID, at: .now)))
    }

    private func told(_ note: TryNote) {
        let key = note.token.ticket.key
        tell(
            .tryFinished(
                RetryExecutor.Subject(
                    operation: note.token.operation, tenant: key.tenant, provider: key.provider),
                TryRecord(
                    number: note.number, duration: note.duration, outcome: note.outcome,
                    kind: note.kind, wait: note.stop == nil ? note.wait : nil)))
    }
}

extension Advice {
    /// The caller goes on, as it said it would.
    fileprivate func isRetried(_ report: TryReport) -> Bool {
        if case .retry = next { report.willRetry } else { false }
    }
}

extension Advice.Next {
    fileprivate init(_ verdict: RetryPolicy.Verdict) {
        switch verdict {
        case .retry(let wait): self = .retry(after: wait)
        case .stop(let stop, let wait): self = .stop(stop, retryAfter: wait)
        }
    }

    fileprivate init(_ stored: StoredTry) {
        switch (stored.stop, stored.wait) {
        case (let stop?, let wait):
            self = .stop(RetryPolicy.Stop(rawValue: stop) ?? .permanent, retryAfter: wait)
        case (nil, let wait?): self = .retry(after: wait)
        case (nil, nil): self = .done
        }
    }

    fileprivate var wait: Duration? {
        switch self {
        case .done: nil
        case .retry(let wait): wait
        case .stop(_, let wait): wait
        }
    }

    fileprivate var stop: String? { if case .stop(let stop, _) = self { stop.rawValue } else { nil } }
}
