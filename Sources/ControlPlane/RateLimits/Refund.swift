package import Postgres

/// Units of one record that were given back.
package struct Refund: Hashable, Sendable {
    package let id: UUID
    package let operation: String
    package let units: Int32
    package let recordedAt: Timestamp
    package let refundedAt: Timestamp
    package let isReplay: Bool

    init(_ row: Row, isReplay: Bool) throws(PostgresError) {
        id = try row.uuid("id")
        operation = try row.text("operation")
        units = try row.int32("refunded_units")
        recordedAt = try row.timestamp("at")
        refundedAt = try row.timestamp("refunded_at")
        self.isReplay = isReplay
    }
}

/// Gives back what a record cost: once, at most as much, and only for as long as the record counts.
package struct Refunds: Sendable {
    private let pipeline: Pipeline

    package init(_ pipeline: Pipeline) { self.pipeline = pipeline }

    /// - Parameter units: nil gives all back.
    ///
    /// Throws `.notFound` for a record that is none or did not ask for an id, `.conflict` for one that
    /// was refunded, `.invalid` for more units than it cost, `.idempotencyMismatch`.
    package func refund(
        _ id: UUID, units: Int32?, of tenant: Tenant.ID, idempotency: Idempotency? = nil
    ) async throws(ControlPlaneError) -> Refund {
        let key: [Parameter] = [.uuid(tenant.uuid), .uuid(id)]
        let directory = Directory(pipeline)
        if try await directory.earlier(idempotency, of: tenant) != nil {
            return try await self.refund(of: key, tenant, isReplay: true)
        }
        let hashes: [Parameter] = [
            .bytea(idempotency?.keyHash.octets), .bytea(idempotency?.requestHash.octets),
        ]
        let rows = try await directory.run(
            tenant: tenant, [(.refundAdd, key + [.int4(units)] + hashes)])
        guard let row = rows.first else { throw .notFound("request") }
        let (cost, was, added) = try decode(row) { row throws(PostgresError) in
            (try row.int32("units"), try row.int32IfPresent("was"), try row.bool("added"))
        }
        if added { return try await self.refund(of: key, tenant, isReplay: false) }
        // A twin with the same key waited for the record's row, and finds what the first one did.
        if try await directory.earlier(idempotency, of: tenant) != nil {
            return try await self.refund(of: key, tenant, isReplay: true)
        }
        if was != nil { throw .conflict("the request was refunded already") }
        throw .invalid(field: "/cost", reason: "the request cost \(cost)")
    }

    private func refund(
        of key: [Parameter], _ tenant: Tenant.ID, isReplay: Bool
    ) async throws(ControlPlaneError) -> Refund {
        let rows = try await Directory(pipeline).run(tenant: tenant, [(.refundFind, key)])
        guard let row = rows.first else { throw .notFound("request") }
        return try decode(row) { row throws(PostgresError) in try Refund(row, isReplay: isReplay) }
    }
}

extension Statement {
    /// The record as it was, and whether it is refunded now. Its row's lock makes it once.
    fileprivate static let refundAdd = Statement(
        "refund_add",
        """
        WITH record AS (
            SELECT id, at, op, units, refunded_units AS was FROM request_record
            WHERE  tenant_id = $1 AND id = $2 FOR UPDATE),
        marked AS (
            UPDATE request_record AS r
            SET    refunded_units = coalesce($3, r.units), refunded_at = clock_timestamp()
            FROM   record
            WHERE  r.tenant_id = $1 AND r.id = $2 AND r.at = record.at
            AND    r.refunded_units IS NULL AND coalesce($3, r.units) <= r.units
            RETURNING r.at, r.op, r.id, r.refunded_units),
        added AS (
            INSERT INTO refund (tenant_id, op, at, request_id, units)
            SELECT $1, m.op, m.at, m.id, m.refunded_units FROM marked AS m RETURNING 1),
        remembered AS (
            INSERT INTO idempotency AS i (tenant_id, key_hash, request_hash, status, body, expires_at)
            SELECT $1, $4, $5, 200, m.id::text, clock_timestamp() + interval '24 hours'
            FROM   marked AS m WHERE $4::bytea IS NOT NULL
            -- one that has expired and was not cleaned up yet gives way
            ON CONFLICT (tenant_id, key_hash) DO UPDATE
            SET request_hash = excluded.request_hash, body = excluded.body,
                expires_at = excluded.expires_at)
        SELECT units, was, EXISTS (SELECT FROM added) AS added FROM record
        """)
    fileprivate static let refundFind = Statement(
        "refund_find",
        """
        SELECT r.id, o.name AS operation, r.refunded_units, r.at, r.refunded_at
        FROM   request_record AS r JOIN operation AS o ON o.tenant_id = r.tenant_id AND o.op = r.op
        WHERE  r.tenant_id = $1 AND r.id = $2
        """)
}
