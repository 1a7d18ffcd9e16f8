package import IO
internal import JSON
package import Postgres

/// Makes sandboxes: `breaker( retry( create ), on fallback retry( create ) )`, each try with an intent
/// that was committed before the provider heard of it; then a health check, outside the breaker.
///
/// Who asked may go away: what was begun is finished here, and kept for who can ask for it again, by an
/// idempotency key, or killed. What this instance does not live to finish, another settles by the same rows.
package actor Creations: LoopBound {
    package struct Settings: Hashable, Sendable {
        /// The life that a sandbox is made with; the wanted one comes when its row is bound. One that
        /// nobody knows of thus ends soon.
        package var firstLife: Duration = .seconds(90)
        /// One call to create, at the provider.
        package var call: Duration = .seconds(30)
        /// How long an answer waits for the wanted life to be given.
        package var extendWait: Duration = .seconds(1)
        /// How long the row of a sandbox that was made is tried to be bound while the database is away.
        package var bindWait: Duration = .seconds(5)
        /// How much longer than its deadline a request is left to its instance before others settle it.
        package var leaseMargin: Duration = .seconds(15)
        /// Creations of a loop in hand; past it they are refused.
        package var maxInFlight = 1_000
        package var health = HealthChecker.Settings()
        /// What a try is recorded as.
        package static let operation = "sandbox_create"

        package init() {}
    }

    package struct Counters: Hashable, Sendable {
        package var made = 0
        package var failed = 0
        package var refused = 0
        /// Answers of the provider that came when nobody waited any more.
        package var late = 0
        /// Calls whose end does not tell whether there is a sandbox now.
        package var ambiguous = 0
        /// Killed since they did not work.
        package var replaced = 0
        /// Killed since nobody waited for them any more.
        package var abandoned = 0

        package init() {}
    }

    package nonisolated let loop: EventLoop
    package nonisolated let settings: Settings
    package nonisolated let store: SandboxStore
    package nonisolated let providers: SandboxProviders
    package nonisolated let health: HealthChecker
    nonisolated let ledger: Ledger
    nonisolated let tell: Tell
    private let breakers: Breakers
    let budget: CreationBudget
    private let executor: RetryExecutor
    private let classifier: Classifier
    private let refusals: Refusals?
    let clock: any RetryClock
    private var deployment: String?
    private let pipeline: Pipeline
    package internal(set) var counters = Counters()

    private var isRunning = true
    private var inFlight = 0
    private var due: [@Sendable () async -> Void] = []
    private let work = Waiter<Void>()

    package init(
        on loop: EventLoop, pipeline: Pipeline, instance: String, providers: SandboxProviders,
        ledger: Ledger, breakers: Breakers, budget: CreationBudget, budgets: RetryBudgetKeeper,
        retries: RetryPolicy = RetryPolicy(), classifier: Classifier = Classifier(),
        settings: Settings = Settings(), clock: (any RetryClock)? = nil,
        refusals: Refusals? = nil, tell: @escaping Tell = { _ in }
    ) {
        self.loop = loop
        self.settings = settings
        self.pipeline = pipeline
        store = SandboxStore(
            pipeline, instance: instance, leaseMargin: settings.leaseMargin)
        self.providers = providers
        health = HealthChecker(on: loop, providers.http, settings: settings.health)
        self.ledger = ledger
        self.breakers = breakers
        self.budget = budget
        self.classifier = classifier
        self.tell = tell
        self.refusals = refusals
        let clock = clock ?? LoopClock(loop)
        self.clock = clock
        executor = RetryExecutor(
            retries, classifier: classifier, clock: clock, budgets: budgets, tell: tell)
    }

    // MARK: Life

    /// Runs what is asked for until cancelled.
    package func run() async {
        await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group in
                while !Task.isCancelled {
                    for job in due { group.addTask(executorPreference: loop) { await job() } }
                    due = []
                    await work.wait()
                }
                isRunning = false
                group.cancelAll()
            }
        } onCancel: {
            loop.execute { self.assumeIsolated { $0.work.resume(()) } }
        }
    }

    /// Runs `body`, whoever waits for it or not.
    func later(_ body: @escaping @Sendable () async -> Void) {
        due.append(body)
        work.resume(())
    }

    /// Runs `body` whatever becomes of the caller, who gets its value, or `fallback` when it is cancelled
    /// first.
    func outliving<Value: Sendable>(
        orElse fallback: @escaping @Sendable () -> Value,
        _ body: @escaping @Sendable () async -> Value
    ) async -> Value {
        let end = Handover<Value>()
        later { await self.hand(await body(), to: end) }
        return await withTaskCancellationHandler {
            // Through the actor: the closure by itself is not the actor's, and would wait elsewhere.
            await self.value(of: end)
        } onCancel: {
            loop.execute { end.waiter.resume(fallback()) }
        }
    }

    private func value<Value: Sendable>(of end: Handover<Value>) async -> Value {
        await end.waiter.wait()
    }

    private func hand<Value: Sendable>(_ value: Value, to end: Handover<Value>) {
        end.waiter.resume(value)
    }

    // MARK: Creating

    /// Begins to make a sandbox, and answers when that is sure to go on by itself: the id of its request.
    package func begin(
        _ order: CreationOrder
    ) async -> Result<UUID, CreationFailure> {
        guard isRunning, inFlight < settings.maxInFlight else {
            return .failure(await refused(order))
        }
        let begun = Handover<Result<UUID, CreationFailure>>()
        inFlight += 1
        later { await self.finish(order, telling: begun) }
        return await begun.waiter.wait()
    }

    private func finish(
        _ order: CreationOrder, telling begun: Handover<Result<UUID, CreationFailure>>
    ) async {
        let job = Job(order, at: clock.now) { begun.waiter.resume(.success($0)) }
        let outcome = await perform(job)
        inFlight -= 1
        switch outcome {
        case .success: counters.made += 1
        case .failure(let failure):
            counters.failed += 1
            // Before its first row was there; after it nobody listens any more.
            begun.waiter.resume(.failure(failure))
        }
    }

    /// Makes a sandbox, by `order.deadline`. One whose caller is cancelled meanwhile is killed, unless the
    /// caller can ask for it again.
    package func create(
        _ order: CreationOrder
    ) async -> Result<CreatedSandbox, CreationFailure> {
        guard isRunning, inFlight < settings.maxInFlight else {
            return .failure(await refused(order))
        }
        inFlight += 1
        defer { inFlight -= 1 }
        let job = Job(order, at: clock.now)
        let gone: @Sendable () -> Result<CreatedSandbox, CreationFailure> = {
            job.isAbandoned = true
            return .failure(.notTried(.cancelled, retryAfter: nil))
        }
        var outcome = await outliving(orElse: gone) { await self.perform(job) }
        // It was made in the very moment in which its caller left.
        if Task.isCancelled, case .success(let made) = outcome, order.idempotency == nil {
            outcome = .failure(await abandon(made.sandbox))
        }
        switch outcome {
        case .success: counters.made += 1
        case .failure(.breakerOpen), .failure(.overQuota): counters.refused += 1
        case .failure: counters.failed += 1
        }
        return outcome
    }

    /// Too many are in hand.
    private func refused(_ order: CreationOrder) async -> CreationFailure {
        counters.refused += 1
        let state = await breakers.glance(at: order.breaker).state
        await refusals?.note(order.breaker, .overloaded, state)
        return .notTried(.budget, retryAfter: .seconds(1))
    }

    /// Until a sandbox is handed over, or there is none.
    private func perform(_ job: Job) async -> Result<CreatedSandbox, CreationFailure> {
        while true {
            let made: Made
            switch await operation(job) {
            case .success(let value): made = value
            case .failure(let failure): return .failure(failure)
            }
            if job.isUnknown { return .failure(await abandon(made.sandbox)) }
            switch await handOver(made, job) {
            case .success(let row):
                if job.isUnknown { return .failure(await abandon(row)) }
                await told(
                    .success(sandboxID: made.answer.id, attempt: job.attempts, took: made.took),
                    job.order, template: row.template)
                return .success(
                    CreatedSandbox(
                        sandbox: row, answer: made.answer, attempts: job.attempts,
                        fellBack: job.hasFallenBack, replacements: job.replacements))
            case .failure(let failure):
                guard case .notWorking = failure, mayReplace(job) else {
                    if case .notWorking(let reason, _, _) = failure { await end(job, reason) }
                    return .failure(failure)
                }
                job.replacements += 1
            }
        }
    }

    /// One operation of the breaker: a creation with all its tries.
    private func operation(_ job: Job) async -> Result<Made, CreationFailure> {
        let order = job.order
        let start = clock.now
        let lease = max(
            breakers.settings.policy.probeLease, order.deadline + Attempts.Settings.leaseMargin)
        let ticket: BreakerTicket
        switch await breakers.admit(order.breaker, lease: lease) {
        case .admitted(let admitted): ticket = admitted
        case .refused(let refusal):
            let state = await breakers.glance(at: refusal.key).state
            await refusals?.note(order.breaker, .breakerOpen, state)
            if job.attempts > 0 { await end(job, refusal.message) }
            return .failure(.breakerOpen(refusal))
        }
        if job.attempts == 0 { await told(.start, order) }
        var outcome = await tries(job, order.choice, isFallback: false)
        if case .failure(let failure) = outcome.result, let fallback = order.fallback,
            fallback != order.choice, mayFallBack(failure, order)
        {
            outcome = await tries(job, fallback, isFallback: true)
        }
        var result = outcome.result
        if case .failure(let failure) = result, let adopted = await close(job, failure) {
            result = .success(adopted)
        }
        let took = start.duration(to: clock.now)
        switch result {
        case .success(var made):
            made.took = took
            await breakers.settle(ticket, .succeeded, took: took)
            return .success(made)
        case .failure(let failure):
            let counted: CallOutcome =
                failure.cause.map { .failed($0.error.kind, retryAfter: $0.error.retryAfter) }
                ?? .local
            await breakers.settle(ticket, counted, took: took)
            return .failure(await ended(job, failure))
        }
    }

    /// - Parameter template: the one that was tried, where it is not the one that was asked for.
    func told(
        _ step: CreationEvent.Step, _ order: CreationOrder, template: String? = nil
    ) async {
        tell(
            .creation(
                CreationEvent(
                    step: step, tenant: order.tenant, region: order.target.region,
                    template: template ?? order.choice.template, framework: order.choice.framework,
                    breaker: await breakers.glance(at: order.breaker).state,
                    traceID: order.traceID, at: .now)))
    }

    private func mayFallBack(_ failure: RetryFailure, _ order: CreationOrder) -> Bool {
        guard let cause = failure.cause else { return false }
        switch order.fallbackRule {
        case .templateNotFound: return cause.error.mayUseDefaultTemplate
        case .anyError: return true
        }
    }

    /// The request's own end in the database. A try whose answer was lost may have been adopted
    /// meanwhile: then its sandbox, which its caller gets or nobody.
    private func close(_ job: Job, _ failure: RetryFailure) async -> Made? {
        guard job.attempts > 0 else { return nil }
        let state: SandboxRequestState =
            switch failure.stop {
            case .deadline: .expired
            case .attempts, .budget, .tooLong: .dead
            case .cancelled: .cancelled
            case .permanent, .quota, .breakerOpen, .throttled: .failed
            }
        // What cannot be written now is settled when the lease has passed.
        let tenant = job.order.tenant
        let wasOpen = try? await store.end(
            job.request, of: tenant, as: state, kind: failure.cause?.error.kind,
            error: failure.cause?.facts.message)
        guard wasOpen == false, let request = try? await store.request(job.request, of: tenant),
            let id = request.sandbox, let row = try? await store.sandbox(id, of: tenant),
            row.state.isBound, let providerID = row.providerID
        else { return nil }
        for _ in 0..<3 {
            if let found = try? await providers.find(
                providerID, at: job.order.target.endpoint, within: settings.bindWait)
            {
                return Made(sandbox: row, answer: found)
            }
            do throws(CancellationError) { try await clock.sleep(for: .milliseconds(200)) } catch {
                return nil
            }
        }
        // A call with the same key, or a look at the request, finds it; else nobody would.
        if job.isAwaited, job.order.idempotency == nil {
            _ = try? await store.move(row.id, of: tenant, to: .stopping, why: .abandoned)
        }
        return nil
    }

    /// For the caller.
    private func ended(_ job: Job, _ failure: RetryFailure) async -> CreationFailure {
        // Who leaves has seen no failure.
        if !job.isAbandoned {
            await told(
                .criticalFailure(error: failure.cause?.facts.message ?? failure.stop.rawValue),
                job.order)
        }
        if let verdict = job.denial { return .overQuota(verdict) }
        if let fault = job.fault { return .domain(fault) }
        guard let cause = failure.cause else {
            return .notTried(failure.stop, retryAfter: failure.retryAfter)
        }
        return .provider(
            cause, stop: failure.stop, retryAfter: failure.retryAfter, attempts: job.attempts,
            request: job.request)
    }

    private func tries(
        _ job: Job, _ choice: TemplateChoice, isFallback: Bool
    ) async -> RetryOutcome<Made> {
        let order = job.order
        return await executor.run(
            .init(
                operation: Settings.operation, tenant: order.tenant,
                provider: order.target.provider),
            maxAttempts: order.maxAttempts, deadline: job.deadline
        ) { _ async throws(TryError) in
            try await self.one(job, choice, isFallback: isFallback)
        }
    }

    /// One try: recorded, its intent committed, sent, and its end written.
    private func one(
        _ job: Job, _ choice: TemplateChoice, isFallback: Bool
    ) async throws(TryError) -> Made {
        // Nobody would know of another one.
        if job.isUnknown { throw .cancelled }
        let id = UUID.v7()
        try await takePlace(job, id)
        let sandbox: Sandbox
        do throws(TryError) {
            try await lookForRoom(job)
            try await record(job)
            sandbox = try await plan(job, id, isFallback ? choice.template : nil)
        } catch {
            await budget.release(job.order.target.account, lease: id)
            throw error
        }
        job.attempts += 1
        if job.attempts == 1 { job.begun?(job.request) }
        job.hasFallenBack = job.hasFallenBack || isFallback
        CrashPoint.sandboxPlanned.reached()
        let end = await outliving(orElse: { Result<Made, TryError>.failure(.cancelled) }) {
            await self.fly(job, sandbox, choice)
        }
        return try end.get()
    }

    /// Waits for the account's turn, if that comes before the deadline.
    private func takePlace(_ job: Job, _ id: UUID) async throws(TryError) {
        let account = job.order.target.account
        while true {
            let left = clock.now.duration(to: job.deadline)
            let answer: CreationBudget.Answer
            do throws(ControlPlaneError) {
                answer = try await budget.take(
                    account, lease: id,
                    for: (job.order.call ?? settings.call) + Attempts.Settings.leaseMargin)
            } catch {
                job.fault = error
                throw .refused(.cancelled, retryAfter: nil)
            }
            guard case .wait(let wait, _) = answer else { return }
            guard wait < left else { throw .refused(.throttled, retryAfter: wait) }
            do throws(CancellationError) { try await clock.sleep(for: wait) } catch {
                throw .cancelled
            }
        }
    }

    /// Before the try is recorded, so that a refusal costs nothing; `plan` looks again, in the transaction
    /// that takes the room.
    private func lookForRoom(_ job: Job) async throws(TryError) {
        guard let most = job.order.maxLive else { return }
        do throws(ControlPlaneError) {
            try await store.hasRoom(for: most, of: job.order.tenant)
        } catch {
            job.fault = error
            throw .refused(.cancelled, retryAfter: nil)
        }
    }

    private func plan(
        _ job: Job, _ id: UUID, _ template: String?
    ) async throws(TryError) -> Sandbox {
        do throws(ControlPlaneError) {
            let left = max(clock.now.duration(to: job.deadline), .zero)
            return try await store.plan(
                job.plan(deadline: left), id: id, attempt: job.attempts + 1, template: template,
                remembering: job.order.idempotency, most: job.order.maxLive)
        } catch {
            job.fault = error
            throw .refused(.cancelled, retryAfter: nil)
        }
    }

    private func record(_ job: Job) async throws(TryError) {
        do throws(ControlPlaneError) {
            let verdict = try await ledger.decide(
                Ask(Settings.operation), for: job.order.tenant)
            guard case .denied(let wait) = verdict.outcome else { return }
            job.denial = verdict
            throw ControlPlaneError.conflict(wait.map { "\($0.milliseconds)" } ?? "")
        } catch {
            if job.denial == nil { job.fault = error }
            throw .refused(
                job.denial == nil ? .cancelled : .quota, retryAfter: job.denial?.retryAfter)
        }
    }

    // MARK: One call

    /// Calls the provider and writes what came of it. Nobody may be waiting any more.
    private func fly(
        _ job: Job, _ sandbox: Sandbox, _ choice: TemplateChoice
    ) async -> Result<Made, TryError> {
        let sentAt = Timestamp.now
        let attempt = job.attempts
        do throws(TryError) {
            let body = try await body(job, sandbox, choice)
            let answer = try await providers.create(
                body, once: sandbox.id, at: job.order.target.endpoint,
                within: job.order.call ?? settings.call,
                traceparent: job.order.traceparent)
            CrashPoint.sandboxAnswered.reached()
            return await bind(job, sandbox, answer, sentAt)
        } catch {
            await lost(sandbox, error, job.order.target.account)
            await told(
                .failure(attempt: attempt, error: error.words, took: .now - sentAt), job.order,
                template: choice.template)
            return .failure(error)
        }
    }

    /// Binds what was made, for as long as the database may take to come back.
    private func bind(
        _ job: Job, _ sandbox: Sandbox, _ answer: ProviderSandbox, _ sentAt: Timestamp
    ) async -> Result<Made, TryError> {
        let order = job.order
        var facts = SandboxFacts()
        facts.providerID = answer.id
        facts.domain = answer.domain ?? order.target.endpoint.domain
        facts.startedAt = answer.startedAt ?? sentAt
        facts.providerEndsAt = sentAt + (order.pauses ? order.life : firstLife(of: order))
        facts.endsAt = order.pauses ? facts.providerEndsAt : .now + order.life
        do throws(ControlPlaneError) {
            let isHeldBack = order.healthCheck == .replace
            let row = try await whileAway { () throws(ControlPlaneError) in
                if let row = try await store.made(
                    sandbox.id, of: order.tenant, facts, as: isHeldBack ? .booting : .running)
                {
                    return row
                }
                // Committed before, though the answer that said so was lost.
                return try await store.sandbox(sandbox.id, of: order.tenant)
            }
            guard row.state.isBound, row.providerID == answer.id else {
                counters.late += 1
                return .failure(.cancelled)
            }
            CrashPoint.sandboxBound.reached()
            try? await budget.keep(order.target.account, lease: sandbox.id, for: order.life)
            if row.state == .running { await giveWantedLife(row, at: order.target.endpoint) }
            return .success(Made(sandbox: row, answer: answer))
        } catch {
            job.fault = error
            return .failure(.refused(.cancelled, retryAfter: nil))
        }
    }

    /// Again and again while the database is away, for `settings.bindWait`.
    func whileAway<Value>(
        _ body: () async throws(ControlPlaneError) -> Value
    ) async throws(ControlPlaneError) -> Value {
        let giveUpAt = clock.now.advanced(by: settings.bindWait)
        while true {
            do throws(ControlPlaneError) { return try await body() } catch {
                guard case .postgres(let cause) = error, cause.isOutage, clock.now < giveUpAt else {
                    throw error
                }
                do throws(CancellationError) {
                    try await clock.sleep(for: .milliseconds(100))
                } catch { throw .conflict("stopping") }
            }
        }
    }

    /// The call had no answer that we can use, or one that there is none.
    private func lost(
        _ sandbox: Sandbox, _ error: TryError, _ account: ProviderAccount
    ) async {
        var mayBeThere = false
        if case .failed(let facts) = error {
            let known = classifier.classify(facts)
            mayBeThere = known.mayHaveBeenApplied
            if known.kind == .rateLimit {
                await budget.throttled(account, retryAfter: known.retryAfter)
            }
        }
        if !mayBeThere { await budget.release(account, lease: sandbox.id) }
        if mayBeThere { counters.ambiguous += 1 }
        // While the database is away the row stays as it is, until its request's lease has passed.
        _ = try? await store.move(
            sandbox.id, of: sandbox.tenant, to: mayBeThere ? .createUnknown : .failed,
            why: mayBeThere ? .ambiguous : .refused, from: [.creating])
    }

    /// The life that its tenant was promised; a task has it in hand as well, for when this does not come
    /// to its end.
    func giveWantedLife(_ row: Sandbox, at endpoint: ProviderEndpoint) async {
        guard let id = row.providerID, let endsAt = row.endsAt, let until = row.providerEndsAt,
            endsAt > until
        else { return }
        let store = store
        let (providers, wait) = (providers, settings.call)
        let isGiven = await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                await self.outliving(orElse: { false }) {
                    let life = endsAt - .now
                    guard
                        (try? await providers.extend(id, to: life, at: endpoint, within: wait))
                            == true
                    else { return false }
                    _ = try? await store.extended(row.id, of: row.tenant)
                    return true
                }
            }
            group.addTask { [clock, settings] in
                try? await clock.sleep(for: settings.extendWait)
                return false
            }
            let first = await group.next() ?? false
            group.cancelAll()
            return first
        }
        if isGiven { CrashPoint.sandboxExtended.reached() }
    }

    private func firstLife(of order: CreationOrder) -> Duration {
        min(settings.firstLife, order.life)
    }

    /// What the provider is sent: the caller's own, the template, the first life, and our tags.
    private func body(
        _ job: Job, _ sandbox: Sandbox, _ choice: TemplateChoice
    ) async throws(TryError) -> JSONValue {
        let order = job.order
        let deployment: String
        do throws(ControlPlaneError) {
            deployment = try await loadedDeployment()
        } catch {
            job.fault = error
            throw .refused(.cancelled, retryAfter: nil)
        }
        var metadata = order.metadata.map {
            JSONMember(name: $0.name, value: .string($0.value))
        }
        for (name, value) in SandboxTag.all(deployment, order.tenant, sandbox.id) {
            metadata.append(JSONMember(name: name, value: .string(value)))
        }
        let life = order.pauses ? order.life : firstLife(of: order)
        let template = order.target.templates[choice.template] ?? choice.template
        return order.body.setting("templateID", .string(template))
            .setting("timeout", .number(JSONNumber(Int((life.milliseconds + 999) / 1000))))
            .setting("metadata", .object(metadata))
    }

    package func loadedDeployment() async throws(ControlPlaneError) -> String {
        if let deployment { return deployment }
        do throws(PostgresError) {
            let id = try await pipeline.execute(.deployment).only().uuid(0).description
            deployment = id
            return id
        } catch {
            throw .postgres(error)
        }
    }
}

