internal import IO
package import Postgres

/// A call that may be repeated: its key, and what it asked for.
package struct Idempotency: Hashable, Sendable {
    let keyHash: KeyHash
    let requestHash: KeyHash

    /// - Parameters:
    ///   - key: as the client sent it, unquoted.
    ///   - route: method and path; a key counts for one route of one tenant.
    ///   - body: the request's body, byte for byte.
    package init(key: String, route: String, body: [UInt8]) {
        keyHash = KeyHash(of: "\(route)\n\(key)".utf8)
        requestHash = KeyHash(of: body)
    }

    /// That of one item of a batch: it goes with the item's place.
    package func item(_ index: Int, body: [UInt8]) -> Idempotency {
        let digits = hexadecimal(keyHash.octets)
        return Idempotency(key: "\(digits) \(index)", route: "item", body: body)
    }
}

/// Something made, or found again by its idempotency key.
package struct Made<Value: Sendable>: Sendable {
    package let value: Value
    package let isReplay: Bool
}

/// Tenants, their keys and the audit log, in the database.
package struct Directory: Sendable {
    let pipeline: Pipeline

    package init(_ pipeline: Pipeline) { self.pipeline = pipeline }

    // MARK: Tenants

    /// Makes a tenant. Throws `.nameTaken`, `.idempotencyMismatch`.
    package func createTenant(
        name: String, by actor: Actor, idempotency: Idempotency? = nil
    ) async throws(ControlPlaneError) -> Made<Tenant> {
        if let earlier = try await earlier(idempotency, of: .fleet), let id = Tenant.ID(earlier) {
            return Made(value: try await tenant(id), isReplay: true)
        }
        let id = Tenant.ID(.v7())
        // Remembered first: a twin must meet its own key, not the name that the first one took.
        let before: [Pipeline.Step] =
            [(.enterOperator, [])]
            + remember(idempotency, of: .fleet, resource: id.description)
        do throws(PostgresError) {
            let rows = try await pipeline.transaction(
                before + [
                    (.tenantInsert, [.uuid(id.uuid), .text(name)]),
                    actor.audits("tenant.create", id.description, of: id),
                ])
            return Made(value: try Tenant(try rows[before.count].only()), isReplay: false)
        } catch .uniqueViolation(constraint: "tenant_name_unique") {
            throw .nameTaken
        } catch .uniqueViolation(constraint: "idempotency_pkey") {
            return try await createTenant(name: name, by: actor, idempotency: idempotency)
        } catch {
            throw .postgres(error)
        }
    }

    /// One tenant. Throws `.notFound`.
    package func tenant(_ id: Tenant.ID) async throws(ControlPlaneError) -> Tenant {
        let rows = try await run([(.enterOperator, []), (.tenantByID, [.uuid(id.uuid)])])
        guard let row = rows.first else { throw .notFound("tenant") }
        return try decode(row, Tenant.init)
    }

    /// Tenants in order of their ids, which is that of their making; those after `after`.
    package func tenants(
        after: Tenant.ID?, limit: Int
    ) async throws(ControlPlaneError) -> [Tenant] {
        let rows = try await run([
            (.enterOperator, []), (.tenantPage, [.uuid(after?.uuid), .int8(Int64(limit))]),
        ])
        return try decodeAll(rows, Tenant.init)
    }

    // MARK: Keys

    /// Makes a key. The secret is in the answer and nowhere else; a replay has none.
    ///
    /// Throws `.notFound` for a tenant that is none, `.invalid` for a scope that the tenant's keys
    /// cannot have.
    package func createKey(
        for tenant: Tenant.ID, name: String, scopes: Scopes, expiresAt: Timestamp?,
        by actor: Actor, idempotency: Idempotency? = nil
    ) async throws(ControlPlaneError) -> (key: Made<APIKey>, secret: APIKeySecret?) {
        guard scopes.contains(.operator) == (tenant == .fleet),
            tenant != .fleet || scopes == .operator
        else {
            throw .invalid(
                field: "/scopes",
                reason: tenant == .fleet
                    ? "keys of the fleet have the scope operator and no other"
                    : "only keys of the fleet tenant \(Tenant.ID.fleet) have the scope operator")
        }
        if let id = try await earlier(idempotency, of: tenant) {
            return (Made(value: try await key(id, of: tenant), isReplay: true), nil)
        }
        var random = SystemRandomNumberGenerator()
        let secret = APIKeySecret(using: &random)
        do throws(PostgresError) {
            let made = try await insert(
                secret, for: tenant, name: name, scopes: scopes, expiresAt: expiresAt,
                replaces: nil, by: actor, action: "key.create", before: [],
                after: remember(idempotency, of: tenant, resource: secret.id))
            return (Made(value: made, isReplay: false), secret)
        } catch .uniqueViolation(constraint: "idempotency_pkey") {
            return try await createKey(
                for: tenant, name: name, scopes: scopes, expiresAt: expiresAt, by: actor,
                idempotency: idempotency)
        } catch .foreignKeyViolation {
            throw .notFound("tenant")
        } catch {
            throw .postgres(error)
        }
    }

    /// Makes a key that takes over from another, which stays good for `overlap` more.
    ///
    /// Throws `.notFound`, and `.conflict` when the old key is revoked or expired already.
    package func rotateKey(
        _ id: String, of tenant: Tenant.ID, overlap: Duration, by actor: Actor,
        idempotency: Idempotency? = nil
    ) async throws(ControlPlaneError) -> (key: Made<APIKey>, secret: APIKeySecret?) {
        if let id = try await earlier(idempotency, of: tenant) {
            return (Made(value: try await key(id, of: tenant), isReplay: true), nil)
        }
        let old = try await key(id, of: tenant)
        guard old.revokedAt == nil, old.expiresAt.map({ $0 > .now }) ?? true else {
            throw .conflict("the key is revoked or expired: make a new one")
        }
        var random = SystemRandomNumberGenerator()
        let secret = APIKeySecret(using: &random)
        do throws(PostgresError) {
            let made = try await insert(
                secret, for: tenant, name: old.name, scopes: old.scopes, expiresAt: nil,
                replaces: id, by: actor, action: "key.rotate",
                before: [
                    (.keyExpire, [.uuid(tenant.uuid), .text(id), .int8(overlap.milliseconds)])
                ],
                after: remember(idempotency, of: tenant, resource: secret.id))
            return (Made(value: made, isReplay: false), secret)
        } catch .uniqueViolation(constraint: "idempotency_pkey") {
            return try await rotateKey(
                id, of: tenant, overlap: overlap, by: actor, idempotency: idempotency)
        } catch {
            throw .postgres(error)
        }
    }

    /// Ends a key at once; on every instance within a second. Again is no error.
    package func revokeKey(
        _ id: String, of tenant: Tenant.ID, reason: String?, by actor: Actor
    ) async throws(ControlPlaneError) {
        _ = try await key(id, of: tenant)
        _ = try await run(
            tenant: tenant,
            [
                (.keyRevoke, [.uuid(tenant.uuid), .text(id), .text(reason)]),
                actor.audits("key.revoke", id, of: tenant, reason: reason),
            ])
    }

    package func key(_ id: String, of tenant: Tenant.ID) async throws(ControlPlaneError) -> APIKey {
        let rows = try await run(
            tenant: tenant, [(.keyByID, [.uuid(tenant.uuid), .text(id)])])
        guard let row = rows.first else { throw .notFound("key") }
        return try decode(row, APIKey.init)
    }

    /// A tenant's keys in order of their ids. Throws `.notFound` for a tenant that is none.
    package func keys(
        of tenant: Tenant.ID, after: String?, limit: Int
    ) async throws(ControlPlaneError) -> [APIKey] {
        let rows = try await run(
            tenant: tenant, [(.keyPage, [.uuid(tenant.uuid), .text(after), .int8(Int64(limit))])])
        if rows.isEmpty && after == nil { try await requireTenant(tenant) }
        return try decodeAll(rows, APIKey.init)
    }

    /// Makes sure that an operator's key that was given from outside works. Idempotent.
    package func adoptOperatorKey(_ secret: APIKeySecret) async throws(ControlPlaneError) {
        do throws(PostgresError) {
            _ = try await pipeline.transaction(
                tenant: Tenant.ID.fleet.uuid,
                [
                    (
                        .keyAdopt,
                        [
                            .uuid(Tenant.ID.fleet.uuid), .text(secret.id),
                            .bytea(secret.hash.octets),
                        ]
                    )
                ])
        } catch {
            throw .postgres(error)
        }
    }

    /// Whether any operator's key is good now.
    package func hasOperatorKey() async throws(ControlPlaneError) -> Bool {
        let fleet = Tenant.ID.fleet
        return try await !run(tenant: fleet, [(.keyAnyGood, [.uuid(fleet.uuid)])]).isEmpty
    }

    // MARK: Audit

    /// A tenant's audit rows, the newest first; those before `before`.
    package func audit(
        of tenant: Tenant.ID, before: UUID?, limit: Int
    ) async throws(ControlPlaneError) -> [AuditEntry] {
        let rows = try await run(
            tenant: tenant,
            [(.auditPage, [.uuid(tenant.uuid), .uuid(before), .int8(Int64(limit))])])
        if rows.isEmpty && before == nil { try await requireTenant(tenant) }
        return try decodeAll(rows, AuditEntry.init)
    }
}

