internal import IO
internal import JSON
internal import Postgres

/// One call of a provider, and what is written of it. Nobody may be waiting any more.
extension Creations {
    /// Calls the provider and writes what came of it.
    func fly(
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
    func bind(
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
            let row = try await whileAway { [facts] () throws(ControlPlaneError) in
                let made = MadeSandbox(
                    sandbox.id, of: order.tenant, facts, as: isHeldBack ? .booting : .running)
                if let row = try await take(made) { return row }
                // Committed before, though the answer that said so was lost.
                return try await store.sandbox(sandbox.id, of: order.tenant)
            }
            guard row.state.isBound, row.providerID == answer.id else {
                counters.late += 1
                return .failure(.cancelled)
            }
            CrashPoint.sandboxBound.reached()
            try? await budget.keep(order.target.account, lease: sandbox.id, for: order.life)
            if row.state == .running,
                let refusal = await giveWantedLife(row, at: order.target.endpoint)
            {
                job.isRefused = true
                return .failure(.failed(refusal))
            }
            return .success(Made(sandbox: row, answer: answer))
        } catch .postgres(.uniqueViolation(constraint: "sandbox_provider_id_live")) {
            var facts = ErrorFacts.unreadable(201)
            facts.message = "the provider gave the id of another sandbox, \(answer.id)"
            await lost(sandbox, .failed(facts), order.target.account)
            return .failure(.failed(facts))
        } catch {
            job.fault = error
            return .failure(.refused(.cancelled, retryAfter: nil))
        }
    }

    /// Again and again while the database is away or in the way, for `settings.bindWait`. Where `body` was
    /// done and its answer lost, it is done again.
    package func whileAway<Value: Sendable>(
        _ body: @Sendable () async throws(ControlPlaneError) -> Value
    ) async throws(ControlPlaneError) -> Value {
        let giveUpAt = clock.now.advanced(by: settings.bindWait)
        while true {
            do throws(ControlPlaneError) { return try await body() } catch {
                guard case .postgres(let cause) = error, cause.isTransient, clock.now < giveUpAt
                else {
                    throw error
                }
                do throws(CancellationError) {
                    try await clock.sleep(for: .milliseconds(100))
                } catch { throw .conflict("stopping") }
            }
        }
    }

    /// The call had no answer that we can use, or one that there is none.
    func lost(
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
    /// to its end. What the provider does not allow is answered, and the sandbox killed: so much as the
    /// first life is not what was asked for.
    func giveWantedLife(_ row: Sandbox, at endpoint: ProviderEndpoint) async -> ErrorFacts? {
        guard let id = row.providerID, let endsAt = row.endsAt, let until = row.providerEndsAt,
            endsAt > until
        else { return nil }
        let life = GivenLife(id: row.id, tenant: row.tenant, endsAt: endsAt)
        let refusal = await outliving(within: settings.extendWait, orElse: { ErrorFacts?.none }) {
            await self.give(life, to: id, at: endpoint)
        }
        if let refusal {
            try? await whileAway { () throws(ControlPlaneError) in
                try await store.refuse(row, classifier.classify(refusal).kind, refusal.message)
            }
        }
        return refusal
    }

    private func give(
        _ life: GivenLife, to id: String, at endpoint: ProviderEndpoint
    ) async -> ErrorFacts? {
        do throws(TryError) {
            guard
                try await providers.extend(
                    id, to: life.endsAt - .now, at: endpoint, within: settings.call)
            else { return nil }
        } catch { return refusal(error) }
        CrashPoint.sandboxExtended.reached()
        // The answer need not wait for it: what is not noted is given again.
        later { _ = try? await self.lives(life) }
        return nil
    }

    /// What a call was refused for, where it would be again: a life longer than the account may ask for.
    nonisolated func refusal(_ error: TryError) -> ErrorFacts? {
        // Not what something on the way may say.
        guard case .failed(let facts) = error, [400, 422].contains(facts.status),
            classifier.classify(facts).kind == .invalidRequest
        else { return nil }
        return facts
    }

    /// With what others take in the same turn.
    func take(_ made: MadeSandbox) async throws(ControlPlaneError) -> Sandbox? {
        let answer: SandboxStore.MadeResult
        do throws(PostgresError) { answer = try await takes(made) } catch { throw .postgres(error) }
        return try answer.get()
    }

    func firstLife(of order: CreationOrder) -> Duration {
        min(settings.firstLife, order.life)
    }

    /// What the provider is sent: the caller's own, the template, the first life, and our tags.
    func body(
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

extension TryError {
    var words: String {
        switch self {
        case .failed(let facts): facts.message
        case .refused(let stop, _): stop.rawValue
        case .cancelled: "cancelled"
        }
    }
}

extension Statement {
    fileprivate static let deployment = Statement("deployment", "SELECT id FROM deployment")
}
