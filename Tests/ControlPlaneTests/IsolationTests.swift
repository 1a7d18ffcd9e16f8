import ControlPlane
import IO
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `Row-level security` {
    @Test(.proves("H1"))
    func `is on and forced, with a policy, on every table that has a tenant`() async throws {
        try await Plane.with { plane in
            let rows = try Session(Conninfo(url: plane.url)).execute(
                """
                SELECT c.relname::text, c.relrowsecurity, c.relforcerowsecurity, c.relispartition,
                       (SELECT count(*) FROM pg_policy AS p WHERE p.polrelid = c.oid)
                FROM   pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
                WHERE  a.attname = 'tenant_id' AND c.relkind IN ('r', 'p')
                AND    c.relnamespace = 'public'::regnamespace
                """)
            #expect(rows.count > 8)
            for row in rows {
                let name = try row.text(0)
                #expect(try row.bool(1) && row.bool(2), "\(name)")
                // A partition is reached through its parent's policies; by itself it is closed.
                #expect(try row.bool(3) || row.int64(4) > 0, "\(name)")
            }
        }
    }

    @Test(.proves("H1"))
    func `shows nothing without a tenant, and the own rows with one`() async throws {
        try await Plane.with { plane in
            let (one, two) = (try await plane.makeTenant(), try await plane.makeTenant())
            for tenant in [one, two] {
                _ = try await plane.directory.createKey(
                    for: tenant, name: "k", scopes: .record, expiresAt: nil, by: .system)
                _ = try await plane.ledger.record("op", cost: 1, for: tenant)
                _ = try await Regions(plane.reads, plane.secrets).put(
                    "eu",
                    Regions.Draft(
                        apiURL: "https://api.example", domain: "a.example", apiKey: "key"),
                    of: tenant, if: .none, by: .system)
            }
            for table in [
                "tenant", "api_key", "audit_entry", "operation", "usage_log", "region",
                "region_set",
            ] {
                let count = Statement("count_\(table)", "SELECT count(*) FROM \(table)")
                let column = table == "tenant" ? "id" : "tenant_id"
                let foreign = Statement(
                    "foreign_\(table)", "SELECT count(*) FROM \(table) WHERE \(column) <> $1")
                let blind = try await plane.reads.execute(count).only().int64(0)
                #expect(blind == 0, "\(table)")
                let own = try await plane.reads.transaction(tenant: one.uuid, [(count, [])])
                #expect(try own[0].only().int64(0) > 0, "\(table)")
                let others = try await plane.reads.transaction(
                    tenant: one.uuid, [(foreign, [.uuid(one.uuid)])])
                #expect(try others[0].only().int64(0) == 0, "\(table)")
            }
        }
    }

    @Test(.proves("H1"))
    func `leaves the serving role no table, no bypass and no direct write to the log`() async throws
    {
        try await Plane.with { plane in
            let session = try Session(Conninfo(url: plane.url))
            let roles = try session.execute(
                "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname IN ('bw_app', 'bw_ledger', 'bw_operator')"
            )
            for role in roles { #expect(try !role.bool(0)) }
            let owned = try session.execute(
                "SELECT count(*) FROM pg_class WHERE relowner = 'bw_app'::regrole")
            #expect(try owned.only().int64(0) == 0)
            let tenant = try await plane.makeTenant()
            await #expect(throws: PostgresError.self) {
                try await plane.reads.transaction(
                    tenant: tenant.uuid,
                    [
                        (
                            Statement(
                                "write_log",
                                "INSERT INTO usage_log (at, cum, tenant_id, units, op) VALUES (now(), 1, $1, 1, 1)"
                            ),
                            [.uuid(tenant.uuid)]
                        )
                    ])
            }
        }
    }

    @Test(.proves("H1"))
    func `counts each tenant of one batch for itself`() async throws {
        try await Plane.with { plane in
            var tenants: [Tenant.ID] = []
            for _ in 0..<5 { tenants.append(try await plane.makeTenant()) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (index, tenant) in tenants.enumerated() {
                    for _ in 0...index {
                        group.addTask(executorPreference: plane.loop) {
                            _ = try await plane.ledger.record("op", cost: 1, for: tenant)
                        }
                    }
                }
                try await group.waitForAll()
            }
            for (index, tenant) in tenants.enumerated() {
                #expect(try await plane.ledger.count("op", for: tenant) == index + 1)
            }
        }
    }
}