extension Directory {
    private func requireTenant(_ id: Tenant.ID) async throws(ControlPlaneError) {
        if try await run(tenant: id, [(.tenantByID, [.uuid(id.uuid)])]).isEmpty {
            throw .notFound("tenant")
        }
    }

    /// The rows of the last step.
    func run(
        tenant: Tenant.ID? = nil, _ steps: [Pipeline.Step]
    ) async throws(ControlPlaneError) -> Rows {
        do throws(PostgresError) {
            let rows = try await pipeline.transaction(tenant: tenant?.uuid, steps)
            guard let last = rows.last else { throw .decode("no answer") }
            return last
        } catch {
            throw .postgres(error)
        }
    }

    private func insert(
        _ secret: APIKeySecret, for tenant: Tenant.ID, name: String, scopes: Scopes,
        expiresAt: Timestamp?, replaces: String?, by actor: Actor, action: String,
        before: [Pipeline.Step], after: [Pipeline.Step]
    ) async throws(PostgresError) -> APIKey {
        let insert: Pipeline.Step = (
            .keyInsert,
            [
                .uuid(tenant.uuid), .text(secret.id), .bytea(secret.hash.octets), .text(name),
                .texts(scopes.names), .text(actor.name), .timestamp(expiresAt), .text(replaces),
            ]
        )
        let audit = actor.audits(action, replaces ?? secret.id, of: tenant)
        let rows = try await pipeline.transaction(
            tenant: tenant.uuid, before + [insert, audit] + after)
        return try APIKey(try rows[before.count].only())
    }

