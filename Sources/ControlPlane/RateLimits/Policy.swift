package import Postgres

/// The limits of one operation of a tenant, or of all its operations together (`*`).
package struct Policy: Hashable, Sendable {
    package struct Override: Hashable, Sendable {
        package let limits: [Limit]
        package let expiresAt: Timestamp
        package let reason: String?
        package let author: String

        package init(limits: [Limit], expiresAt: Timestamp, reason: String?, author: String) {
            self.limits = limits
            self.expiresAt = expiresAt
            self.reason = reason
            self.author = author
        }
    }

    package let operation: String
    /// Rises with each change; the wire's ETag.
    package let version: Int64
    package let limits: [Limit]
    /// Admit, unrecorded, while the database is away.
    package let admitsOnOutage: Bool
    package let override: Override?
    package let updatedAt: Timestamp
    package let updatedBy: String

    init(_ row: Row) throws(PostgresError) {
        operation = try row.text("operation")
        version = try row.int64("version")
        limits = try storedLimits(try row.json("limits"))
        admitsOnOutage = try row.text("on_outage") == "allow"
        updatedAt = try row.timestamp("updated_at")
        updatedBy = try row.text("updated_by")
        if let text = try row.jsonIfPresent("override") {
            override = Override(
                limits: try storedLimits(text), expiresAt: try row.timestamp("override_until"),
                reason: try row.textIfPresent("override_reason"),
                author: try row.text("override_by"))
        } else {
            override = nil
        }
    }
}

/// Which version of a thing a write is meant for, RFC 9110 section 13.1.
package enum Precondition: Hashable, Sendable {
    /// The caller named none: right for a thing that is new.
    case none
    /// `If-Match`.
    case version(Int64)
    /// `If-Match: *`.
    case exists
    /// `If-None-Match: *`.
    case isNew

    /// Throws `.versionNeeded` or `.outdated` where the write is not for what is there.
    func check(_ version: Int64?) throws(ControlPlaneError) {
        switch (self, version) {
        case (.none, nil), (.isNew, nil), (.exists, .some): return
        case (.none, .some): throw .versionNeeded
        case (.version(let wanted), let found?) where wanted == found: return
        default: throw .outdated
        }
    }
}
