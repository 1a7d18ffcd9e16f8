internal import JSON
package import Postgres

/// Policies in the database. Every change is in force everywhere when it is answered.
package struct Policies: Sendable {
    private let pipeline: Pipeline

    package init(_ pipeline: Pipeline) { self.pipeline = pipeline }

    /// In order of their operations; those after `after`.
    package func list(
        of tenant: Tenant.ID, after: String?, limit: Int
    ) async throws(ControlPlaneError) -> [Policy] {
        try decodeAll(
            try await run(
                tenant, [(.policyPage, [.uuid(tenant.uuid), .text(after), .int8(Int64(limit))])]),
            Policy.init)
    }

    /// Throws `.notFound`.
    package func policy(
        for operation: String, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Policy {
        guard let policy = try await find(operation, of: tenant) else { throw .notFound("policy") }
        return policy
    }

    /// Makes or replaces a policy. Throws `.versionNeeded`, `.outdated`, `.tooManyOperations`.
    package func put(
        _ operation: String, limits: [Limit], admitsOnOutage: Bool, of tenant: Tenant.ID,
        if precondition: Precondition, by actor: Actor
    ) async throws(ControlPlaneError) -> (policy: Policy, isNew: Bool) {
        let found = try await change(
            operation, of: tenant, if: precondition, by: actor, "policy.put"
        ) {
            found in
            (
                .policyPut,
                [
                    .uuid(tenant.uuid), .text(operation), .jsonb(text(limits)),
                    .text(admitsOnOutage ? "allow" : "deny"), .text(actor.name),
                ] + windows(limits + (found?.override?.limits ?? []))
            )
        }
        return (try await policy(for: operation, of: tenant), found == nil)
    }

    /// Lets other limits stand in for a policy's until a time. Throws `.notFound`, `.outdated`.
    package func override(
        _ operation: String, with override: Policy.Override, of tenant: Tenant.ID,
        if precondition: Precondition, by actor: Actor
    ) async throws(ControlPlaneError) -> Policy {
        let existing = try await policy(for: operation, of: tenant)
        _ = try await change(
            operation, of: tenant,
            if: precondition == .none ? .version(existing.version) : precondition,
            by: actor, "policy.override", reason: override.reason
        ) { found in
            (
                .policyOverride,
                [
                    .uuid(tenant.uuid), .text(operation), .jsonb(text(override.limits)),
                    .timestamp(override.expiresAt), .text(override.reason), .text(override.author),
                ] + windows(override.limits + (found?.limits ?? []))
            )
        }
        return try await policy(for: operation, of: tenant)
    }

    /// Ends an override. Throws `.notFound` where there is none.
    package func endOverride(
        _ operation: String, of tenant: Tenant.ID, by actor: Actor
    ) async throws(ControlPlaneError) {
        guard let found = try await find(operation, of: tenant), found.override != nil else {
            throw .notFound("override")
        }
        _ = try await change(
            operation, of: tenant, if: .version(found.version), by: actor, "policy.override.end"
        ) { found in
            (
                .policyOverride,
                [
                    .uuid(tenant.uuid), .text(operation), .jsonb(nil), .timestamp(nil), .text(nil),
                    .text(nil),
                ] + windows(found?.limits ?? [])
            )
        }
    }

    /// Throws `.notFound`, `.versionNeeded`, `.outdated`.
    package func delete(
        _ operation: String, of tenant: Tenant.ID, if precondition: Precondition, by actor: Actor
    ) async throws(ControlPlaneError) {
        guard try await find(operation, of: tenant) != nil else { throw .notFound("policy") }
        _ = try await change(operation, of: tenant, if: precondition, by: actor, "policy.delete") {
            _ in
            (.policyDelete, [.uuid(tenant.uuid), .text(operation)])
        }
    }
}

extension Policies {
    /// The rows of the last step.
    private func run(
        _ tenant: Tenant.ID, _ steps: [Pipeline.Step]
    ) async throws(ControlPlaneError) -> Rows {
        do throws(PostgresError) {
            guard let last = try await pipeline.transaction(tenant: tenant.uuid, steps).last else {
                throw .decode("no answer")
            }
            return last
        } catch {
            throw .postgres(error)
        }
    }

    private func find(
        _ operation: String, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Policy? {
        let rows = try await run(tenant, [(.policyFind, [.uuid(tenant.uuid), .text(operation)])])
        guard let row = rows.first else { return nil }
        return try decode(row, Policy.init)
    }

    /// One change in one transaction: what is there is read under a lock, its version checked, and
    /// last the logs are made to fit. Answers what was there before.
    private func change(
        _ operation: String, of tenant: Tenant.ID, if precondition: Precondition, by actor: Actor,
        _ action: String, reason: String? = nil,
        _ step: (Policy?) -> Pipeline.Step
    ) async throws(ControlPlaneError) -> Policy? {
        let key: [Parameter] = [.uuid(tenant.uuid), .text(operation)]
        let outcome: Result<Policy?, ControlPlaneError>
        do throws(PostgresError) {
            outcome = try await pipeline.withTransaction(tenant: tenant.uuid) {
                transaction throws(PostgresError) in
                // Of one name at a time, also where there is no row yet that could be locked.
                _ = try await transaction.execute(.policyLock, key)
                let row = try await transaction.execute(.policyFind, key).first
                let found: Policy? = if let row { try Policy(row) } else { nil }
                do throws(ControlPlaneError) {
                    try precondition.check(found?.version)
                } catch {
                    return .failure(error)
                }
                if operation != "*" {
                    let number = try await transaction.execute(
                        .numbers, [.uuids([tenant.uuid]), .texts([operation]), .bools([true])])
                    if try number.only().int16IfPresent(1) == nil {
                        return .failure(.tooManyOperations)
                    }
                }
                let audit = actor.audits(action, operation, of: tenant, reason: reason)
                for (statement, parameters) in [
                    step(found), audit, (.policiesChanged, [.uuid(tenant.uuid)]),
                ] { _ = try await transaction.execute(statement, parameters) }
                return .success(found)
            }
        } catch {
            throw .postgres(error)
        }
        return try outcome.get()
    }
}

/// Limits as their column holds them.
private func text(_ limits: [Limit]) -> String {
    var writer = JSONWriter()
    writer.array { writer in for limit in limits { writer.value(limit) } }
    return String(decoding: writer.bytes, as: UTF8.self)
}

/// The longest window of those that `usage_log` holds, and of the longer ones; 0: none.
private func windows(_ limits: [Limit]) -> [Parameter] {
    let windows = limits.map(\.window)
    let hot = windows.filter { $0 <= Limit.longestHotWindow }.max() ?? 0
    let long = windows.filter { $0 > Limit.longestHotWindow }.max() ?? 0
    return [.int4(hot), .int4(long)]
}

extension Statement {
    private static let policyColumns = """
        operation, version, limits, on_outage, updated_at, updated_by, override, override_until,
        override_reason, override_by
        """
    /// The one that the tenant's set will have: a policy that is deleted and made again never has the
    /// version of another one before it.
    private static let nextVersion =
        "coalesce((SELECT s.version FROM policy_set AS s WHERE s.tenant_id = $1), 0) + 1"
    fileprivate static let policyPage = Statement(
        "policy_page",
        """
        SELECT \(policyColumns) FROM policy
        WHERE  tenant_id = $1 AND ($2::text IS NULL OR operation > $2) ORDER BY operation LIMIT $3
        """)
    fileprivate static let policyFind = Statement(
        "policy_find",
        "SELECT \(policyColumns) FROM policy WHERE tenant_id = $1 AND operation = $2")
    fileprivate static let policyLock = Statement(
        "policy_lock",
        "SELECT pg_advisory_xact_lock(hashtextextended($2, uuid_hash_extended($1, -3)))")
    fileprivate static let policyPut = Statement(
        "policy_put",
        """
        INSERT INTO policy AS p (tenant_id, operation, limits, on_outage, updated_by, hot_window_s,
                                 long_window_s, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, \(nextVersion))
        ON CONFLICT (tenant_id, operation) DO UPDATE
        SET    version = excluded.version, limits = $3, on_outage = $4, updated_by = $5,
               updated_at = clock_timestamp(), hot_window_s = $6, long_window_s = $7
        """)
    fileprivate static let policyOverride = Statement(
        "policy_override",
        """
        UPDATE policy
        SET    version = \(nextVersion), override = $3, override_until = $4, override_reason = $5,
               override_by = $6, hot_window_s = $7, long_window_s = $8
        WHERE  tenant_id = $1 AND operation = $2
        """)
    fileprivate static let policyDelete = Statement(
        "policy_delete", "DELETE FROM policy WHERE tenant_id = $1 AND operation = $2")
    fileprivate static let policiesChanged = Statement(
        "policies_changed", "SELECT bw_policies_changed($1)")
}
