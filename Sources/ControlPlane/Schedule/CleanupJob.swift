internal import IO
internal import JSON
package import Postgres

/// Removes what no answer can need any more: ledger and event partitions past their retention,
/// expired idempotency rows, ended tasks.
///
/// Never on the hot path: a partition is taken out under a short lock that gives up rather than
/// queue (whoever waits behind it would wait too) and is dropped afterwards.
package struct CleanupJob: Job {
    package struct Settings: Sendable {
        /// The original ran each hour; an hour of full load is too much to keep for nothing.
        package var interval: Duration = .seconds(60)
        /// How long the log is kept at least; a policy with a longer window keeps it longer.
        package var usageRetention: Duration = .seconds(3600)
        /// How long a record can be refunded; the longest window.
        package var recordRetention: Duration = .seconds(31 * 86_400)
        /// How long the roll-ups are kept.
        package var rollUpRetention: Duration = .seconds(30 * 86_400)
        package var eventRetention: Duration = .seconds(90 * 86_400)
        package var breakerEventRetention: Duration = .seconds(90 * 86_400)
        package var attemptRetention: Duration = .seconds(30 * 86_400)
        /// Of sandboxes and requests, after their end.
        package var sandboxRetention: Duration = .seconds(90 * 86_400)
        package var taskRetention: Duration = .seconds(7 * 86_400)
        /// Of alerts that are over, notifications, and silences that have ended.
        package var alertRetention: Duration = .seconds(90 * 86_400)
        /// Rows of one statement where rows are deleted one by one.
        package var chunk = 5_000

        package init() {}
    }

    package let name = "cleanup"
    package var interval: Duration { settings.interval }
    private let settings: Settings
    /// Of any policy.
    private static let longestWindow = Duration.seconds(Limit.windows.upperBound)

    package init(_ settings: Settings = Settings()) { self.settings = settings }

    package func run(_ pipeline: Pipeline) async throws(ControlPlaneError) -> String {
        do throws(PostgresError) {
            let longest = try await pipeline.execute(.longestWindow).only().int64(0)
            let usage = try await drop(
                "usage_log", keep: max(settings.usageRetention, .milliseconds(longest)), pipeline)
            let long = try await drop("usage_log_long", keep: Self.longestWindow, pipeline)
            let records = try await drop("request_record", keep: settings.recordRetention, pipeline)
            let refunds = try await delete(
                .refundClean, [.int8(Self.longestWindow.milliseconds)], pipeline)
            let minutes = try await drop("usage_minute", keep: settings.rollUpRetention, pipeline)
            let hours = try await delete(
                .usageHourClean, [.int8(settings.rollUpRetention.milliseconds)], pipeline)
            let events = try await drop("event", keep: settings.eventRetention, pipeline)
            let writers = try await delete(.eventWriterClean, [], pipeline)
            let instances = try await delete(.instanceClean, [], pipeline)
            let tries = try await drop("attempt", keep: settings.attemptRetention, pipeline)
            let moves = try await delete(
                .breakerEventClean, [.int8(settings.breakerEventRetention.milliseconds)], pipeline)
            let sandboxes = try await delete(
                .sandboxClean, [.int8(settings.sandboxRetention.milliseconds)], pipeline)
            let requests = try await delete(
                .sandboxRequestClean, [.int8(settings.sandboxRetention.milliseconds)], pipeline)
            let replies = try await delete(.idempotencyClean, [], pipeline)
            let tasks = try await delete(
                .taskClean, [.int8(settings.taskRetention.milliseconds)], pipeline)
            var alerts = 0
            for statement in [Statement.alertClean, .alertNotificationClean, .alertSilenceClean] {
                alerts += try await delete(
                    statement, [.int8(settings.alertRetention.milliseconds)], pipeline)
            }
            let leases = try await delete(.creationLeaseClean, [], pipeline)
            let sessions = try await delete(.sessionClean, [], pipeline)
            let accounts = try await delete(.accountClean, [], pipeline)
            return report([
                ("usagePartitions", usage), ("longUsagePartitions", long),
                ("recordPartitions", records), ("refunds", refunds), ("minutePartitions", minutes),
                ("hourRows", hours),
                ("eventPartitions", events), ("eventWriters", writers),
                ("instances", instances),
                ("attemptPartitions", tries), ("breakerEvents", moves),
                ("sandboxes", sandboxes), ("sandboxRequests", requests),
                ("idempotencyRows", replies), ("tasks", tasks), ("alerts", alerts),
                ("creationLeases", leases), ("sessions", sessions), ("accounts", accounts),
            ])
        } catch {
            throw .postgres(error)
        }
    }

    private func drop(
        _ parent: String, keep: Duration, _ pipeline: Pipeline
    ) async throws(PostgresError) -> Int {
        var dropped = 0
        while true {
            do throws(PostgresError) {
                let rows = try await pipeline.transaction([
                    (.shortLockWait, []),
                    (.partitionDetach, [.text(parent), .int8(keep.milliseconds)]),
                ])
                guard try rows[1].only().textIfPresent(0) != nil else { break }
                dropped += 1
            } catch .lockTimeout {
                break  // busy: the next run takes it
            }
        }
        _ = try await pipeline.execute(.partitionDrop, [.text(parent)])
        return dropped
    }

    private func delete(
        _ statement: Statement, _ parameters: [Parameter], _ pipeline: Pipeline
    ) async throws(PostgresError) -> Int {
        var deleted = 0
        while true {
            let rows = try await pipeline.transaction([
                (.enterOperator, []), (statement, parameters + [.int8(Int64(settings.chunk))]),
            ])
            let count = Int(try rows[1].only().int64(0))
            deleted += count
            if count < settings.chunk { return deleted }
        }
    }
}

