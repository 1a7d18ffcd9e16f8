package import Postgres

/// One act of an administrator; its row is written in the transaction of the act.
package struct AuditEntry: Hashable, Sendable {
    package let id: UUID
    package let at: Timestamp
    package let actor: String
    package let action: String
    package let target: String
    package let reason: String?
    /// JSON object; no secrets.
    package let detail: String
    package let requestID: String?

    init(_ row: Row) throws(PostgresError) {
        id = try row.uuid("id")
        at = try row.timestamp("at")
        actor = try row.text("actor")
        action = try row.text("action")
        target = try row.text("target")
        reason = try row.textIfPresent("reason")
        detail = try row.json("detail")
        requestID = try row.textIfPresent("request_id")
    }
}

/// Who did something, and in which request: what an audit row says beside the act itself.
package struct Actor: Hashable, Sendable {
    package let name: String
    package let requestID: String?

    package init(_ name: String, requestID: String? = nil) {
        self.name = name
        self.requestID = requestID
    }

    package static let system = Actor("system")

    /// The step that writes the row.
    func audits(
        _ action: String, _ target: String, of tenant: Tenant.ID, reason: String? = nil,
        detail: String = "{}"
    ) -> Pipeline.Step {
        (
            .auditInsert,
            [
                .uuid(tenant.uuid), .uuid(.v7()), .text(name), .text(action), .text(target),
                .text(reason), .jsonb(detail), .text(requestID),
            ]
        )
    }
}

extension Statement {
    fileprivate static let auditInsert = Statement(
        "audit_insert",
        """
        INSERT INTO audit_entry (tenant_id, id, actor, action, target, reason, detail, request_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """)
    static let auditPage = Statement(
        "audit_page",
        """
        SELECT id, at, actor, action, target, reason, detail, request_id FROM audit_entry
        WHERE  tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        """)
}
