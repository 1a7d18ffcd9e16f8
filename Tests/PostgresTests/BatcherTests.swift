import IO
import Postgres
import Synchronization
import TestSupport
import Testing

@Suite(.proves("E1")) struct `A batcher` {
    private typealias Doubler = Batcher<Int, Int>

    /// Runs `body` with a batcher and the batches that it has sent.
    private func withBatcher(
        maxBatch: Int = 1_000, maxQueued: Int = 1_000, maxInFlight: Int = 1,
        linger: Duration = .zero,
        perform: @escaping @Sendable ([Int]) async -> [Result<Int, PostgresError>] = { calls in
            calls.map { .success($0 * 2) }
        },
        _ body: @Sendable (Doubler, Batches) async throws -> Void
    ) async throws {
        try await withLoop { loop in
            let batches = Batches()
            let batcher = Doubler(
                on: loop, maxBatch: maxBatch, maxQueued: maxQueued, maxInFlight: maxInFlight,
                linger: linger
            ) { calls in
                batches.list.withLock { $0.append(calls) }
                return await perform(calls)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: loop) { await batcher.run() }
                try await body(batcher, batches)
                group.cancelAll()
            }
        }
    }

    /// Calls from tasks of the batcher's loop, started in order.
    private func outcomes(
        _ batcher: Doubler, _ calls: some Sequence<Int>
    ) async -> [Result<Int, PostgresError>] {
        await Crowd(loop: batcher.loop).outcomes(Array(calls), batcher)
    }

    @Test func `sends a lone call at once, by itself`() async throws {
        try await withBatcher { batcher, batches in
            for number in 0..<3 {
                let answer = try await batcher(number)
                #expect(answer == number * 2)
            }
            #expect(batches.list.withLock { $0 } == [[0], [1], [2]])
        }
    }

    @Test func `puts the calls of one turn together, in order`() async throws {
        try await withBatcher { batcher, batches in
            let answers = await outcomes(batcher, 0..<100)
            #expect(answers == (0..<100).map { .success($0 * 2) })
            #expect(batches.list.withLock { $0 } == [Array(0..<100)])
            let statistics = await batcher.statistics
            #expect(statistics.batches == 1 && statistics.calls == 100)
            #expect(statistics.largest == 100 && statistics.refused == 0)
        }
    }

    @Test func `forms the next batch of what arrives while one is out`() async throws {
        let gate = Gate()
        try await withBatcher { calls in
            if calls.first == 0 { await gate.pass() }
            return calls.map { .success($0 * 2) }
        } _: { batcher, batches in
            async let first = outcomes(batcher, 0..<1)
            while batches.list.withLock({ $0.isEmpty }) { await Task.yield() }
            async let others = outcomes(batcher, 1..<50)
            while await batcher.queued < 49 { await Task.yield() }
            #expect(batches.list.withLock { $0 } == [[0]])
            await gate.open()
            _ = await (first, others)
            #expect(batches.list.withLock { $0 } == [[0], Array(1..<50)])
        }
    }

    @Test func `has calls linger where it may, and none longer than that`() async throws {
        try await withBatcher(linger: .seconds(2)) { batcher, batches in
            let start = MonotonicInstant.now
            async let first = outcomes(batcher, 0..<1)
            while await batcher.queued + batcher.statistics.calls < 1 { await Task.yield() }
            #expect(await !batcher.isIdle)
            let others = await outcomes(batcher, 1..<3)
            let took = start.duration(to: .now)
            #expect(await first + others == (0..<3).map { .success($0 * 2) })
            #expect(batches.list.withLock { $0 } == [[0, 1, 2]])
            #expect(took >= .seconds(2) && took < .seconds(30), "\(took)")
            #expect(await batcher.isIdle)
        }
        // A batcher that ends meanwhile leaves nobody waiting.
        try await withLoop { loop in
            let batcher = Doubler(on: loop, linger: .seconds(60)) { calls in
                calls.map { .success($0) }
            }
            let start = MonotonicInstant.now
            await withTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: loop) { await batcher.run() }
                async let answers = outcomes(batcher, 0..<1)
                while await batcher.queued < 1 { await Task.yield() }
                group.cancelAll()
                #expect(await answers == [.failure(.unavailable("cancelled"))])
            }
            #expect(start.duration(to: .now) < .seconds(30))
        }
    }

    @Test func `sends no more at a time than it may`() async throws {
        try await withBatcher(maxBatch: 30) { batcher, batches in
            let answers = await outcomes(batcher, 0..<100)
            #expect(answers == (0..<100).map { .success($0 * 2) })
            #expect(batches.list.withLock { $0.map(\.count) } == [30, 30, 30, 10])
        }
    }

    @Test func `refuses calls past its limit and goes on with the rest`() async throws {
        try await withBatcher(maxQueued: 10) { batcher, _ in
            let answers = await outcomes(batcher, 0..<25)
            #expect(answers[..<10].map { try? $0.get() } == (0..<10).map { $0 * 2 })
            #expect(answers[10...].allSatisfy { $0 == .failure(.overloaded) })
            #expect(await batcher.statistics.refused == 15)
            let answer = try await batcher(7)
            #expect(answer == 14)
        }
    }

    @Test func `hands each caller its own failure`() async throws {
        try await withBatcher { calls in
            calls.map {
                $0 % 2 == 0 ? .success($0) : .failure(.checkViolation(constraint: "\($0)"))
            }
        } _: { batcher, _ in
            let answers = await outcomes(batcher, 0..<4)
            #expect(
                answers == [
                    .success(0), .failure(.checkViolation(constraint: "1")), .success(2),
                    .failure(.checkViolation(constraint: "3")),
                ])
        }
    }

    @Test func `leaves nobody waiting when answers are missing`() async throws {
        try await withBatcher { calls in
            [.success(calls[0])]
        } _: { batcher, _ in
            let answers = await outcomes(batcher, 0..<3)
            #expect(answers[0] == .success(0))
            #expect(answers[1...].allSatisfy { $0 == .failure(.decode("1 answers to a batch")) })
        }
    }

    @Test func `keeps as many batches out as it may`() async throws {
        let gate = Gate()
        try await withBatcher(maxBatch: 1, maxInFlight: 3) { calls in
            await gate.pass()
            return calls.map { .success($0 * 2) }
        } _: { batcher, batches in
            async let answers = outcomes(batcher, 0..<5)
            while batches.list.withLock({ $0.count }) < 3 { await Task.yield() }
            #expect(await batcher.queued == 2)
            await gate.open()
            #expect(await answers == (0..<5).map { .success($0 * 2) })
        }
    }

    @Test func `answers what it has before it closes`() async throws {
        try await withLoop { loop in
            let gate = Gate()
            let batcher = Doubler(on: loop) { calls in
                await gate.pass()
                return calls.map { .success($0 * 2) }
            }
            await withTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: loop) { await batcher.run() }
                async let answers = outcomes(batcher, 0..<5)
                while await batcher.statistics.calls + batcher.queued < 5 { await Task.yield() }
                await batcher.close()
                await #expect(throws: PostgresError.unavailable("closing")) { try await batcher(9) }
                await gate.open()
                #expect(await answers == (0..<5).map { .success($0 * 2) })
                await group.waitForAll()
            }
        }
    }

    @Test func `does not wake its loop from outside`() async throws {
        try await withPipeline { pipeline, _ in
            let loop = pipeline.loop
            let sum = Statement("sum", "SELECT x * 2 FROM unnest($1::int8[]) AS x")
            let batcher = Doubler(on: loop) { calls in
                do throws(PostgresError) {
                    let rows = try await pipeline.execute(sum, [.int8s(calls.map { Int64($0) })])
                    return try rows.map { row throws(PostgresError) in .success(try row.int(0)) }
                } catch {
                    return calls.map { _ in .failure(error) }
                }
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: loop) { await batcher.run() }
                _ = try await batcher(1)
                let before = loop.foreignWakeups
                let crowd = Crowd(loop: loop)
                try await crowd.callRepeatedly(batcher, tasks: 50, times: 20)
                // To the loop and back, whatever the number of calls.
                #expect(loop.foreignWakeups - before <= 4)
                #expect(await batcher.statistics.calls == 1_001)
                group.cancelAll()
            }
        }
    }
}

private final class Batches: Sendable {
    let list = Mutex<[[Int]]>([])
}

/// Callers on a loop.
private actor Crowd: LoopBound {
    nonisolated let loop: EventLoop

    init(loop: EventLoop) { self.loop = loop }

    func outcomes(
        _ calls: [Int], _ batcher: Batcher<Int, Int>
    ) async -> [Result<Int, PostgresError>] {
        await withTaskGroup(of: (Int, Result<Int, PostgresError>).self) { group in
            for (index, call) in calls.enumerated() {
                group.addTask(executorPreference: loop) {
                    do throws(PostgresError) {
                        return (index, .success(try await batcher(call)))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            var outcomes: [Int: Result<Int, PostgresError>] = [:]
            for await (index, outcome) in group { outcomes[index] = outcome }
            return calls.indices.compactMap { outcomes[$0] }
        }
    }

    func callRepeatedly(_ batcher: Batcher<Int, Int>, tasks: Int, times: Int) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<tasks {
                group.addTask(executorPreference: loop) {
                    for time in 0..<times {
                        let answer = try await batcher(task * time)
                        #expect(answer == task * time * 2)
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