/// Makes partitions ahead of the time that will need them. A write that finds none makes its own,
/// so that a stopped job is slow, not broken.
package struct PartitionsJob: Job {
    package let name = "partitions"
    package let interval: Duration = .seconds(600)

    package init() {}

    package func run(_ pipeline: Pipeline) async throws(ControlPlaneError) -> String {
        do throws(PostgresError) {
            var made: [(String, Int)] = []
            // Each one that is there costs each decision a look, so the next hour's comes late.
            let next = try await pipeline.execute(.makeNextPartition).only().int32(0)
            made.append(("usage_log", Int(next)))
            for (parent, ahead) in [
                ("usage_log_long", 2), ("request_record", 2), ("usage_minute", 2), ("event", 3),
                ("attempt", 2),
            ] {
                let rows = try await pipeline.execute(
                    .makePartitions, [.text(parent), .timestamp(nil), .int4(Int32(ahead))])
                made.append((parent, Int(try rows.only().int32(0))))
            }
            return report(made)
        } catch {
            throw .postgres(error)
        }
    }
}

/// A JSON object of the numbers that are not 0, and of what failed, the first five of it.
func report(_ numbers: [(name: String, count: Int)], failures: [String] = []) -> String {
    var members = numbers.filter { $0.count != 0 }.map { "\"\($0.name)\": \($0.count)" }
    if !failures.isEmpty {
        var writer = JSONWriter()
        writer.array { json in
            for failure in failures.prefix(5) { json.value(redacted(String(failure.prefix(300)))) }
        }
        members.append("\"failures\": " + String(decoding: writer.bytes, as: UTF8.self))
    }
    return "{" + members.joined(separator: ", ") + "}"
}

/// A failed run's detail: the cause as JSON.
func errorDetail(_ error: ControlPlaneError) -> String {
    let cause =
        if case .postgres(let error) = error { error.reason } else { "\(error)" }
    var writer = JSONWriter()
    writer.object { $0.member("error", redacted(cause)) }
    return String(decoding: writer.bytes, as: UTF8.self)
}

extension Statement {
    fileprivate static let shortLockWait = Statement(
        "lock_wait_short", "SET LOCAL lock_timeout = '200ms'")
    /// The present one too: after a pause of the job, or at the turn of the hour.
    fileprivate static let makeNextPartition = Statement(
        "partition_make_next",
        """
        SELECT bw_make_partitions('usage_log', NULL, 0)
             + bw_make_partitions('usage_log', clock_timestamp() + interval '15 minutes', 0)
        """)
    fileprivate static let partitionDetach = Statement(
        "partition_detach",
        "SELECT bw_detach_partition($1, clock_timestamp() - $2 * interval '1 millisecond')")
    fileprivate static let partitionDrop = Statement(
        "partition_drop", "SELECT bw_drop_detached($1)")
    fileprivate static let longestWindow = Statement(
        "longest_window",
        "SELECT (extract(epoch FROM bw_longest_window(NULL)) * 1000)::bigint")
    /// Before the age that is given first, in milliseconds.
    private static let longAgo = "clock_timestamp() - $1 * interval '1 millisecond'"

