internal import IO
internal import Postgres

/// What became of a permitted call, and what to do next.
extension Attempts {
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
    func told(
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

    func told(_ note: TryNote) {
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
