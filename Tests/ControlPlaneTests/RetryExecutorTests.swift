import ControlPlane
import IO
import Postgres
import Synchronization
import TestSupport
import Testing

/// A clock that jumps to the end of every sleep.
final class JumpingClock: RetryClock {
    private struct State {
        var now = MonotonicInstant(nanoseconds: 0)
        var sleeps: [Duration] = []
    }

    private let state = Mutex(State())

    var now: MonotonicInstant { state.withLock { $0.now } }
    var sleeps: [Duration] { state.withLock { $0.sleeps } }

    func pass(_ duration: Duration) {
        state.withLock { $0.now = $0.now.advanced(by: duration) }
    }

    func sleep(for duration: Duration) async throws(CancellationError) {
        if Task.isCancelled { throw CancellationError() }
        state.withLock {
            $0.sleeps.append(duration)
            $0.now = $0.now.advanced(by: duration)
        }
    }
}

private final class Told: Sendable {
    private let records = Mutex<[TryRecord]>([])
    var all: [TryRecord] { records.withLock { $0 } }
    func note(_ event: Event) {
        if case .tryFinished(_, let record) = event { records.withLock { $0.append(record) } }
    }
}

private func failure(_ status: Int) -> TryError {
    var facts = ErrorFacts()
    facts.status = status
    return .failed(facts)
}

extension RetryOutcome {
    fileprivate var failure: RetryFailure? {
        if case .failure(let failure) = result { failure } else { nil }
    }
}

private let subject = RetryExecutor.Subject(
    operation: "sandbox_create", tenant: .fleet, provider: "e2b")

@Suite struct `The retry executor` {
    private let clock = JumpingClock()
    private let told = Told()

    private func executor(
        _ settings: RetryPolicy.Settings = .original, budgets: RetryBudgetKeeper? = nil
    ) -> RetryExecutor {
        RetryExecutor(
            RetryPolicy(settings), clock: clock, budgets: budgets, random: { 0 },
            tell: { [told] in told.note($0) })
    }

    @Test(.proves("B1", "B3", "F8"))
    func `retries transient errors, 3 tries in all, with the original's delays`() async {
        let clock = clock
        let outcome = await executor().run(subject) { _ async throws(TryError) -> String in
            clock.pass(.milliseconds(250))
            throw failure(503)
        }
        #expect(clock.sleeps == [.seconds(1), .seconds(2)])
        #expect(outcome.tries.map(\.number) == [1, 2, 3])
        #expect(outcome.tries.allSatisfy { $0.duration == .milliseconds(250) })
        #expect(outcome.tries.map(\.kind) == [.unavailable, .unavailable, .unavailable])
        #expect(outcome.tries.map(\.wait) == [.seconds(1), .seconds(2), nil])
        #expect(told.all == outcome.tries)
        #expect(outcome.failure?.stop == .attempts)
        #expect(outcome.failure?.cause?.error.kind == .unavailable)
    }

    @Test(.proves("B1", "B3")) func `answers with the first success`() async throws {
        let outcome = await executor().run(subject) { attempt async throws(TryError) -> Int in
            if attempt.number < 2 { throw failure(502) }
            return attempt.number
        }
        #expect(try outcome.result.get() == 2)
        #expect(told.all.map(\.outcome) == [.failed, .succeeded])
    }

    @Test func `does not retry what is permanent`() async {
        let outcome = await executor().run(subject) { _ async throws(TryError) -> Int in
            throw failure(401)
        }
        #expect(outcome.tries.count == 1)
        #expect(clock.sleeps.isEmpty)
    }

    @Test func `takes the number of tries from the request`() async {
        let outcome = await executor().run(subject, maxAttempts: 5) {
            _ async throws(TryError) -> Int in throw failure(503)
        }
        #expect(clock.sleeps == [.seconds(1), .seconds(2), .seconds(4), .seconds(10)])
        #expect(outcome.tries.count == 5)
    }

    @Test(.proves("B2")) func `ends when a circuit breaker is open, without a try`() async {
        let outcome = await executor().run(subject) { attempt async throws(TryError) -> Int in
            if attempt.number == 1 { throw failure(503) }
            throw .refused(.breakerOpen, retryAfter: .seconds(45))
        }
        #expect(outcome.tries.count == 1)
        #expect(outcome.failure?.stop == .breakerOpen)
        #expect(outcome.failure?.retryAfter == .seconds(45))
    }

    @Test(.proves("B2")) func `ends when the budget is empty`() async throws {
        try await withLoop { loop in
            var settings = RetryBudget.Settings()
            settings.tenantFloor = 1
            settings.tenantPercent = 0
            let keeper = RetryBudgetKeeper(on: loop, settings)
            let outcome = await executor(budgets: keeper).run(subject) {
                _ async throws(TryError) -> Int in throw failure(503)
            }
            #expect(outcome.tries.count == 2)
            #expect(outcome.failure?.stop == .budget)
        }
    }

