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
        let rows = try await asOperator(
            .taskClaim,
            [.texts(kinds), .int8(Int64(limit)), .text(instance), .int8(lease.milliseconds)])
        return try decodeAll(rows, ClaimedTask.init)
    }

    /// Marks a claimed task done. False: it is another's by now, and nothing was changed.
    package func complete(_ task: ClaimedTask) async throws(ControlPlaneError) -> Bool {
        try await !asOperator(
            .taskComplete, [.uuid(task.tenant.uuid), .uuid(task.id), .int8(task.fence)]
        ).isEmpty
    }

    /// Gives a claimed task back: it is due again after `delay`, or dead if its tries are used up.
    /// False: it is another's by now.
    package func fail(
        _ task: ClaimedTask, _ error: String, retryAfter delay: Duration
    ) async throws(ControlPlaneError) -> Bool {
        try await !asOperator(
            .taskFail,
            [
                .uuid(task.tenant.uuid), .uuid(task.id), .int8(task.fence), .text(redacted(error)),
                .int8(delay.milliseconds),
            ]
        ).isEmpty
    }

    private func asOperator(
        _ statement: Statement, _ parameters: [Parameter]
    ) async throws(ControlPlaneError) -> Rows {
        do throws(PostgresError) {
            return try await pipeline.transaction([(.enterOperator, []), (statement, parameters)])[
                1]
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
    fileprivate static let taskComplete = Statement(
        "task_complete",
        """
        UPDATE task SET done_at = clock_timestamp(), holder = NULL, lease_until = NULL
        WHERE  tenant_id = $1 AND id = $2 AND fence = $3 AND done_at IS NULL RETURNING id
        """)
    fileprivate static let taskFail = Statement(
        "task_fail",
        """
        UPDATE task
        SET    holder = NULL, lease_until = NULL, last_error = $4,
               not_before = clock_timestamp() + $5 * interval '1 millisecond',
               dead_at = CASE WHEN attempts >= max_attempts THEN clock_timestamp() END
        WHERE  tenant_id = $1 AND id = $2 AND fence = $3 AND done_at IS NULL RETURNING id
        """)
}
