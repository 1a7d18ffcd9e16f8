internal import IO
package import Postgres

/// A creation from its order to its sandbox: `breaker( retry( create ), on fallback retry( create ) )`, again for one
/// that does not work.
extension Creations {
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
        count(outcome)
        if case .failure(let failure) = outcome {
            // Before its first row was there; after it nobody listens any more.
            begun.waiter.resume(.failure(failure))
        }
    }

    /// It counts to its own end, also where its caller has left before.
    private func performed(_ job: Job) async -> Result<CreatedSandbox, CreationFailure> {
        let outcome = await perform(job)
        inFlight -= 1
        return outcome
    }

    private func count(_ outcome: Result<CreatedSandbox, CreationFailure>) {
        switch outcome {
        case .success: counters.made += 1
        case .failure(.breakerOpen), .failure(.overQuota): counters.refused += 1
        case .failure: counters.failed += 1
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
        let job = Job(order, at: clock.now)
        let gone: @Sendable () -> Result<CreatedSandbox, CreationFailure> = {
            job.isAbandoned = true
            return .failure(.notTried(.cancelled, retryAfter: nil))
        }
        var outcome = await outliving(orElse: gone) {
            await self.performed(job)
        }
        // It was made in the very moment in which its caller left.
        if Task.isCancelled, case .success(let made) = outcome, order.idempotency == nil {
            outcome = .failure(await abandon(made.sandbox))
        }
        count(outcome)
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
            fallback != order.choice, !job.isRefused, mayFallBack(failure, order)
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
        let tenant = job.order.tenant
        let end: @Sendable () async throws(ControlPlaneError) -> Bool = {
            [store] () throws(ControlPlaneError) in
            try await store.end(
                job.request, of: tenant, as: state, kind: failure.cause?.error.kind,
                error: failure.cause?.facts.message)
        }
        do throws(ControlPlaneError) {
            if try await end() { return nil }
        } catch {
            // What is adopted by then is nobody's. What cannot be written by then is settled when the
            // lease has passed.
            later { await self.close(job, later: end) }
            return nil
        }
        guard let row = await adopted(job), let providerID = row.providerID else { return nil }
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
        await forsake(row, job)
        return nil
    }

    private func close(
        _ job: Job, later end: @Sendable () async throws(ControlPlaneError) -> Bool
    ) async {
        guard (try? await whileAway(end)) == false, let row = await adopted(job) else { return }
        await forsake(row, job)
    }

    /// The sandbox that is bound to the request.
    private func adopted(_ job: Job) async -> Sandbox? {
        let tenant = job.order.tenant
        guard let request = try? await store.request(job.request, of: tenant),
            let id = request.sandbox, let row = try? await store.sandbox(id, of: tenant),
            row.state.isBound
        else { return nil }
        return row
    }

    /// A call with the same key, or a look at the request, finds it; else nobody would.
    private func forsake(_ row: Sandbox, _ job: Job) async {
        guard job.isAwaited, job.order.idempotency == nil else { return }
        _ = try? await store.move(row.id, of: row.tenant, to: .stopping, why: .abandoned)
    }

    /// For the caller.
    private func ended(_ job: Job, _ failure: RetryFailure) async -> CreationFailure {
        // Who leaves has seen no failure.
        if !job.isAbandoned {
            await told(
                .criticalFailure(
                    error: failure.cause?.facts.message ?? job.fault.map { redacted("\($0)") }
                        ?? failure.stop.rawValue),
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
            // Its turn came when nobody waited any more.
            if job.isUnknown { throw .cancelled }
            try await lookForRoom(job)
            sandbox = try await recordAndPlan(job, id, isFallback ? choice.template : nil)
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
}
