package import IO
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
    /// Where the call came from; nil for the service itself.
    package let address: String?

    init(_ row: Row) throws(PostgresError) {
        id = try row.uuid("id")
        at = try row.timestamp("at")
        actor = try row.text("actor")
        action = try row.text("action")
        target = try row.text("target")
        reason = try row.textIfPresent("reason")
        detail = try row.json("detail")
        requestID = try row.textIfPresent("request_id")
        address = try row.textIfPresent("address")
    }
}

/// Who did something, in which request and from where: what an audit row says beside the act itself.
package struct Actor: Hashable, Sendable {
    package let name: String
    package let requestID: String?
    package let address: IPAddress?

    package init(_ name: String, requestID: String? = nil, address: IPAddress? = nil) {
        self.name = name
        self.requestID = requestID
        self.address = address
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
                .text(reason), .jsonb(detail), .text(requestID), .text(address?.description),
            ]
        )
    }
}

extension Statement {
    fileprivate static let auditInsert = Statement("audit_insert", auditInsert(from: 1))

    /// Writes the row whose values are the parameters from that one on; a FROM may follow.
    static func auditInsert(from first: Int) -> String {
        let values = (first..<first + 8).map { "$\($0)" }.joined(separator: ", ")
        return """
            INSERT INTO audit_entry
                (tenant_id, id, actor, action, target, reason, detail, request_id, address)
            SELECT \(values), $\(first + 8)::inet
            """
    }
    static let auditPage = Statement(
        "audit_page",
        """
        SELECT id, at, actor, action, target, reason, detail, request_id, host(address) AS address
        FROM   audit_entry
        WHERE  tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        """)
}
