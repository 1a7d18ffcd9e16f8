import IO
import Postgres
import TestSupport

/// Runs `body` with a pipeline that is being run on `loop`, on a fresh database.
///
/// - Parameter ownSessions: never through a pooler.
func withPipeline<Answer: Sendable>(
    ownSessions: Bool = false,
    _ change: @Sendable (inout Pipeline.Settings) -> Void = { _ in },
    _ body: @Sendable (Pipeline, _ url: String) async throws -> Answer
) async throws -> Answer {
    try await TestDatabase.withDatabase(ownSessions: ownSessions) { url in
        var settings = Pipeline.Settings(url: url)
        settings.minBackoff = .milliseconds(10)
        settings.maxBackoff = .milliseconds(50)
        settings.ownsSession = ownSessions || !TestDatabase.isPooled
        change(&settings)
        return try await withLoop { loop in
            let pipeline = Pipeline(on: loop, settings)
            return try await running(pipeline) { try await body(pipeline, url) }
        }
    }
}

/// Runs `body` while the pipeline runs, and ends that afterwards.
func running<Answer: Sendable>(
    _ pipeline: Pipeline, _ body: () async throws -> Answer
) async throws -> Answer {
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask(executorPreference: pipeline.loop) { await pipeline.run() }
        let outcome: Result<Answer, any Error>
        do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
        group.cancelAll()
        try await group.waitForAll()
        return try outcome.get()
    }
}

extension Statement {
    static let selectOne = Statement("select_one", "SELECT 1::int8")
    static let echo = Statement("echo", "SELECT $1")
    static let sleep = Statement("sleep", "SELECT pg_sleep($1)::text")
    static let insert = Statement("insert_item", "INSERT INTO item VALUES ($1)")
    static let count = Statement("count_item", "SELECT count(*) FROM item")
}
