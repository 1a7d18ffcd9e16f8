import ControlPlane
import IO
import Postgres
import TestSupport
import Testing

/// `breaker(retry(create))`, as the original has it: all of it by settings, under a clock that jumps.
@Suite struct `The original as a whole, by settings alone` {
    private let clock = JumpingClock()

    private struct Operations {
        var bench = BreakerBench()
        let clock: JumpingClock
        let executor: RetryExecutor
        let counted: Set<ErrorKind>
        var tries = 0
        var waits: [Int64] = []

        /// One operation with its retries, one outcome; nil: the breaker refused it.
        mutating func run(_ status: Int) async -> BreakerMachine.State? {
            bench.now = Timestamp(microseconds: clock.now.nanoseconds / 1000)
            var token: UUID?
            switch bench.admission() {
            case .refused: return nil
            case .admitted: break
            case .due:
                token = bench.probe()
                if token == nil { return nil }
            }
            let generation = bench.machine.generation
            let slept = clock.sleeps.count
            let outcome = await executor.run(
                .init(operation: "sandbox_create", tenant: .fleet, provider: "e2b")
            ) { _ async throws(TryError) -> Int in
                guard status != 201 else { return status }
                var facts = ErrorFacts()
                facts.status = status
                throw .failed(facts)
            }
            tries += outcome.tries.count
            waits = clock.sleeps.dropFirst(slept).map(\.milliseconds)
            bench.now = Timestamp(microseconds: clock.now.nanoseconds / 1000)
            var isFailure = false
            if case .failure(let failure) = outcome.result, let kind = failure.cause?.error.kind {
                isFailure = counted.contains(kind)
            }
            if let token {
                bench.settle(token, isFailure ? .failed : .succeeded)
            } else {
                bench.report(failed: isFailure, generation: generation)
            }
            return bench.machine.state
        }
    }

    private func operations(counting kinds: Set<ErrorKind>) -> Operations {
        Operations(
            clock: clock,
            executor: RetryExecutor(
                RetryPolicy(.original), clock: clock, random: { 0 }, tell: { _ in }),
            counted: kinds)
    }

    @Test(.proves("B1", "C1", "C2", "C3", "F8"))
    func `opens after five failed operations and tests after a minute`() async {
        var original = operations(counting: Set(ErrorKind.allCases))
        for number in 1...5 {
            #expect(await original.run(503) == (number < 5 ? .closed : .open))
            #expect(original.waits == [1000, 2000])
        }
        // Fifteen tries, five failures.
        #expect(original.tries == 15)
        #expect(await original.run(201) == nil)
        #expect(original.tries == 15)
        let key = BreakerKey(.fleet, provider: "e2b", region: "default", .create)
        guard case .refused(let wait) = original.bench.admission() else {
            Issue.record("it let the sixth through")
            return
        }
        #expect(
            BreakerRefusal(key: key, retryAfter: wait).message
                == "Circuit breaker is OPEN - E2B service unavailable. Retry in 60s.")
        clock.pass(.milliseconds(59_999))
        #expect(await original.run(201) == nil)
        clock.pass(.milliseconds(1))
        #expect(await original.run(201) == .closed)
        #expect(original.tries == 16)
    }

    @Test(.proves("C5"), arguments: [true, false])
    func `counts a permanent error only where all kinds count`(all: Bool) async {
        let kinds = ErrorKind.allCases.filter { all || $0.traits.countsForBreaker }
        for status in [401, 404, 429] {
            var original = operations(counting: Set(kinds))
            for _ in 0..<5 { _ = await original.run(status) }
            #expect(original.bench.machine.state == (all ? .open : .closed), "\(status)")
        }
    }
}
