import ControlPlane
import Postgres

/// The schema, and what the jobs keep in order.
struct SchemaChecks {
    let database: Database

    func run(_ session: Session) throws(PostgresError) -> [Finding] {
        guard
            try session.execute("SELECT to_regclass('schema_migration') IS NOT NULL").only()
                .bool(0)
        else { return [] }
        return try [isolation(session)] + partitions(session) + jobs(session)
    }

    var migrations: Finding {
        let check = "database.schema"
        do throws(MigrationError) {
            let pending = try Migrator(database.migrating, Schema.migrations).pending()
            let newest = Schema.migrations.last.map(\.description) ?? "none"
            if pending.count == Schema.migrations.count {
                return .ok(check, "none yet: the first start makes it")
            }
            if pending.isEmpty {
                return .ok(check, "all of this binary's migrations, up to \(newest)")
            }
            return .warning(
                check, "without \(pending.map(\.description).joined(separator: ", "))",
                "`breakwater migrate` or the next start of `serve` applies them")
        } catch {
            return .problem(check, "\(error)", "That says what to do")
        }
    }

    private func isolation(_ session: Session) throws(PostgresError) -> Finding {
        let names = try session.execute(
            """
            SELECT c.relname::text FROM pg_class AS c
            JOIN   pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
                   AND NOT a.attisdropped
            WHERE  c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
            AND    NOT (c.relrowsecurity AND c.relforcerowsecurity)
            UNION  SELECT c.relname::text FROM pg_class AS c
            WHERE  c.oid = to_regclass('public.tenant')
            AND    NOT (c.relrowsecurity AND c.relforcerowsecurity)
            ORDER  BY 1
            """
        ).map { row throws(PostgresError) in try row.text(0) }
        return names.isEmpty
            ? .ok("database.isolation", "row-level security is forced on every tenant's table")
            : .problem(
                "database.isolation",
                "row-level security is not forced on \(names.joined(separator: ", "))",
                "ALTER TABLE ... ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    }

    /// The job makes those of a day two ahead, those of the hot log a quarter of an hour before their
    /// time, and runs each 10 minutes. A write that finds none makes its own, and is slow.
    private func partitions(_ session: Session) throws(PostgresError) -> [Finding] {
        let missing = try session.execute(
            """
            SELECT DISTINCT p.name || ' for ' || to_char(t.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24')
                   || ' UTC'
            FROM   (SELECT relname::text AS name, oid FROM pg_class
                    WHERE relkind = 'p' AND relnamespace = 'public'::regnamespace) AS p
            CROSS  JOIN LATERAL (SELECT bw_partition_step(p.name) AS step) AS s
            CROSS  JOIN LATERAL (
                SELECT date_bin(s.step, n.at, 'epoch') AS at
                FROM  (VALUES (clock_timestamp()), (clock_timestamp() + CASE
                           WHEN s.step < '1 day' THEN interval '4 minutes' ELSE s.step END)) AS n (at)
                ) AS t
            WHERE  s.step IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
                WHERE  i.inhparent = p.oid
                AND    c.relname = p.name || to_char(t.at AT TIME ZONE 'UTC', '"_"YYYYMMDDHH24'))
            ORDER  BY 1
            """
        ).map { row throws(PostgresError) in try row.text(0) }
        return missing.isEmpty
            ? [.ok("jobs.partitions", "made ahead")]
            : [
                .warning(
                    "jobs.partitions", "missing: \(missing.joined(separator: ", "))",
                    "A running instance makes them within 10 minutes; if it does not, see jobs")
            ]
    }

    private func jobs(_ session: Session) throws(PostgresError) -> [Finding] {
        var findings: [Finding] = []
        let stale = try session.execute(
            """
            SELECT name || ' of ' || holder FROM job
            WHERE  holder IS NOT NULL AND lease_until < clock_timestamp() - interval '5 minutes'
            ORDER  BY 1
            """
        ).map { row throws(PostgresError) in try row.text(0) }
        if !stale.isEmpty {
            findings.append(
                .warning(
                    "jobs.leases", "over, and nobody took them: \(stale.joined(separator: ", "))",
                    "No instance looks: start one"))
        }
        let failing = try session.execute(
            """
            SELECT name || ' (' || failures || ' times: ' || coalesce(detail ->> 'error', '?') || ')'
            FROM   job WHERE failures > 0 ORDER BY 1
            """
        ).map { row throws(PostgresError) in try row.text(0) }
        if !failing.isEmpty {
            findings.append(
                .warning(
                    "jobs.failures", "failing: \(failing.joined(separator: ", "))",
                    "Mend the cause, then POST /v1/admin/jobs/NAME/run"))
        }
        return findings.isEmpty ? [.ok("jobs", "no lease is stale, no run failed")] : findings
    }
}
