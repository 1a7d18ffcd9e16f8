import IO
import Postgres
import TestSupport
import Testing

@Suite(.proves("H4")) struct `A pipeline` {
    private static let item = Statement(
        "", "CREATE TABLE item (id int8 PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")

    @Test func `answers each call with its own rows`() async throws {
        try await withPipeline { pipeline, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<500 {
                    group.addTask {
                        let rows = try await pipeline.execute(.echo, [.int8(Int64(number))])
                        #expect(try rows.only().int(0) == number)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func `runs calls in the order they came`() async throws {
        try await withPipeline { pipeline, _ in
            let log = Statement("log", "INSERT INTO log (value) VALUES ($1)")
            _ = try await pipeline.execute(
                Statement("", "CREATE TABLE log (at serial, value int8)"))
            let caller = Caller(loop: pipeline.loop, pipeline: pipeline)
            try await caller.callAll((0..<100).map { (log, [.int8($0)]) })
            let rows = try await pipeline.execute(
                Statement("", "SELECT array_agg(value ORDER BY at) FROM log"))
            #expect(try rows.only().int64s(0) == Array(0..<100))
        }
    }

    @Test func `keeps a failure from its neighbours`() async throws {
        try await withPipeline { pipeline, _ in
            let divide = Statement("divide", "SELECT 100 / $1")
            await withTaskGroup(of: (Int, Result<Int, PostgresError>).self) { group in
                for number in 0..<100 {
                    group.addTask {
                        do throws(PostgresError) {
                            let rows = try await pipeline.execute(
                                divide, [.int8(number % 3 == 0 ? 0 : Int64(number))])
                            return (number, .success(try rows.only().int(0)))
                        } catch {
                            return (number, .failure(error))
                        }
                    }
                }
                for await (number, outcome) in group {
                    if number % 3 == 0 {
                        #expect(
                            outcome == .failure(.other("22012", message: "division by zero")))
                    } else {
                        #expect(outcome == .success(100 / number))
                    }
                }
            }
        }
    }

    @Test func `sees a commit that fails`() async throws {
        try await withPipeline { pipeline, _ in
            _ = try await pipeline.execute(Self.item)
            _ = try await pipeline.execute(.insert, [.int8(1)])
            // The row comes back without complaint; the deferred constraint speaks at the Sync.
            let returning = Statement("insert_back", "INSERT INTO item VALUES ($1) RETURNING id")
            await #expect(throws: PostgresError.uniqueViolation(constraint: "item_pkey")) {
                try await pipeline.execute(returning, [.int8(1)])
            }
            await #expect(throws: PostgresError.uniqueViolation(constraint: "item_pkey")) {
                try await pipeline.transaction([
                    (.insert, [.int8(2)]), (.insert, [.int8(1)]),
                ])
            }
            #expect(try await pipeline.execute(.count).only().int(0) == 1)
        }
    }

    @Test func `sends rows larger than the socket holds`() async throws {
        try await withPipeline { pipeline, _ in
            let text = String(repeating: "x", count: 3 << 20)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let rows = try await pipeline.execute(.echo, [.text(text)])
                        #expect(try rows.only().text(0) == text)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func `sets its session up`() async throws {
        try await withPipeline(ownSessions: true) { settings in
            settings.conninfo = Conninfo(url: settings.conninfo.url, instance: "seven")
            settings.statementTimeout = .milliseconds(1_234)
            settings.planCacheMode = "force_generic_plan"
            settings.role = "pg_monitor"
        } _: { pipeline, _ in
            let show = Statement(
                "show",
                """
                SELECT current_setting('application_name'), current_setting('statement_timeout'),
                       current_setting('plan_cache_mode'), current_user::text,
                       current_setting('synchronous_commit'), current_setting('lock_timeout')
                """)
            let row = try await pipeline.execute(show).only()
            #expect(
                try (0..<6).map { try row.text(.index($0)) } == [
                    "breakwater/seven", "1234ms", "force_generic_plan", "pg_monitor", "on", "2s",
                ])
        }
    }

    @Test func `refuses calls past its limit`() async throws {
        try await withPipeline {
            $0.maxQueued = 2
        } _: { pipeline, _ in
            _ = try await pipeline.execute(.selectOne)
            let caller = Caller(loop: pipeline.loop, pipeline: pipeline)
            let outcomes = await caller.outcomes(
                Array(repeating: (.sleep, [.double(0.05)]), count: 5))
            #expect(outcomes.map(\.isOverloaded) == [false, false, true, true, true])
            _ = try await pipeline.execute(.selectOne)
        }
    }

    @Test func `prepares a statement once, and again when its table changed`() async throws {
        try await withPipeline(ownSessions: true) { pipeline, url in
            let session = try Session(Conninfo(url: url))
            try session.run("CREATE TABLE shape AS SELECT 1::int4 AS a")
            let star = Statement("star", "SELECT * FROM shape")
            let prepared = Statement(
                "", "SELECT count(*) FROM pg_prepared_statements WHERE name = 'star'")
            for _ in 0..<3 { #expect(try await pipeline.execute(star).only().int(0) == 1) }
            #expect(try await pipeline.execute(prepared).only().int(0) == 1)
            try session.run("ALTER TABLE shape ALTER a TYPE text USING 'now a text'")
            #expect(try await pipeline.execute(star).only().text(0) == "now a text")
            try session.run("ALTER TABLE shape ADD b int4")
            let rows = try await pipeline.transaction([(star, []), (.selectOne, []), (star, [])])
            #expect(rows.count == 3)
            #expect(try rows[2].only().text("a") == "now a text")
            #expect(try await pipeline.execute(prepared).only().int(0) == 1)
        }
    }

    @Test func `prepares again what the session has forgotten`() async throws {
        try await withPipeline(ownSessions: true) { pipeline, _ in
            _ = try await pipeline.execute(.selectOne)
            _ = try await pipeline.execute(Statement("", "DEALLOCATE ALL"))
            #expect(try await pipeline.execute(.selectOne).only().int(0) == 1)
        }
    }

    @Test func `says what is wrong with a statement, each time`() async throws {
        try await withPipeline { pipeline, _ in
            let wrong = Statement("wrong", "SELECT * FROM nowhere")
            for _ in 0..<3 {
                await #expect(
                    throws: PostgresError.other(
                        "42P01", message: "relation \"nowhere\" does not exist")
                ) { try await pipeline.execute(wrong) }
            }
            _ = try await pipeline.execute(.selectOne)
        }
    }

    @Test func `works without named statements and session settings`() async throws {
        try await withPipeline {
            $0.ownsSession = false
        } _: { pipeline, _ in
            #expect(try await pipeline.execute(.echo, [.text("a")]).only().text(0) == "a")
            let rows = try await pipeline.transaction([(.selectOne, []), (.selectOne, [])])
            #expect(rows.count == 2)
            let prepared = Statement("", "SELECT count(*) FROM pg_prepared_statements")
            #expect(try await pipeline.execute(prepared).only().int(0) == 0)
        }
    }
}