    /// What an idempotency key made before, if it was used: the resource's id.
    func earlier(
        _ idempotency: Idempotency?, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> String? {
        guard let idempotency else { return nil }
        let rows = try await run(
            tenant: tenant,
            [(.idempotencyFind, [.uuid(tenant.uuid), .bytea(idempotency.keyHash.octets)])])
        guard let row = rows.first else { return nil }
        let (request, resource) = try decode(row) { row throws(PostgresError) in
            (KeyHash(try row.bytes("request_hash")), try row.text("body"))
        }
        guard request == idempotency.requestHash else { throw .idempotencyMismatch }
        return resource
    }

    /// The step that remembers it, in the transaction that makes the resource: a twin waits on the
    /// unique index and then finds the first one's answer.
    func remember(
        _ idempotency: Idempotency?, of tenant: Tenant.ID, resource: String
    ) -> [Pipeline.Step] {
        guard let idempotency else { return [] }
        return [
            // One that has expired and was not cleaned up yet gives way.
            (.idempotencyExpire, [.uuid(tenant.uuid), .bytea(idempotency.keyHash.octets)]),
            (
                .idempotencyInsert,
                [
                    .uuid(tenant.uuid), .bytea(idempotency.keyHash.octets),
                    .bytea(idempotency.requestHash.octets), .text(resource),
                ]
            ),
        ]
    }
}

/// Rows to values; a row of another shape is a fault of ours, told as the database's.
func decode<Value>(
    _ row: Row, _ make: (Row) throws(PostgresError) -> Value
) throws(ControlPlaneError) -> Value {
    do throws(PostgresError) { return try make(row) } catch { throw .postgres(error) }
}

func decodeAll<Value>(
    _ rows: Rows, _ make: (Row) throws(PostgresError) -> Value
) throws(ControlPlaneError) -> [Value] {
    var values: [Value] = []
    values.reserveCapacity(rows.count)
    for row in rows { values.append(try decode(row, make)) }
    return values
}
