internal import JSON
internal import Postgres

/// Suspending tenants, and deleting them.
extension Directory {
    /// Makes a tenant's keys refused, on every instance within a second. Again changes nothing.
    ///
    /// Throws `.notFound`, and `.conflict` for the fleet, whose keys are the operators'.
    package func suspend(
        _ id: Tenant.ID, reason: String?, by actor: Actor
    ) async throws(ControlPlaneError) -> Tenant {
        if id == .fleet { throw .conflict("the fleet cannot be suspended") }
        return try await change(.tenantSuspend, id, reason: reason, "tenant.suspend", by: actor)
    }

    /// Lets a tenant's keys work again, on every instance within a second. Again changes nothing.
    ///
    /// Throws `.notFound`, and `.conflict` when it is being deleted.
    package func resume(
        _ id: Tenant.ID, by actor: Actor
    ) async throws(ControlPlaneError) -> Tenant {
        let tenant = try await change(.tenantResume, id, "tenant.resume", by: actor)
        if tenant.deletedAt != nil { throw .conflict("the tenant is being deleted") }
        return tenant
    }

    /// Begins to remove a suspended tenant and all its rows, for good; `TenantRemovalJob` does it. Again
    /// changes nothing.
    ///
    /// - Parameter name: the tenant's, so that a wrong id deletes nobody.
    ///
    /// Throws `.notFound`, `.invalid` for another name, `.conflict` for one that is not suspended.
    package func delete(
        _ id: Tenant.ID, confirm name: String, by actor: Actor
    ) async throws(ControlPlaneError) -> Tenant {
        let found = try await tenant(id)
        if found.name != name {
            throw .invalid(field: "confirm", reason: "must be the tenant's name, letter by letter")
        }
        if id == .fleet { throw .conflict("the fleet cannot be deleted") }
        if found.deletedAt != nil { return found }
        var detail = JSONWriter()
        detail.object { $0.member("name", name) }
        // Its own audit goes with it; the fleet's keeps who deleted it.
        let audit = actor.audits(
            "tenant.delete", id.description, of: .fleet, reason: found.suspendedReason,
            detail: String(decoding: detail.bytes, as: UTF8.self))
        let rows = try await run([
            (.enterOperator, []),
            (.tenantDelete, [.uuid(id.uuid)] + audit.parameters + [.text(name)]),
        ])
        if let row = rows.first { return try decode(row, Tenant.init) }
        let now = try await tenant(id)
        if now.deletedAt != nil { return now }
        throw .conflict("suspend the tenant first: POST /v1/admin/tenants/\(id)/suspend")
    }

    /// The changed tenant; as it is if there was nothing to change.
    private func change(
        _ statement: Statement, _ id: Tenant.ID, reason: String? = nil, _ action: String,
        by actor: Actor
    ) async throws(ControlPlaneError) -> Tenant {
        let audit = actor.audits(action, id.description, of: id, reason: reason)
        let rows = try await run([
            (.enterOperator, []), (statement, [.uuid(id.uuid)] + audit.parameters),
        ])
        guard let row = rows.first else { return try await tenant(id) }
        return try decode(row, Tenant.init)
    }
}

extension Statement {
    /// Changes one tenant and writes the act's audit row, or neither. $1 is the tenant, the others are
    /// the audit row's.
    private static func tenantChange(
        _ name: String, set: String, where condition: String
    ) -> Statement {
        Statement(
            name,
            """
            WITH changed AS (
                UPDATE tenant SET \(set), changed_at = clock_timestamp()
                WHERE  id = $1 AND \(condition) RETURNING \(tenantColumns)),
            noted AS (
                \(auditInsert(from: 2)) FROM changed)
            SELECT \(tenantColumns) FROM changed
            """)
    }

    fileprivate static let tenantSuspend = tenantChange(
        "tenant_suspend", set: "suspended_at = clock_timestamp(), suspended_reason = $7",
        where: "suspended_at IS NULL")
    fileprivate static let tenantResume = tenantChange(
        "tenant_resume", set: "suspended_at = NULL, suspended_reason = NULL",
        where: "suspended_at IS NOT NULL AND deleted_at IS NULL")
    fileprivate static let tenantDelete = tenantChange(
        "tenant_delete", set: "deleted_at = clock_timestamp()",
        where: "suspended_at IS NOT NULL AND deleted_at IS NULL AND name = $11")
}