    /// Deletes rows of a table that are over and answers how many: those that are first in `order`, at most as
    /// many as the last parameter says.
    private static func clean(
        _ table: String, key: String, by order: String, where isOver: String
    ) -> Statement {
        let most = isOver.contains("$1") ? "$2" : "$1"
        return Statement(
            "clean_\(table)",
            """
            WITH gone AS (
                DELETE FROM \(table) WHERE (\(key)) IN (
                    SELECT \(key) FROM \(table) WHERE \(isOver) ORDER BY \(order) LIMIT \(most))
                RETURNING 1)
            SELECT count(*) FROM gone
            """)
    }

    fileprivate static let usageHourClean = clean(
        "usage_hour", key: "tenant_id, op, at", by: "at", where: "at < \(longAgo)")
    fileprivate static let refundClean = clean(
        "refund", key: "tenant_id, op, at, request_id", by: "at", where: "at < \(longAgo)")
    /// Of instances that are gone: none sends a batch again after so long.
    fileprivate static let eventWriterClean = clean(
        "event_writer", key: "id", by: "id", where: "at < clock_timestamp() - interval '7 days'")
    fileprivate static let instanceClean = clean(
        "instance", key: "name", by: "name", where: "seen_at < clock_timestamp() - interval '1 day'"
    )
    fileprivate static let breakerEventClean = clean(
        "breaker_event", key: "tenant_id, breaker, generation", by: "at", where: "at < \(longAgo)")
    /// With its history.
    fileprivate static let sandboxClean = Statement(
        "sandbox_clean",
        """
        WITH old AS (
            SELECT tenant_id, id FROM sandbox
            WHERE  ended_at < clock_timestamp() - $1 * interval '1 millisecond' ORDER BY ended_at LIMIT $2),
        told AS (
            DELETE FROM sandbox_event WHERE (tenant_id, sandbox_id) IN (SELECT tenant_id, id FROM old)),
        gone AS (
            DELETE FROM sandbox WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM old) RETURNING 1)
        SELECT count(*) FROM gone
        """)
    fileprivate static let sandboxRequestClean = clean(
        "sandbox_request", key: "tenant_id, id", by: "ended_at", where: "ended_at < \(longAgo)")
    fileprivate static let idempotencyClean = clean(
        "idempotency", key: "tenant_id, key_hash", by: "1, 2",
        where: "expires_at <= clock_timestamp()")
    /// A day after their end, for whoever looks into what happened.
    fileprivate static let sessionClean = clean(
        "session", key: "tenant_id, hash", by: "expires_at",
        where: "expires_at < clock_timestamp() - interval '1 day'")
    fileprivate static let creationLeaseClean = clean(
        "creation_lease", key: "account, id", by: "until",
        where: "until < clock_timestamp() - interval '1 minute'")
    /// Those that no region names any more, with what was used of them. One that a change has in hand is
    /// not old when that ends.
    fileprivate static let accountClean = Statement(
        "account_clean",
        """
        WITH gone AS (
            DELETE FROM provider_account WHERE id IN (
                SELECT a.id FROM provider_account AS a
                WHERE  NOT EXISTS (SELECT FROM region AS r WHERE r.account = a.id)
                ORDER  BY a.id LIMIT $1)
            AND    updated_at < clock_timestamp() - interval '1 hour'
            RETURNING id),
        used AS (DELETE FROM creation_budget WHERE account IN (SELECT id FROM gone)),
        held AS (DELETE FROM creation_lease WHERE account IN (SELECT id FROM gone))
        SELECT count(*) FROM gone
        """)
    fileprivate static let alertClean = clean(
        "alert", key: "tenant_id, id", by: "resolved_at",
        where: "state = 'resolved' AND resolved_at < \(longAgo)")
    /// Those that wait are sent or given up long before.
    fileprivate static let alertNotificationClean = clean(
        "alert_notification", key: "tenant_id, id", by: "created_at",
        where: "created_at < \(longAgo)")
    fileprivate static let alertSilenceClean = clean(
        "alert_silence", key: "tenant_id, id", by: "ends_at", where: "ends_at < \(longAgo)")
    fileprivate static let taskClean = clean(
        "task", key: "tenant_id, id", by: "1, 2",
        where:
            "(done_at IS NOT NULL OR dead_at IS NOT NULL) AND coalesce(done_at, dead_at) < \(longAgo)"
    )
}
