internal import IO
package import Postgres

/// Removes the rows of tenants that an operator deleted, the row of `tenant` last.
///
/// In transactions of some thousand rows, on a connection of its own: whoever else works on those tables
/// is not held up. A tenant is left for `grace` first, until no instance takes its keys any more, and is
/// swept twice, `settle` apart, since a roll-up that read the log before may still add to a table.
package struct TenantRemovalJob: Job {
    package struct Settings: Sendable {
        /// Longer than the time for which a changed key is asked for (`KeyCache`, 15 s).
        package var grace: Duration = .seconds(20)
        /// Longer than any statement may run, and than denials are held before they are flushed.
        package var settle: Duration = .seconds(60)
        package var interval: Duration = .seconds(30)
        /// Rows of one statement.
        package var chunk = 5_000

        package init() {}
    }

    package let name = "tenant-removal"
    package var interval: Duration { settings.interval }
    private let settings: Settings

    package init(_ settings: Settings = Settings()) { self.settings = settings }

    package func run(_ pipeline: Pipeline) async throws(ControlPlaneError) -> String {
        let due = try await Directory(pipeline).run([
            (.enterOperator, []), (.removalDue, [.int8(settings.grace.milliseconds)]),
        ])
        var swept = 0
        var removed = 0
        do throws(PostgresError) {
            for row in due {
                let tenant = Tenant.ID(try row.uuid("id"))
                let rows = try await sweep(tenant, pipeline)
                swept += rows
                if rows == 0, try await end(tenant, pipeline) {
                    removed += 1
                } else {
                    try await note(tenant, rows, pipeline)
                }
            }
        } catch {
            throw .postgres(error)
        }
        return report([("rows", swept), ("tenants", removed)])
    }

    /// Removes all rows but those that go with the tenant's own; answers how many there were.
    private func sweep(
        _ tenant: Tenant.ID, _ pipeline: Pipeline
    ) async throws(PostgresError) -> Int {
        var removed = 0
        for statement in Statement.removals {
            while true {
                let rows = try await pipeline.transaction([
                    (.enterOperator, []),
                    (statement, [.uuid(tenant.uuid), .int8(Int64(settings.chunk))]),
                ])
                let count = Int(try rows[1].only().int64(0))
                removed += count
                if count < settings.chunk { break }
            }
        }
        return removed
    }

    /// Notes a sweep that found something.
    private func note(
        _ tenant: Tenant.ID, _ rows: Int, _ pipeline: Pipeline
    ) async throws(PostgresError) {
        guard rows > 0 else { return }
        _ = try await pipeline.transaction([
            (.enterOperator, []), (.removalSwept, [.uuid(tenant.uuid)]),
        ])
    }

    /// Removes the tenant's own row, if the last sweep that found something is old enough.
    private func end(_ tenant: Tenant.ID, _ pipeline: Pipeline) async throws(PostgresError) -> Bool
    {
        let audit = Actor.system.audits("tenant.removed", tenant.description, of: .fleet)
        let rows = try await pipeline.transaction([
            (.enterOperator, []),
            (
                .removalEnd,
                [.uuid(tenant.uuid)] + audit.parameters + [.int8(settings.settle.milliseconds)]
            ),
        ])
        return !rows[1].isEmpty
    }
}

extension Statement {
    fileprivate static let removalDue = Statement(
        "removal_due",
        """
        SELECT id FROM tenant
        WHERE  deleted_at < clock_timestamp() - $1 * interval '1 millisecond' ORDER BY deleted_at
        """)
    fileprivate static let removalSwept = Statement(
        "removal_swept", "UPDATE tenant SET swept_at = clock_timestamp() WHERE id = $1")
    fileprivate static let removalEnd = Statement(
        "removal_end",
        """
        WITH gone AS (
            DELETE FROM tenant WHERE id = $1 AND deleted_at IS NOT NULL
            AND   (swept_at IS NULL
                   OR swept_at < clock_timestamp() - $11 * interval '1 millisecond')
            RETURNING id),
        noted AS (
            \(auditInsert(from: 2)) FROM gone)
        SELECT id FROM gone
        """)

    /// One for each table whose rows do not go with the tenant's own.
    fileprivate static let removals: [Statement] = TenantTable.all.compactMap { table in
        guard case .chunks = table.removal else { return nil }
        let key = table.key.map(\.column).joined(separator: ", ")
        return Statement(
            "removal_\(table.name)",
            """
            WITH gone AS (
                DELETE FROM \(table.name) WHERE tenant_id = $1 AND (\(key)) IN (
                    SELECT \(key) FROM \(table.name) WHERE tenant_id = $1 ORDER BY \(key) LIMIT $2)
                RETURNING 1)
            SELECT count(*) FROM gone
            """)
    }
}