/// The metadata by which a sandbox at a provider is known as ours.
package enum SandboxTag {
    package static let deployment = "breakwater.deployment"
    package static let tenant = "breakwater.tenant"
    package static let sandbox = "breakwater.sandbox"

    static func all(
        _ deployment: String, _ tenant: Tenant.ID, _ sandbox: UUID
    ) -> [(name: String, value: String)] {
        [
            (Self.deployment, deployment), (Self.tenant, tenant.description),
            (Self.sandbox, sandbox.description),
        ]
    }

    /// What a tenant may not set itself.
    package static func isOurs(_ name: String) -> Bool { name.hasPrefix("breakwater.") }
}

extension Creations {
    struct Made: Sendable {
        let sandbox: Sandbox
        let answer: ProviderSandbox
        /// The whole operation.
        var took: Duration = .zero
    }

    /// One creation with what its tries leave behind. Belongs to the loop.
    final class Job: @unchecked Sendable {
        // Unchecked: its tries come one after the other, on the loop.
        let order: CreationOrder
        let deadline: MonotonicInstant
        let request = UUID.v7()
        /// Its caller has left.
        var isAbandoned = false
        /// And has nothing by which it could ask for what was made.
        var isUnknown: Bool { isAbandoned && order.idempotency == nil }
        var attempts = 0
        var replacements = 0
        var hasFallenBack = false
        var denial: Verdict?
        var fault: ControlPlaneError?
        let begun: ((UUID) -> Void)?
        /// Whether somebody waits for its end, rather than looking at the request.
        var isAwaited: Bool { begun == nil }

