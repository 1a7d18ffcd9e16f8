package import Postgres

/// Work that the service does by itself, on a schedule, by one instance at a time.
package protocol Job: Sendable {
    /// Its name in the table, the API, metrics and logs.
    var name: String { get }
    var interval: Duration { get }

    /// One run; what it did as JSON members, e.g. `{"dropped": 2}`.
    ///
    /// A run may be repeated after a crash: it must be harmless twice.
    func run(_ pipeline: Pipeline) async throws(ControlPlaneError) -> String
}

/// A job as the table knows it.
package struct JobState: Hashable, Sendable {
    package let name: String
    package let holder: String?
    package let leaseUntil: Timestamp?
    package let nextRunAt: Timestamp
    package let startedAt: Timestamp?
    package let finishedAt: Timestamp?
    package let durationMs: Int64?
    /// Of the last run: "succeeded", "failed", or "abandoned" by an instance that died or stopped.
    package let outcome: String?
    package let failures: Int32
    /// A JSON object: what the last run did, or `{"error": ...}`.
    package let detail: String

    init(_ row: Row) throws(PostgresError) {
        name = try row.text("name")
        holder = try row.textIfPresent("holder")
        leaseUntil = try row.timestampIfPresent("lease_until")
        nextRunAt = try row.timestamp("next_run_at")
        startedAt = try row.timestampIfPresent("started_at")
        finishedAt = try row.timestampIfPresent("finished_at")
        durationMs = try row.int64IfPresent("duration_ms")
        outcome = try row.textIfPresent("outcome")
        failures = try row.int32("failures")
        detail = try row.json("detail")
    }
}

extension Statement {
    static let jobRegister = Statement(
        "job_register",
        "INSERT INTO job (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING")
    /// Takes a due job whose lease is free or over, or whose holder is gone. The epoch rises: whoever held it may not finish.
    static let jobClaim = Statement(
        "job_claim",
        """
        UPDATE job
        SET    holder = $2, epoch = epoch + 1, started_at = clock_timestamp(),
               lease_until = clock_timestamp() + $3 * interval '1 millisecond',
               outcome = CASE WHEN holder IS NULL THEN outcome ELSE 'abandoned' END
        WHERE  name = (
            SELECT name FROM job
            WHERE  name = $1 AND next_run_at <= clock_timestamp()
            AND   (holder IS NULL OR lease_until <= clock_timestamp() OR bw_is_gone(holder, started_at, $4))
            FOR NO KEY UPDATE SKIP LOCKED)
        RETURNING epoch
        """)
    static let jobRenew = Statement(
        "job_renew",
        """
        UPDATE job SET lease_until = clock_timestamp() + $3 * interval '1 millisecond'
        WHERE  name = $1 AND epoch = $2 AND holder IS NOT NULL RETURNING epoch
        """)
    /// $3 says how it went, $4 what it did. Due again after $5 ms; one that failed sooner, after $6 ms and twice as
    /// long each time; one that was abandoned at once.
    static let jobFinish = Statement(
        "job_finish",
        """
        UPDATE job
        SET    holder = NULL, lease_until = NULL, finished_at = clock_timestamp(),
               duration_ms = extract(epoch FROM clock_timestamp() - started_at) * 1000,
               outcome = $3, detail = $4,
               failures = CASE $3 WHEN 'succeeded' THEN 0 WHEN 'failed' THEN failures + 1 ELSE failures END,
               -- asked for meanwhile: then at once
               next_run_at = CASE WHEN next_run_at > started_at THEN next_run_at
                             ELSE clock_timestamp() + interval '1 millisecond' * CASE $3
                                  WHEN 'succeeded' THEN $5
                                  WHEN 'failed' THEN least($5, $6 * 2 ^ least(failures, 20))
                                  ELSE 0 END END
        WHERE  name = $1 AND epoch = $2
        RETURNING duration_ms
        """)
    /// Makes a job due, if its last run is over for so long: $2 ms, and $3 times what it took, so that hints
    /// cost a small share of a connection however many come. One that runs is due again after that. No row: too
    /// early.
    static let jobHurry = Statement(
        "job_hurry",
        """
        UPDATE job
        SET    next_run_at = CASE WHEN holder IS NULL THEN least(next_run_at, clock_timestamp())
                             ELSE clock_timestamp() END
        WHERE  name = $1
        AND   (holder IS NOT NULL OR finished_at IS NULL OR
               finished_at + greatest($2, duration_ms * $3) * interval '1 millisecond' <= clock_timestamp())
        RETURNING name
        """)
    static let jobRunNow = Statement(
        "job_run_now",
        """
        UPDATE job SET next_run_at = clock_timestamp() WHERE name = $1
        RETURNING name, holder, lease_until, next_run_at, started_at, finished_at, duration_ms,
                  outcome, failures, detail
        """)
    static let jobList = Statement(
        "job_list",
        """
        SELECT name, holder, lease_until, next_run_at, started_at, finished_at, duration_ms,
               outcome, failures, detail
        FROM   job ORDER BY name
        """)
}
