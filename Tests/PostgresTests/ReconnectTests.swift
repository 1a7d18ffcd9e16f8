import Glibc
import IO
import Postgres
import Synchronization
import TestSupport
import Testing

@Suite(.proves("H4", "H5")) struct `A pipeline that loses its connection` {
    private static let pid = Statement("pid", "SELECT pg_backend_pid()")

    @Test func `tells those whose answer was due, and serves the next`() async throws {
        try await withPipeline(ownSessions: true) { pipeline, url in
            let pid = try await pipeline.execute(Self.pid).only().int32(0)
            let caller = Caller(loop: pipeline.loop, pipeline: pipeline)
            async let outcomes = caller.outcomes([
                (.sleep, [.double(30)]), (.selectOne, []), (.selectOne, []),
            ])
            try await terminate(pid, url, once: "pg_sleep")
            for outcome in await outcomes {
                #expect(outcome.failure == .connectionLost(.unknown))
                #expect(outcome.failure?.mayHaveHappened == true)
            }
            let other = try await pipeline.execute(Self.pid).only().int32(0)
            #expect(other != pid)
        }
    }

    @Test func `tells its readiness as it changes`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            try await withLoop { loop in
                let changes = Changes()
                let pipeline = Pipeline(on: loop, Pipeline.Settings(url: url)) { isReady in
                    changes.list.withLock { $0.append(isReady) }
                }
                try await running(pipeline) {
                    let pid = try await pipeline.execute(Self.pid).only().int32(0)
                    #expect(await pipeline.isReady)
                    try Session(Conninfo(url: url)).execute(
                        "SELECT pg_terminate_backend($1)", .int4(pid))
                    while changes.list.withLock({ $0.count }) < 3 { try await pause() }
                    _ = try await pipeline.execute(.selectOne)
                }
                #expect(changes.list.withLock { $0 } == [true, false, true, false])
            }
        }
    }

    @Test func `says that an unfinished transaction was not applied`() async throws {
        try await withPipeline(ownSessions: true) { pipeline, url in
            let session = try Session(Conninfo(url: url))
            try session.run("CREATE TABLE item (id int8)")
            await #expect(throws: PostgresError.connectionLost(.notApplied)) {
                try await pipeline.withTransaction { transaction throws(PostgresError) in
                    let pid = try await transaction.execute(Self.pid).only().int32(0)
                    _ = try await transaction.execute(.insert, [.int8(1)])
                    try session.execute("SELECT pg_terminate_backend($1)", .int4(pid))
                    // Whatever this one sees, the one after knows that its connection is gone.
                    while (try? await transaction.execute(.selectOne)) != nil {}
                    _ = try await transaction.execute(.selectOne)
                }
            }
            let count = try await pipeline.execute(.count).only().int(0)
            #expect(count == 0)
        }
    }

    @Test func `gives up a connection that does not answer in time`() async throws {
        try await withPipeline(ownSessions: true) {
            $0.deadline = .milliseconds(100)
        } _: { pipeline, _ in
            let caller = Caller(loop: pipeline.loop, pipeline: pipeline)
            let outcomes = await caller.outcomes([(.sleep, [.double(3)]), (.selectOne, [])])
            #expect(
                outcomes.map(\.failure) == [
                    .connectionLost(.unknown), .connectionLost(.unknown),
                ])
            _ = try await pipeline.execute(.selectOne)
        }
    }

    @Test func `drops a server that only reads`() async throws {
        try await withPipeline(ownSessions: true) { pipeline, url in
            let session = try Session(Conninfo(url: url))
            try session.run("CREATE TABLE item (id int8)")
            let readOnly = Statement("", "SET default_transaction_read_only = on")
            _ = try await pipeline.execute(readOnly)
            await #expect(throws: PostgresError.readOnly) {
                try await pipeline.execute(.insert, [.int8(1)])
            }
            _ = try await pipeline.execute(.insert, [.int8(1)])
        }
    }

    @Test func `fails calls at once when no server has been there for a while`() async throws {
        try await withLoop { loop in
            var settings = Pipeline.Settings(url: "postgresql:///x?host=/nonexistent")
            settings.connectWait = .seconds(2)
            let pipeline = Pipeline(on: loop, settings)
            try await running(pipeline) {
                let start = MonotonicInstant.now
                let first = await #expect(throws: PostgresError.self) {
                    try await pipeline.execute(.selectOne)
                }
                let waited = start.duration(to: .now)
                #expect(waited > .milliseconds(1900))
                guard case .unavailable(let reason) = first else {
                    Issue.record("\(String(describing: first))")
                    return
                }
                #expect(reason.contains("/nonexistent"))
                let again = MonotonicInstant.now
                await #expect(throws: PostgresError.self) {
                    try await pipeline.execute(.selectOne)
                }
                #expect(again.duration(to: .now) < .milliseconds(1500))
            }
        }
    }

    @Test func `answers what it has before it closes`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            try await withLoop { loop in
                let pipeline = Pipeline(on: loop, Pipeline.Settings(url: url))
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask(executorPreference: loop) { await pipeline.run() }
                    _ = try await pipeline.execute(.selectOne)
                    let caller = Caller(loop: loop, pipeline: pipeline)
                    let before = await pipeline.sent
                    async let outcomes = caller.outcomes(
                        Array(repeating: (.sleep, [.double(0.5)]), count: 5))
                    // Not until five wait: on a busy machine the first has its answer by then.
                    while await pipeline.sent < before + 5 { try await pause() }
                    await pipeline.close()
                    await #expect(throws: PostgresError.unavailable("closing")) {
                        try await pipeline.execute(.selectOne)
                    }
                    #expect(await outcomes.allSatisfy { $0.failure == nil })
                    // `run` returns by itself.
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test(arguments: [true, false])
    func `closes though it never had one`(byCancelling: Bool) async throws {
        try await withLoop { loop in
            let pipeline = Pipeline(
                on: loop, Pipeline.Settings(url: "postgresql:///x?host=/nonexistent"))
            await withTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: loop) { await pipeline.run() }
                if byCancelling { group.cancelAll() } else { await pipeline.close() }
                await group.waitForAll()
            }
        }
    }

    /// Ends the backend once it runs a statement that has `text` in it.
    private func terminate(_ pid: Int32, _ url: String, once text: String) async throws {
        let session = try Session(Conninfo(url: url))
        while true {
            let rows = try session.execute(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE  pid = $1 AND state = 'active' AND query LIKE '%' || $2 || '%'
                """, .int4(pid), .text(text))
            if rows.count > 0 { return }
            try await pause()
        }
    }

    private func pause() async throws { try await Task.sleep(for: .milliseconds(2)) }
}

private final class Changes: Sendable {
    let list = Mutex<[Bool]>([])
}
