package import ControlPlane
import Postgres

extension Plane {
    /// Gives a tenant `count` rows in every table that holds rows of tenants (of its sets one), each of
    /// which names `mark` where it has a text of its own.
    package func fill(_ tenant: Tenant.ID, _ mark: String, count: Int) throws {
        let session = try Session(Conninfo(url: url))
        try session.run("INSERT INTO provider_account (id) VALUES ('test') ON CONFLICT DO NOTHING")
        for table in TenantTable.all {
            guard let columns = Self.columns[table.name] else {
                throw ClientFailure(reason: "no rows for \(table.name): say how to make some")
            }
            try session.execute(
                """
                INSERT INTO \(table.name) (tenant_id, \(columns.names))
                SELECT $1, \(columns.values)
                FROM   generate_series(1, CASE WHEN $3 LIKE '%_set' THEN 1 ELSE $4 END) AS g (n)
                WHERE  $2 = $2
                """, .uuid(tenant.uuid), .text(mark), .text(table.name), .int8(Int64(count)))
        }
    }

    /// How many rows each table has of a tenant.
    package func rowCounts(of tenant: Tenant.ID) throws -> [String: Int] {
        let session = try Session(Conninfo(url: url))
        var counts: [String: Int] = [:]
        for table in TenantTable.all {
            let rows = try session.execute(
                "SELECT count(*) FROM \(table.name) WHERE tenant_id = $1", .uuid(tenant.uuid))
            counts[table.name] = Int(try rows.only().int64(0))
        }
        return counts
    }

    private static let at = "clock_timestamp() + g.n * interval '1 microsecond'"
    /// What stands beside the tenant, for each table. $2 is the mark, g.n the row's number.
    private static let columns: [String: (names: String, values: String)] = [
        "api_key": (
            "id, hash, name, scopes, created_by",
            """
            substr(md5($2 || g.n), 1, 16), sha256(convert_to($2 || g.n, 'UTF8')), $2, '{read}',
            'system'
            """
        ),
        "session": (
            "hash, key_id, expires_at", "sha256(convert_to($2 || g.n, 'UTF8')), 'k', now()"
        ),
        "policy": (
            "operation, limits, hot_window_s, long_window_s, updated_by",
            "$2 || g.n, '[{\"limit\": 5, \"windowS\": 60}]', 60, 0, 'system'"
        ),
        "policy_set": (
            "version, default_max_per_hour, settings",
            "7, 1000, jsonb_build_object('defaultTemplate', $2)"
        ),
        "region": (
            """
            name, version, provider, account, api_url, domain, api_key, priority, templates, enabled,
            updated_by
            """,
            """
            'r' || g.n, 1, 'e2b', 'test', 'https://' || $2, 'a.example', '\\x01', 100, '{}', true,
            'system'
            """
        ),
        "region_set": ("version", "1"),
        "operation": ("op, name", "g.n::smallint, $2 || g.n"),
        "request_record": (
            "id, at, op, units, labels",
            "gen_random_uuid(), \(at), 1, 2, jsonb_build_object('who', $2)"
        ),
        "refund": ("op, at, request_id, units", "1, \(at), gen_random_uuid(), 1"),
        "usage_log": ("op, at, units, cum", "(g.n % 3 + 1)::smallint, \(at), 1, g.n"),
        "usage_log_long": ("op, at, units, cum", "1, \(at), 1, g.n"),
        "usage_minute": ("op, at, units", "1, \(at), g.n"),
        "usage_hour": ("op, at, units", "1, \(at), g.n"),
        "event": (
            "id, at, name, fields",
            "gen_random_uuid(), \(at), 'test', jsonb_build_object('who', $2, 'n', g.n)"
        ),
        "import": ("id", "sha256(convert_to($2 || g.n, 'UTF8'))"),
        "import_row": (
            "import_id, op, at, units",
            "sha256(convert_to($2 || g.n, 'UTF8')), 1, \(at), g.n"
        ),
        "breaker": (
            "id, version, generation, state, machine",
            "'e2b:r' || g.n || ':create', 1, 1, 'CLOSED', jsonb_build_object('who', $2)"
        ),
        "breaker_event": (
            "breaker, generation, at, from_state, to_state, cause, failures, instance",
            "'e2b:r:create', g.n, \(at), 'CLOSED', 'OPEN', 'failures', 5, $2"
        ),
        "sandbox_request": (
            "id, state, via, template, region, life_ms, deadline_at",
            "gen_random_uuid(), 'dispatching', 'api', $2, 'us', 1000, now()"
        ),
        "sandbox": (
            "id, request_id, attempt, state, region, template",
            "gen_random_uuid(), gen_random_uuid(), 1, 'creating', 'us', $2"
        ),
        "sandbox_event": (
            "sandbox_id, version, to_state, actor", "gen_random_uuid(), g.n, 'creating', $2"
        ),
        "attempt": (
            "id, number, at, ended_at, operation, breaker, outcome, duration_ms",
            "gen_random_uuid(), 1, \(at), \(at), $2, 'e2b:r:create', 'succeeded', g.n"
        ),
        "alert_rule": (
            "name, rule, updated_by", "'r' || g.n, jsonb_build_object('kind', 'quota_used'), $2"
        ),
        "alert": (
            "id, rule, severity, labels, fingerprint, state, value, threshold, started_at, updated_at",
            "gen_random_uuid(), $2, 'info', '{}', $2 || g.n, 'pending', 1, 1, now(), now()"
        ),
        "alert_channel": (
            "id, name, kind, host, target, min_severity, rules, all_tenants, enabled, updated_by",
            "md5($1::text || g.n)::uuid, $2, 'slack', 'a.example', '\\x01', 'info', '{}', false, true, 'system'"
        ),
        "alert_notification": (
            "channel_id, number, event, body, created_at, not_before",
            "md5($1::text || g.n)::uuid, 0, 'alert.test', jsonb_build_object('who', $2), now(), now()"
        ),
        "alert_silence": (
            "id, labels, ends_at, reason, author",
            "gen_random_uuid(), '{}', now() + interval '1 day', $2, 'system'"
        ),
        "audit_entry": ("id, actor, action, target", "gen_random_uuid(), 'system', 'test', $2"),
        "idempotency": (
            "key_hash, request_hash, expires_at",
            """
            sha256(convert_to($2 || g.n, 'UTF8')), sha256(convert_to($2, 'UTF8')),
            now() + interval '1 day'
            """
        ),
        "task": ("id, kind, payload", "gen_random_uuid(), 'test', jsonb_build_object('who', $2)"),
    ]
}
