extension Pipeline {
    /// A transaction whose next step depends on the rows of the last. It has the whole connection,
    /// and all other calls wait for its end: keep it short, and rare. Never wait inside it for
    /// anything but the database.
    package struct Transaction: Sendable {
        fileprivate let pipeline: Pipeline
        fileprivate let generation: Int

        package func execute(
            _ statement: Statement, _ parameters: [Parameter] = []
        ) async throws(PostgresError) -> Rows {
            try await pipeline.executeInside((statement, parameters), generation: generation)
        }
    }

    /// Commits when `body` returns, rolls back when it throws.
    ///
    /// - Throws: what `body` threw; what the commit said; 25P02 when `body` returned though a
    ///   statement of it had failed.
    package nonisolated func withTransaction<Answer>(
        tenant: UUID? = nil,
        _ body: (Transaction) async throws(PostgresError) -> Answer
    ) async throws(PostgresError) -> Answer {
        let generation = try await begin(tenant: tenant)
        let answer: Answer
        do throws(PostgresError) {
            answer = try await body(Transaction(pipeline: self, generation: generation))
        } catch {
            // When this fails the connection is gone, and the transaction with it.
            try? await end(commit: false, generation: generation)
            throw error
        }
        try await end(commit: true, generation: generation)
        return answer
    }
}