@Suite struct `A key` {
    @Test(.proves("H1"))
    func `that is revoked at one instance is refused at another within a second`() async throws {
        try await Plane.with { first in
            try await Plane.with(url: first.url) { second in
                let tenant = try await first.makeTenant()
                let (key, secret) = try await first.directory.createKey(
                    for: tenant, name: "", scopes: .record, expiresAt: nil, by: .system)
                let text = Array(try #require(secret).text.utf8)
                #expect(try await second.keys.caller(for: text).tenant == tenant)
                try await first.directory.revokeKey(
                    key.value.id, of: tenant, reason: "test", by: .system)
                let revoked = MonotonicInstant.now
                while (try? await second.keys.caller(for: text)) != nil {
                    try #require(revoked.duration(to: .now) < .seconds(1))
                    try await Task.sleep(for: .milliseconds(5))
                }
                await #expect(throws: ControlPlaneError.badCredentials) {
                    try await second.keys.caller(for: text)
                }
            }
        }
    }

    @Test(.proves("H1"))
    func `that was rotated works beside its successor until the overlap is over`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let (old, secret) = try await plane.directory.createKey(
                for: tenant, name: "n", scopes: [.record, .read], expiresAt: nil, by: .system)
            let oldText = Array(try #require(secret).text.utf8)
            let (new, newSecret) = try await plane.directory.rotateKey(
                old.value.id, of: tenant, overlap: .milliseconds(700), by: .system)
            #expect(new.value.replaces == old.value.id && new.value.scopes == [.record, .read])
            let newText = Array(try #require(newSecret).text.utf8)
            #expect(try await plane.keys.caller(for: oldText).tenant == tenant)
            #expect(try await plane.keys.caller(for: newText).tenant == tenant)
            let end = MonotonicInstant.now.advanced(by: .seconds(3))
            while (try? await plane.keys.caller(for: oldText)) != nil {
                try #require(MonotonicInstant.now < end)
                try await Task.sleep(for: .milliseconds(20))
            }
            #expect(try await plane.keys.caller(for: newText).tenant == tenant)
        }
    }

    @Test(.proves("H1"))
    func `that expired, or never was, is refused`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let (_, secret) = try await plane.directory.createKey(
                for: tenant, name: "", scopes: .record, expiresAt: .now + .milliseconds(-1),
                by: .system)
            var random = SystemRandomNumberGenerator()
            for text in [try #require(secret).text, APIKeySecret(using: &random).text, "e2b_", ""] {
                await #expect(throws: ControlPlaneError.badCredentials) {
                    try await plane.keys.caller(for: Array(text.utf8))
                }
            }
        }
    }

    @Test func `of the fleet, and only such a one, may be an operator's`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            for (owner, scopes) in [(tenant, Scopes.operator), (.fleet, .record)] {
                await #expect(throws: ControlPlaneError.self) {
                    try await plane.directory.createKey(
                        for: owner, name: "", scopes: scopes, expiresAt: nil, by: .system)
                }
            }
        }
    }
}

@Suite struct `A repeated call` {
    @Test(.proves("H2"))
    func `with an idempotency key makes one thing, also when both come at once`() async throws {
        try await Plane.with { plane in
            let key = Idempotency(key: "k", route: "POST /v1/admin/tenants", body: [1])
            let ids = try await withThrowingTaskGroup(of: Tenant.ID.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        try await plane.directory.createTenant(
                            name: "once", by: .system, idempotency: key
                        ).value.id
                    }
                }
                return try await group.reduce(into: Set<Tenant.ID>()) { $0.insert($1) }
            }
            #expect(ids.count == 1)
            let other = Idempotency(key: "k", route: "POST /v1/admin/tenants", body: [2])
            await #expect(throws: ControlPlaneError.idempotencyMismatch) {
                try await plane.directory.createTenant(
                    name: "twice", by: .system, idempotency: other)
            }
            await #expect(throws: ControlPlaneError.nameTaken) {
                try await plane.directory.createTenant(name: "once", by: .system)
            }
        }
    }
}
