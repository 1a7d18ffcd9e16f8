package import Postgres

/// How one tenant is doing, in a line of the operators' list. Of the last hour.
package struct TenantLine: Sendable {
    package let tenant: Tenant.ID
    package let name: String
    package let suspendedAt: Timestamp?
    package let deletedAt: Timestamp?
    /// Sandboxes that are not over.
    package let live: Int64
    package let succeeded: Int64
    package let failed: Int64
    /// In the last five minutes.
    package let failedLately: Int64
    /// Calls that a limit refused.
    package let deniedCalls: Int64
    /// Alerts that fire now.
    package let firingAlerts: Int64

    init(_ row: Row) throws(PostgresError) {
        tenant = Tenant.ID(try row.uuid("id"))
        name = try row.text("name")
        suspendedAt = try row.timestampIfPresent("suspended_at")
        deletedAt = try row.timestampIfPresent("deleted_at")
        live = try row.int64("live")
        succeeded = try row.int64("succeeded")
        failed = try row.int64("failed")
        failedLately = try row.int64("failed_5m")
        deniedCalls = try row.int64("denied_calls")
        firingAlerts = try row.int64("firing_alerts")
    }
}

extension Directory {
    /// Tenants in order of their ids, those after `after`. Of each at most `maxRows` things of a kind are
    /// counted.
    package func tenantLines(
        after: Tenant.ID?, limit: Int, maxRows: Int = 10_000
    ) async throws(ControlPlaneError) -> [TenantLine] {
        let rows = try await run([
            (.enterOperator, []),
            (
                .tenantLines,
                [.uuid((after ?? .fleet).uuid), .int8(Int64(limit)), .int8(Int64(maxRows))]
            ),
        ])
        return try decodeAll(rows, TenantLine.init)
    }
}

extension Statement {
    fileprivate static let tenantLines = Statement(
        "tenant_lines",
        """
        SELECT t.id, t.name, t.suspended_at, t.deleted_at, live.n AS live,
               requests.succeeded + tries.succeeded AS succeeded, requests.failed + tries.failed AS failed,
               requests.failed_5m + tries.failed_5m AS failed_5m, denied.calls AS denied_calls, alerts.firing AS firing_alerts
        FROM   tenant AS t
        CROSS  JOIN LATERAL (
            SELECT count(*) AS n
            FROM  (SELECT FROM sandbox AS s WHERE s.tenant_id = t.id AND s.ended_at IS NULL LIMIT $3) AS s) AS live
        CROSS  JOIN LATERAL (
            SELECT count(*) FILTER (WHERE ok) AS succeeded, count(*) FILTER (WHERE NOT ok) AS failed,
                   count(*) FILTER (WHERE NOT ok AND ended_at > now() - interval '5 minutes') AS failed_5m
            FROM  (SELECT r.state = 'fulfilled' AS ok, r.ended_at FROM sandbox_request AS r
                   WHERE  r.tenant_id = t.id AND r.ended_at > now() - interval '1 hour'
                   AND    r.state IN ('fulfilled', 'failed', 'expired', 'dead')
                   ORDER  BY r.ended_at DESC LIMIT $3) AS r) AS requests
        CROSS  JOIN LATERAL (
            SELECT count(*) FILTER (WHERE ok) AS succeeded, count(*) FILTER (WHERE NOT ok) AS failed,
                   count(*) FILTER (WHERE NOT ok AND ended_at > now() - interval '5 minutes') AS failed_5m
            FROM  (SELECT a.outcome = 'succeeded' AS ok, a.ended_at FROM attempt AS a
                   WHERE  a.tenant_id = t.id AND a.at > now() - interval '70 minutes'
                   AND    a.ended_at > now() - interval '1 hour' AND a.breaker LIKE '%:create'
                   AND    (a.outcome = 'succeeded' OR a.outcome = 'failed' AND a.stop IS NOT NULL)
                   ORDER  BY a.at DESC LIMIT $3) AS a) AS tries
        CROSS  JOIN LATERAL (
            SELECT coalesce(sum(m.denied_calls), 0)::bigint AS calls FROM usage_minute AS m
            WHERE  m.tenant_id = t.id AND m.at > now() - interval '1 hour') AS denied
        CROSS  JOIN LATERAL (
            SELECT count(*) AS firing
            FROM  (SELECT FROM alert AS a WHERE a.tenant_id = t.id AND a.state = 'firing' LIMIT $3) AS a) AS alerts
        WHERE  t.id > $1 ORDER BY t.id LIMIT $2
        """)
}