    @Test(.proves("B2")) func `does not sleep past the deadline`() async {
        let deadline = clock.now.advanced(by: .milliseconds(2500))
        let clock = clock
        // No real second passes here: with a deadline the try runs beside a sleep until then, which
        // this clock would jump over, so the policy alone is asked.
        var random = Fixed(bits: 0)
        let verdict = RetryPolicy(.original).verdict(
            on: classification(status: 503), attempt: 2,
            remaining: clock.now.duration(to: deadline) - .seconds(1), using: &random)
        #expect(verdict == .stop(.deadline, retryAfter: .seconds(2)))
    }

    @Test func `makes no try when the deadline has passed`() async {
        let deadline = clock.now
        let outcome = await executor().run(subject, deadline: deadline) {
            _ async throws(TryError) -> Int in 1
        }
        #expect(outcome.tries.isEmpty)
    }
}

@Suite struct `On a real loop the retry executor` {
    /// Runs tries that never end by themselves, or end badly after `each`.
    private func overrun(deadline: Duration, each: Duration?) async throws -> Duration {
        try await withLoop { loop in
            let clock = LoopClock(loop)
            var settings = RetryPolicy.Settings()
            settings.transient = [20]
            settings.minTry = .zero
            let executor = RetryExecutor(
                RetryPolicy(settings), clock: clock, tell: { _ in })
            return await withTaskGroup(of: Duration.self) { group in
                group.addTask(executorPreference: loop) {
                    let deadline = clock.now.advanced(by: deadline)
                    let outcome = await executor.run(subject, maxAttempts: 20, deadline: deadline) {
                        _ async throws(TryError) -> Int in
                        do throws(CancellationError) {
                            try await clock.sleep(for: each ?? .seconds(3600))
                        } catch {
                            throw .cancelled
                        }
                        throw failure(503)
                    }
                    let stop = outcome.failure?.stop
                    #expect(stop == .deadline || stop == .attempts)
                    return deadline.duration(to: clock.now)
                }
                return await group.next() ?? .zero
            }
        }
    }

    @Test(.proves("B2"), arguments: [Duration?.none, .milliseconds(7), .milliseconds(30)])
    func `never overruns the deadline by more than 50 ms`(each: Duration?) async throws {
        for deadline in [40, 150] {
            let over = try await overrun(deadline: .milliseconds(deadline), each: each)
            #expect(over <= .milliseconds(50), "\(over)")
        }
    }

    @Test(.proves("B2"))
    func `tells a try that the deadline cut off as one that may have happened`()
        async throws
    {
        try await withLoop { loop in
            let clock = LoopClock(loop)
            let executor = RetryExecutor(RetryPolicy(), clock: clock, tell: { _ in })
            await withTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: loop) {
                    let outcome = await executor.run(
                        subject, deadline: clock.now.advanced(by: .milliseconds(20))
                    ) { _ async throws(TryError) -> Int in
                        try? await clock.sleep(for: .seconds(3600))
                        throw .cancelled
                    }
                    #expect(outcome.failure?.stop == .deadline)
                    #expect(outcome.failure?.cause?.error.kind == .timeout)
                    #expect(outcome.failure?.cause?.error.mayHaveBeenApplied == true)
                }
            }
        }
    }

    @Test func `keeps a value that came although the deadline had passed`() async throws {
        try await withLoop { loop in
            let clock = LoopClock(loop)
            let executor = RetryExecutor(RetryPolicy(), clock: clock, tell: { _ in })
            await withTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: loop) {
                    let outcome = await executor.run(
                        subject, deadline: clock.now.advanced(by: .milliseconds(20))
                    ) { _ async throws(TryError) -> String in
                        try? await clock.sleep(for: .seconds(3600))
                        return "a paid sandbox"
                    }
                    #expect((try? outcome.result.get()) == "a paid sandbox")
                }
            }
        }
    }

    @Test func `stops when its caller gives up`() async throws {
        try await withLoop { loop in
            let clock = LoopClock(loop)
            let executor = RetryExecutor(RetryPolicy(), clock: clock, tell: { _ in })
            // All on the loop: the shared pool may be busy for longer than all waits together.
            let calls = Task(executorPreference: loop) {
                await withTaskGroup(of: RetryPolicy.Stop?.self) { group in
                    group.addTask(executorPreference: loop) {
                        let outcome = await executor.run(subject) {
                            _ async throws(TryError) -> Int in throw failure(503)
                        }
                        return outcome.failure?.stop
                    }
                    try? await clock.sleep(for: .milliseconds(20))
                    group.cancelAll()
                    return await group.next() ?? nil
                }
            }
            #expect(await calls.value == .cancelled)
        }
    }
}
