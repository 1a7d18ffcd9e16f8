import ControlPlane
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite(.proves("H9")) struct `The list of tables with rows of tenants` {
    @Test func `has every table and every column of the catalogue, each decided about`()
        async throws
    {
        try await Plane.with { plane in
            let session = try Session(Conninfo(url: plane.url))
            var catalogue: [String: Set<String>] = [:]
            let columns = try session.execute(
                """
                SELECT c.relname::text, a.attname::text FROM pg_class AS c
                JOIN   pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                WHERE  c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
                AND    NOT c.relispartition AND EXISTS (
                    SELECT FROM pg_attribute AS t WHERE t.attrelid = c.oid AND t.attname = 'tenant_id')
                """)
            for row in columns { catalogue[try row.text(0), default: []].insert(try row.text(1)) }
            #expect(Set(catalogue.keys) == Set(TenantTable.all.map(\.name)))
            for table in TenantTable.all {
                guard case .lines(_, let shown, let hidden) = table.export else { continue }
                #expect(
                    catalogue[table.name] == Set(shown + hidden + ["tenant_id"]), "\(table.name)")
            }
        }
    }

    @Test func `names a unique key of each, and who may remove it`() async throws {
        try await Plane.with { plane in
            let session = try Session(Conninfo(url: plane.url))
            for table in TenantTable.all {
                let key = Set(["tenant_id"] + table.key.map(\.column))
                let unique = try session.execute(
                    """
                    SELECT array_agg(a.attname::text) AS columns FROM pg_index AS i
                    JOIN   pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                    WHERE  i.indrelid = $1::text::regclass AND i.indisunique GROUP BY i.indexrelid
                    """, .text(table.name))
                let keys = try unique.map { row throws in Set(try row.texts("columns")) }
                #expect(keys.contains(key), "\(table.name): \(keys)")
                let row = try session.execute(
                    """
                    SELECT has_table_privilege('bw_operator', $1::text, 'DELETE'), EXISTS (
                        SELECT FROM pg_constraint WHERE conrelid = $1::text::regclass
                        AND confrelid = 'tenant'::regclass AND confdeltype = 'c')
                    """, .text(table.name)
                ).only()
                switch table.removal {
                case .chunks: #expect(try row.bool(0), "\(table.name): bw_operator may not")
                case .cascade: #expect(try row.bool(1), "\(table.name): no cascading key")
                }
            }
        }
    }
}

@Suite(.proves("H9")) struct `A deleted tenant` {
    private static let atOnce = {
        var settings = TenantRemovalJob.Settings()
        (settings.grace, settings.settle, settings.chunk) = (.seconds(0), .seconds(0), 10)
        return settings
    }()

    private func suspendedAndDeleted(_ plane: Plane) async throws -> Tenant.ID {
        let tenant = try await plane.makeTenant("acme")
        _ = try await plane.directory.suspend(tenant, reason: "gone", by: .system)
        _ = try await plane.directory.delete(tenant, confirm: "acme", by: Actor("key:1"))
        return tenant
    }

    @Test func `leaves no row in any table, and takes none of another's`() async throws {
        try await Plane.with { plane in
            let leaving = try await suspendedAndDeleted(plane)
            let other = try await plane.makeTenant()
            try plane.fill(leaving, "leaving", count: 25)
            try plane.fill(other, "other", count: 25)
            let before = try plane.rowCounts(of: other)
            #expect(before.allSatisfy { $0.value > 0 }, "\(before)")
            #expect(try plane.rowCounts(of: leaving).allSatisfy { $0.value > 0 })
            let job = TenantRemovalJob(Self.atOnce)
            // 9 tables of 25, and 3 audit rows more (made, suspended) or as many as there are.
            let first = try await job.run(plane.reads)
            #expect(first.contains("\"rows\""), "\(first)")
            #expect(!first.contains("\"tenants\""), "\(first)")
            #expect(try await job.run(plane.reads) == #"{"tenants": 1}"#)
            #expect(try plane.rowCounts(of: leaving).allSatisfy { $0.value == 0 })
            #expect(try plane.rowCounts(of: other) == before)
            await #expect(throws: ControlPlaneError.notFound("tenant")) {
                try await plane.directory.tenant(leaving)
            }
            let audit = try await plane.directory.audit(of: .fleet, before: nil, limit: 10)
            #expect(audit.map(\.action) == ["tenant.removed", "tenant.delete"])
            #expect(audit.map(\.target) == [leaving.description, leaving.description])
            #expect(audit[1].actor == "key:1" && audit[1].detail == #"{"name": "acme"}"#)
            #expect(try await job.run(plane.reads) == "{}")
        }
    }

    @Test func `is left alone until no instance can take its keys any more`() async throws {
        try await Plane.with { plane in
            let leaving = try await suspendedAndDeleted(plane)
            try plane.fill(leaving, "leaving", count: 3)
            #expect(try await TenantRemovalJob().run(plane.reads) == "{}")
            #expect(try plane.rowCounts(of: leaving)["usage_log"] == 3)
            #expect(TenantRemovalJob.Settings().grace > KeyCache.Settings().changeSpan)
        }
    }

    @Test func `is swept again for what was under way`() async throws {
        try await Plane.with { plane in
            let leaving = try await suspendedAndDeleted(plane)
            try plane.fill(leaving, "leaving", count: 3)
            var settings = Self.atOnce
            settings.settle = .seconds(60)
            let job = TenantRemovalJob(settings)
            _ = try await job.run(plane.reads)
            // Nothing is left, but it might come: the tenant stays.
            #expect(try await job.run(plane.reads) == "{}")
            #expect(try await plane.directory.tenant(leaving).deletedAt != nil)
            let session = try Session(Conninfo(url: plane.url))
            try session.run("UPDATE tenant SET swept_at = swept_at - interval '61 seconds'")
            #expect(try await job.run(plane.reads) == #"{"tenants": 1}"#)
        }
    }

    @Test func `cannot be had without its name, nor before it is suspended`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant("acme")
            let directory = plane.directory
            await #expect(throws: ControlPlaneError.self) {
                try await directory.delete(tenant, confirm: "Acme", by: .system)
            }
            await #expect(
                throws: ControlPlaneError.conflict(
                    "suspend the tenant first: POST /v1/admin/tenants/\(tenant)/suspend")
            ) { try await directory.delete(tenant, confirm: "acme", by: .system) }
            _ = try await directory.suspend(tenant, reason: nil, by: .system)
            let deleted = try await directory.delete(tenant, confirm: "acme", by: .system)
            // Again is no error, and there is no way back.
            #expect(try await directory.delete(tenant, confirm: "acme", by: .system) == deleted)
            await #expect(throws: ControlPlaneError.conflict("the tenant is being deleted")) {
                try await directory.resume(tenant, by: .system)
            }
            #expect(
                try await directory.audit(of: .fleet, before: nil, limit: 10).map(\.action)
                    == ["tenant.delete"])
            await #expect(throws: ControlPlaneError.conflict("the fleet cannot be deleted")) {
                try await directory.delete(.fleet, confirm: "fleet", by: .system)
            }
        }
    }

    @Test func `is the only one whose audit and log the service's roles can remove`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            try plane.fill(tenant, "kept", count: 3)
            let session = try Session(Conninfo(url: plane.url))
            for table in ["audit_entry", "usage_log", "request_record", "event"] {
                try session.run("BEGIN; SET LOCAL ROLE bw_app; SET LOCAL ROLE bw_operator")
                let gone = try session.execute("DELETE FROM \(table)")
                #expect(gone.affected == 0, "\(table)")
                try session.run("ROLLBACK")
            }
        }
    }
}
