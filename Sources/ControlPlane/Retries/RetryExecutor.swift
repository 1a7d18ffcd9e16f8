package import IO

/// Tries a call until it succeeds, the policy says stop, or the deadline is there.
///
/// It knows no provider and no breaker: those throw `TryError`. Each try is told as an event.
package struct RetryExecutor: Sendable {
    /// Which call this is, for the budget and the events.
    package struct Subject: Hashable, Sendable {
        package let operation: String
        package let tenant: Tenant.ID
        package let provider: String

        package init(operation: String, tenant: Tenant.ID, provider: String) {
            self.operation = operation
            self.tenant = tenant
            self.provider = provider
        }
    }

    package let policy: RetryPolicy
    package let classifier: Classifier
    private let clock: any RetryClock
    private let budgets: RetryBudgetKeeper?
    private let random: @Sendable () -> UInt64
    private let tell: Tell

    /// - Parameters:
    ///   - budgets: none: retries cost nothing.
    ///   - random: 64 random bits a call, for the jitter.
    package init(
        _ policy: RetryPolicy, classifier: Classifier = Classifier(), clock: any RetryClock,
        budgets: RetryBudgetKeeper? = nil,
        random: @escaping @Sendable () -> UInt64 = { UInt64.random(in: 0...UInt64.max) },
        tell: @escaping Tell
    ) {
        self.policy = policy
        self.classifier = classifier
        self.clock = clock
        self.budgets = budgets
        self.random = random
        self.tell = tell
    }

    /// - Parameters:
    ///   - maxAttempts: of the request, if it names any.
    ///   - deadline: when all must be over; the try that is out then is cancelled, and is expected to
    ///     end at once. If it ends with a value all the same, that is the answer: it may be paid for.
    ///   - attempt: makes one try.
    package func run<Value: Sendable>(
        _ subject: Subject, maxAttempts: Int? = nil, deadline: MonotonicInstant? = nil,
        _ attempt: @escaping @Sendable (Attempt) async throws(TryError) -> Value
    ) async -> RetryOutcome<Value> {
        var tries: [TryRecord] = []
        await budgets?.noteFirstTry(of: subject.tenant, at: subject.provider, now: clock.now)
        var number = 1
        var last: RetryFailure.Cause?
        while true {
            let start = clock.now
            if let deadline, start >= deadline { return failed(nil, .deadline, nil, tries) }
            let ended = await one(Attempt(number: number, deadline: deadline), attempt)
            let took = start.duration(to: clock.now)
            switch ended {
            case .success(let value):
                note(.succeeded, nil, number, took, nil, subject, &tries)
                return RetryOutcome(result: .success(value), tries: tries)
            case .failure(.refused(let stop, let retryAfter)):
                return failed(last, stop, retryAfter, tries)
            case .failure(.cancelled):
                note(.cancelled, nil, number, took, nil, subject, &tries)
                return failed(nil, .cancelled, nil, tries)
            case .failure(.failed(let facts)):
                let error = classifier.classify(facts)
                let cause = RetryFailure.Cause(facts: facts, error: error)
                last = cause
                var verdict = verdict(on: error, number, maxAttempts, deadline)
                if case .retry(let wait) = verdict, !(await pay(subject)) {
                    verdict = .stop(.budget, retryAfter: wait)
                }
                switch verdict {
                case .stop(let stop, let retryAfter):
                    note(.failed, error, number, took, nil, subject, &tries)
                    return failed(cause, stop, retryAfter, tries)
                case .retry(let wait):
                    note(.failed, error, number, took, wait, subject, &tries)
                    do throws(CancellationError) {
                        try await clock.sleep(for: wait)
                    } catch {
                        await budgets?.giveBack(for: subject.tenant, at: subject.provider)
                        return failed(cause, .cancelled, nil, tries)
                    }
                    number += 1
                }
            }
        }
    }

    /// One try, cancelled at the deadline.
    private func one<Value: Sendable>(
        _ attempt: Attempt,
        _ body: @escaping @Sendable (Attempt) async throws(TryError) -> Value
    ) async -> Result<Value, TryError> {
        guard let deadline = attempt.deadline else { return await Self.outcome(attempt, body) }
        let clock = clock
        return await withTaskGroup(of: Result<Value, TryError>?.self) { group in
            group.addTask { await Self.outcome(attempt, body) }
            group.addTask {
                try? await clock.sleep(for: max(clock.now.duration(to: deadline), .zero))
                return nil
            }
            var isOver = false
            var ended: Result<Value, TryError>?
            for await end in group {
                if let end { ended = end } else if ended == nil { isOver = true }
                group.cancelAll()
            }
            // What the deadline cut off was no wish of the caller's.
            if isOver, case .failure(.cancelled)? = ended, !Task.isCancelled {
                return .failure(.failed(.cutOff))
            }
            return ended ?? .failure(.cancelled)
        }
    }

    private static func outcome<Value: Sendable>(
        _ attempt: Attempt, _ body: @Sendable (Attempt) async throws(TryError) -> Value
    ) async -> Result<Value, TryError> {
        do throws(TryError) {
            return .success(try await body(attempt))
        } catch {
            return .failure(error)
        }
    }

    private func verdict(
        on error: Classification, _ number: Int, _ maxAttempts: Int?, _ deadline: MonotonicInstant?
    ) -> RetryPolicy.Verdict {
        var generator = Draws(draw: random)
        return policy.verdict(
            on: error, attempt: number, maxAttempts: maxAttempts,
            remaining: deadline.map { clock.now.duration(to: $0) }, using: &generator)
    }

    private func pay(_ subject: Subject) async -> Bool {
        guard let budgets else { return true }
        return await budgets.take(for: subject.tenant, at: subject.provider, now: clock.now)
    }

    private func note(
        _ outcome: TryRecord.Outcome, _ error: Classification?, _ number: Int, _ took: Duration,
        _ wait: Duration?, _ subject: Subject, _ tries: inout [TryRecord]
    ) {
        let record = TryRecord(
            number: number, duration: took, outcome: outcome, kind: error?.kind, wait: wait)
        tries.append(record)
        tell(.tryFinished(subject, record))
    }

    private func failed<Value>(
        _ cause: RetryFailure.Cause?, _ stop: RetryPolicy.Stop, _ retryAfter: Duration?,
        _ tries: [TryRecord]
    ) -> RetryOutcome<Value> {
        RetryOutcome(
            result: .failure(RetryFailure(cause: cause, stop: stop, retryAfter: retryAfter)),
            tries: tries)
    }
}

/// Random bits as a generator.
private struct Draws: RandomNumberGenerator {
    let draw: @Sendable () -> UInt64
    func next() -> UInt64 { draw() }
}

extension ErrorFacts {
    /// A try that our own deadline cut off: the provider may have got it.
    fileprivate static var cutOff: ErrorFacts {
        var facts = ErrorFacts()
        facts.exception = "deadlineExceeded"
        facts.phase = .sent
        facts.message = "no answer before the deadline"
        return facts
    }
}
