internal import Postgres

extension Pipeline {
    /// Runs `steps`, which add to what alerts of a tenant are made of, unless `count` finds `most` there: then
    /// false, and nothing is done. One change of a tenant's at a time.
    func add(
        _ steps: [Step], of tenant: Tenant.ID, unless count: Statement, reaches most: Int
    ) async throws(PostgresError) -> Bool {
        try await withTransaction(tenant: tenant.uuid) { transaction throws(PostgresError) in
            _ = try await transaction.execute(.alertTenantLock, [.uuid(tenant.uuid)])
            let there = try await transaction.execute(count, [.uuid(tenant.uuid)]).only().int(0)
            guard there < most else { return false }
            for (statement, parameters) in steps {
                _ = try await transaction.execute(statement, parameters)
            }
            return true
        }
    }
}

extension Statement {
    /// One change of a tenant's rules, channels or silences at a time.
    static let alertTenantLock = Statement(
        "alert_tenant_lock", "SELECT pg_advisory_xact_lock(uuid_hash_extended($1, -5))")

    /// $1: NULL for every tenant's, as an operator.
    static let alertPage = Statement(
        "alert_page",
        """
        SELECT * FROM alert
        WHERE  ($1::uuid IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR state = $2)
        AND   ($3::text IS NULL OR rule = $3) AND ($4::uuid IS NULL OR id < $4)
        ORDER  BY id DESC LIMIT $5
        """)
    static let alertByID = Statement(
        "alert_by_id", "SELECT * FROM alert WHERE tenant_id = $1 AND id = $2")
    static let alertAcknowledge = Statement(
        "alert_acknowledge",
        """
        UPDATE alert
        SET    acknowledged_at = coalesce(acknowledged_at, clock_timestamp()),
               acknowledged_by = coalesce(acknowledged_by, $3),
               acknowledged_reason = CASE WHEN acknowledged_at IS NULL THEN $4 ELSE acknowledged_reason END
        WHERE  tenant_id = $1 AND id = $2 RETURNING *
        """)

    static let alertRules = Statement(
        "alert_rules", "SELECT * FROM alert_rule WHERE tenant_id = $1 ORDER BY name")
    static let alertRuleVersion = Statement(
        "alert_rule_version",
        """
        SELECT (SELECT version FROM alert_rule WHERE tenant_id = $1 AND name = $2) AS version,
               (SELECT count(*) FROM alert_rule WHERE tenant_id = $1) AS rules
        """)
    static let alertRulePut = Statement(
        "alert_rule_put",
        """
        INSERT INTO alert_rule AS r (tenant_id, name, rule, updated_by) VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant_id, name) DO UPDATE
        SET    rule = $3, version = r.version + 1, updated_at = clock_timestamp(), updated_by = $4
        """)
    static let alertRuleDelete = Statement(
        "alert_rule_delete", "DELETE FROM alert_rule WHERE tenant_id = $1 AND name = $2")

    static let alertSilencePage = Statement(
        "alert_silence_page",
        """
        SELECT * FROM alert_silence
        WHERE  tenant_id = $1 AND ends_at > clock_timestamp() AND ($2::uuid IS NULL OR id < $2)
        ORDER  BY id DESC LIMIT $3
        """)
    static let alertSilenceByID = Statement(
        "alert_silence_by_id", "SELECT * FROM alert_silence WHERE tenant_id = $1 AND id = $2")
    static let alertSilenceCount = Statement(
        "alert_silence_count",
        """
        SELECT count(*) FROM alert_silence
        WHERE  tenant_id = $1 AND ends_at > clock_timestamp()
        """)
    static let alertSilenceAdd = Statement(
        "alert_silence_add",
        """
        INSERT INTO alert_silence (tenant_id, id, rule, labels, ends_at, reason, author)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """)
    static let alertSilenceEnd = Statement(
        "alert_silence_end",
        """
        UPDATE alert_silence SET ends_at = clock_timestamp()
        WHERE  tenant_id = $1 AND id = $2 AND ends_at > clock_timestamp() RETURNING id
        """)
}