        init(_ order: CreationOrder, at now: MonotonicInstant, _ begun: ((UUID) -> Void)? = nil) {
            self.order = order
            deadline = now.advanced(by: order.deadline)
            self.begun = begun
        }

        func plan(deadline: Duration) -> SandboxPlan {
            var metadata = JSONWriter()
            metadata.object { for item in order.metadata { $0.member(item.name, item.value) } }
            return SandboxPlan(
                tenant: order.tenant, request: request, way: order.way,
                template: order.choice.template, framework: order.choice.framework,
                region: order.target.region, life: order.life,
                metadata: String(decoding: metadata.bytes, as: UTF8.self), traceID: order.traceID,
                deadline: deadline)
        }
    }

    /// Where a value goes from one task to another, both on the loop.
    private final class Handover<Value: Sendable>: @unchecked Sendable {
        // Unchecked: touched on the loop alone.
        let waiter = Waiter<Value>()
    }
}

extension TryError {
    var words: String {
        switch self {
        case .failed(let facts): facts.message
        case .refused(let stop, _): stop.rawValue
        case .cancelled: "cancelled"
        }
    }
}

extension Verdict {
    /// Of a denial: when the call would fit.
    var retryAfter: Duration? { if case .denied(let wait) = outcome { wait } else { nil } }
}

extension Statement {
    fileprivate static let deployment = Statement("deployment", "SELECT id FROM deployment")
}
