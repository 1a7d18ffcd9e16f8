internal import Postgres

extension Statement {
    /// For the rest of this transaction: what an operator may see of the whole fleet.
    static let enterOperator = Statement("operator_enter", "SET LOCAL ROLE bw_operator")

    static let tenantColumns = "id, name, created_at, suspended_at, suspended_reason, deleted_at"
    static let tenantInsert = Statement(
        "tenant_insert",
        "INSERT INTO tenant (id, name) VALUES ($1, $2) RETURNING \(tenantColumns)")
    static let tenantByID = Statement(
        "tenant_by_id", "SELECT \(tenantColumns) FROM tenant WHERE id = $1")
    static let tenantPage = Statement(
        "tenant_page",
        """
        SELECT \(tenantColumns) FROM tenant
        WHERE  ($1::uuid IS NULL OR id > $1) ORDER BY id LIMIT $2
        """)

    private static let keyColumns = """
        id, tenant_id, name, scopes, created_at, created_by, expires_at, last_used_at, revoked_at,
        revoked_reason, replaces
        """
    static let keyInsert = Statement(
        "key_insert",
        """
        INSERT INTO api_key (tenant_id, id, hash, name, scopes, created_by, expires_at, replaces)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING \(keyColumns)
        """)
    /// A key that came from outside; one that was revoked stays so.
    static let keyAdopt = Statement(
        "key_adopt",
        """
        INSERT INTO api_key (tenant_id, id, hash, name, scopes, created_by)
        VALUES ($1, $2, $3, 'operator', '{operator}', 'system') ON CONFLICT DO NOTHING
        """)
    static let keyByID = Statement(
        "key_by_id", "SELECT \(keyColumns) FROM api_key WHERE tenant_id = $1 AND id = $2")
    static let keyPage = Statement(
        "key_page",
        """
        SELECT \(keyColumns) FROM api_key
        WHERE  tenant_id = $1 AND ($2::text IS NULL OR id > $2) ORDER BY id LIMIT $3
        """)
    static let keyAnyGood = Statement(
        "key_any_good",
        """
        SELECT id FROM api_key WHERE tenant_id = $1 AND revoked_at IS NULL
        AND   (expires_at IS NULL OR expires_at > clock_timestamp()) LIMIT 1
        """)
    /// Never later than it would have expired anyway.
    static let keyExpire = Statement(
        "key_expire",
        """
        UPDATE api_key
        SET    expires_at = least(expires_at, clock_timestamp() + $3 * interval '1 millisecond'),
               changed_at = clock_timestamp()
        WHERE  tenant_id = $1 AND id = $2
        """)
    static let keyRevoke = Statement(
        "key_revoke",
        """
        UPDATE api_key
        SET    revoked_at = coalesce(revoked_at, clock_timestamp()),
               revoked_reason = coalesce(revoked_reason, $3), changed_at = clock_timestamp()
        WHERE  tenant_id = $1 AND id = $2 RETURNING id
        """)

    static let idempotencyFind = Statement(
        "idempotency_find",
        """
        SELECT request_hash, body FROM idempotency
        WHERE  tenant_id = $1 AND key_hash = $2 AND expires_at > clock_timestamp()
        """)
    static let idempotencyExpire = Statement(
        "idempotency_expire",
        """
        DELETE FROM idempotency
        WHERE  tenant_id = $1 AND key_hash = $2 AND expires_at <= clock_timestamp()
        """)
    static let idempotencyInsert = Statement(
        "idempotency_insert",
        """
        INSERT INTO idempotency (tenant_id, key_hash, request_hash, status, body, expires_at)
        VALUES ($1, $2, $3, 201, $4, clock_timestamp() + interval '24 hours')
        """)
}