/// Calls from the pipeline's own loop, all in one turn.
actor Caller: LoopBound {
    nonisolated let loop: EventLoop
    private let pipeline: Pipeline

    init(loop: EventLoop, pipeline: Pipeline) {
        self.loop = loop
        self.pipeline = pipeline
    }

    func outcomes(_ steps: [Pipeline.Step]) async -> [Result<Rows, PostgresError>] {
        await withTaskGroup(of: (Int, Result<Rows, PostgresError>).self) { group in
            for (index, step) in steps.enumerated() {
                group.addTask(executorPreference: loop) { [pipeline] in
                    do throws(PostgresError) {
                        return (
                            index,
                            .success(
                                try await pipeline.execute(step.statement, step.parameters))
                        )
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            var outcomes: [Result<Rows, PostgresError>?] = Array(repeating: nil, count: steps.count)
            for await (index, outcome) in group { outcomes[index] = outcome }
            return outcomes.compactMap { $0 }
        }
    }

    func callAll(_ steps: [Pipeline.Step]) async throws {
        for outcome in await outcomes(steps) { _ = try outcome.get() }
    }
}

extension Result where Failure == PostgresError {
    var failure: PostgresError? {
        if case .failure(let error) = self { error } else { nil }
    }

    var isOverloaded: Bool { failure == .overloaded }
}
