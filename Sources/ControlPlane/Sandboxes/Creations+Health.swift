internal import IO
internal import Postgres

/// What becomes of a sandbox between its making and its caller.
extension Creations {
    /// The sandbox as it is handed out.
    ///
    /// Where its health is to be proven first, it is looked at within what is left of the deadline; a dead
    /// one is on its way to be killed when `.notWorking` comes. What cannot be told is handed out.
    func handOver(_ made: Made, _ job: Job) async -> Result<Sandbox, CreationFailure> {
        let order = job.order
        switch order.healthCheck {
        case .off: return .success(made.sandbox)
        case .replace where made.sandbox.state == .booting: break
        // What was adopted meanwhile is bound already: it cannot be held back any more.
        case .warn, .replace:
            later { await self.look(at: made, order) }
            return .success(made.sandbox)
        }
        let check = await checked(
            made, order, within: max(clock.now.duration(to: job.deadline), .zero))
        noteCheck(check, of: made, order)
        var facts = SandboxFacts()
        facts.health = check.health
        facts.detail = check.words
        do throws(ControlPlaneError) {
            if check.verdict == .zombie {
                _ = try await whileAway { [facts] () throws(ControlPlaneError) in
                    try await store.move(
                        made.sandbox.id, of: order.tenant, to: .stopping, why: .zombie,
                        from: [.booting], facts)
                }
                counters.replaced += 1
                return .failure(
                    .notWorking(
                        reason: check.reason ?? "", attempts: job.attempts, request: job.request))
            }
            facts.endsAt = order.pauses ? nil : .now + order.life
            let row = try await whileAway { [facts] () throws(ControlPlaneError) in
                let working = MadeSandbox(made.sandbox.id, of: order.tenant, facts)
                if let row = try await take(working) { return row }
                // Committed before, though the answer that said so was lost.
                return try await store.sandbox(made.sandbox.id, of: order.tenant)
            }
            guard row.state == .running else {
                _ = try? await store.end(job.request, of: order.tenant, as: .cancelled)
                return .failure(.domain(.conflict("the sandbox was killed while it was made")))
            }
            if let refusal = await giveWantedLife(row, at: order.target.endpoint) {
                return .failure(
                    .provider(
                        RetryFailure.Cause(facts: refusal, error: classifier.classify(refusal)),
                        stop: .permanent, retryAfter: nil, attempts: job.attempts,
                        request: job.request))
            }
            return .success(row)
        } catch { return .failure(.domain(error)) }
    }

    /// Whether another may be made in the place of one that does not work: some more, and while there is
    /// time.
    func mayReplace(_ job: Job) -> Bool {
        job.replacements < settings.health.maxReplacements && clock.now < job.deadline
            && !job.isUnknown
    }

    /// A request that has no sandbox after all.
    func end(_ job: Job, _ reason: String) async {
        // What cannot be written by then is settled when the lease has passed.
        _ = try? await whileAway { () throws(ControlPlaneError) in
            try await store.end(
                job.request, of: job.order.tenant, as: .dead, kind: .unavailable, error: reason)
        }
        await told(.criticalFailure(error: reason), job.order)
    }

    /// Has killed what nobody can know of: its caller has left, and has no key to ask again with.
    func abandon(_ row: Sandbox) async -> CreationFailure {
        counters.abandoned += 1
        _ = try? await whileAway { () throws(ControlPlaneError) in
            try await store.move(
                row.id, of: row.tenant, to: .stopping, why: .abandoned,
                from: [.booting, .running])
        }
        // Open still where it was held back.
        _ = try? await store.end(row.request, of: row.tenant, as: .cancelled)
        return .notTried(.cancelled, retryAfter: nil)
    }

    /// For the answer to go out first: nobody waits for the look.
    private static let lookDelay: Duration = .milliseconds(5)

    /// A look at one that is its caller's already: into its history and the log.
    private func look(at made: Made, _ order: CreationOrder) async {
        try? await loop.sleep(for: Self.lookDelay)
        let check = await checked(made, order, within: nil)
        // One that its tenant has ended or paused meanwhile does not answer, and is accused of nothing.
        if check.verdict == .zombie,
            (try? await store.sandbox(made.sandbox.id, of: order.tenant))?.state != .running
        {
            return
        }
        noteCheck(check, of: made, order)
        // What says nothing is no part of its story.
        guard check.verdict != .unknown else { return }
        _ = try? await checks(NotedCheck(made.sandbox.id, of: order.tenant, check))
    }

    private func checked(
        _ made: Made, _ order: CreationOrder, within limit: Duration?
    ) async -> HealthCheck {
        guard
            let place = DataPlaneAddress(
                made.answer, domain: made.sandbox.domain, at: order.target.endpoint)
        else {
            return HealthCheck(
                .unknown, "nothing says where its data plane is", tries: 0, took: .zero)
        }
        return await health.check(place, within: limit)
    }

    private func noteCheck(_ check: HealthCheck, of made: Made, _ order: CreationOrder) {
        tell(.healthChecked(HealthCheckEvent(check, of: made.sandbox, traceID: order.traceID)))
    }
}
