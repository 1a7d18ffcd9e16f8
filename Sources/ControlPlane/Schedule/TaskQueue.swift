internal import IO
package import Postgres

/// A task that was claimed: work that a transaction left behind.
package struct ClaimedTask: Hashable, Sendable {
    package let tenant: Tenant.ID
    package let id: UUID
    package let kind: String
    /// JSON.
    package let payload: String
    /// Tries so far, this one among them.
    package let attempts: Int32
    /// Finishing needs it: a later claim raises it.
    package let fence: Int64

    init(_ row: Row) throws(PostgresError) {
        tenant = Tenant.ID(try row.uuid("tenant_id"))
        id = try row.uuid("id")
        kind = try row.text("kind")
        payload = try row.json("payload")
        attempts = try row.int32("attempts")
        fence = try row.int64("fence")
    }
}

/// What became of a claimed task.
package struct TaskEnd: Sendable {
    package let task: ClaimedTask
    /// Nil: it is done.
    package let error: String?
    /// When one that failed is due again.
    package let retryAfter: Duration

    package init(_ task: ClaimedTask, error: String? = nil, retryAfter: Duration = .zero) {
        self.task = task
        self.error = error
        self.retryAfter = retryAfter
    }
}

/// The outbox: tasks are added in the transaction that decides them and run at least once.
package struct TaskQueue: Sendable {
    private let pipeline: Pipeline
    private let instance: String

    package init(_ pipeline: Pipeline, instance: String) {
        self.pipeline = pipeline
        self.instance = instance
    }

    /// The step that adds a task, for the transaction that decides it.
    package static func adds(
        _ kind: String, payload: String, for tenant: Tenant.ID, notBefore: Timestamp? = nil,
        maxAttempts: Int32 = 10
    ) -> Pipeline.Step {
        (
            .taskAdd,
            [
                .uuid(tenant.uuid), .uuid(.v7()), .text(kind), .jsonb(payload),
                .timestamp(notBefore), .int4(maxAttempts),
            ]
        )
    }

    /// Claims up to `limit` due tasks of some kinds for `lease`; those whose holder died among them.
    package func claim(
        _ kinds: [String], limit: Int, lease: Duration
    ) async throws(ControlPlaneError) -> [ClaimedTask] {
        let claim: Pipeline.Step = (
            .taskClaim,
            [.texts(kinds), .int8(Int64(limit)), .text(instance), .int8(lease.milliseconds)]
        )
        let rows: Rows
        do throws(PostgresError) {
            rows = try await pipeline.transaction([(.enterOperator, []), claim])[1]
        } catch {
            throw .postgres(error)
        }
        return try decodeAll(rows, ClaimedTask.init)
    }

    /// Marks claimed tasks done, or gives them back: due again after a time, or dead if their tries are used
    /// up. Answers those that were not another's by then; the rest stay as they are.
    ///
    /// - Parameter steps: of the same transaction, and before: what was done.
    package func end(
        _ ends: [TaskEnd], after steps: [Pipeline.Step] = []
    ) async throws(ControlPlaneError) -> Set<UUID> {
        let step: Pipeline.Step = (
            .tasksEnd,
            [
                .uuids(ends.map(\.task.tenant.uuid)), .uuids(ends.map(\.task.id)),
                .int8s(ends.map(\.task.fence)),
                .optionalTexts(ends.map { $0.error.map { redacted(String($0.prefix(2000))) } }),
                .int8s(ends.map(\.retryAfter.milliseconds)),
            ]
        )
        do throws(PostgresError) {
            guard let rows = try await pipeline.transaction(steps + [step]).last else {
                throw .decode("no answer")
            }
            return Set(try rows.map { row throws(PostgresError) in try row.uuid(0) })
        } catch {
            throw .postgres(error)
        }
    }

}

extension Statement {
    fileprivate static let taskAdd = Statement(
        "task_add",
        """
        INSERT INTO task (tenant_id, id, kind, payload, not_before, max_attempts)
        VALUES ($1, $2, $3, $4, coalesce($5, clock_timestamp()), $6)
        """)
    fileprivate static let taskClaim = Statement(
        "task_claim",
        """
        WITH due AS (
            SELECT tenant_id, id FROM task
            WHERE  kind = ANY ($1) AND done_at IS NULL AND dead_at IS NULL
            AND    not_before <= clock_timestamp()
            AND   (lease_until IS NULL OR lease_until <= clock_timestamp())
            ORDER  BY not_before LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)
        UPDATE task AS t
        SET    holder = $3, fence = fence + 1, attempts = attempts + 1,
               lease_until = clock_timestamp() + $4 * interval '1 millisecond'
        FROM   due WHERE (t.tenant_id, t.id) = (due.tenant_id, due.id)
        RETURNING t.tenant_id, t.id, t.kind, t.payload, t.attempts, t.fence
        """)
    fileprivate static let tasksEnd = Statement(
        "tasks_end", "SELECT * FROM bw_tasks_end($1, $2, $3, $4, $5)")
}
