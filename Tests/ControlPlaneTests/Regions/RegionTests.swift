import ControlPlane
import IO
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `A tenant's regions` {
    private static let key = "e2b_0123456789abcdef0123456789abcdef01234567"

    private static func draft(
        account: String? = nil, limits: ProviderAccount.Limits? = nil, key: String? = key,
        priority: Int = 100
    ) -> Regions.Draft {
        Regions.Draft(
            account: account, limits: limits, apiURL: "https://api.e2b.app", domain: "e2b.app",
            apiKey: key, priority: priority)
    }

    @Test(.proves("H1"))
    func `keep the provider's key sealed, and give it to nobody but the call`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let regions = Regions(plane.reads, plane.secrets)
            let (made, isNew) = try await regions.put(
                "eu", Self.draft(), of: tenant, if: .none, by: .system)
            #expect(isNew && made.apiKeyHint == "4567")
            #expect(try made.apiKey(plane.secrets) == Self.key)
            var text = "\(made) \(String(reflecting: made))"
            dump(made, to: &text)
            #expect(!text.contains("sealedKey") && !text.contains(Self.key))

            let session = try Session(Conninfo(url: plane.url))
            let stored = try session.execute("SELECT api_key, region::text FROM region").only()
            #expect(!String(decoding: try stored.bytes(0), as: UTF8.self).contains("e2b_"))
            #expect(try !stored.text(1).contains(Self.key))
            // Another row's key does not open in this one.
            _ = try await regions.put("us", Self.draft(), of: tenant, if: .none, by: .system)
            try session.run(
                "UPDATE region SET api_key = (SELECT api_key FROM region WHERE name = 'us')")
            let moved = try await regions.region("eu", of: tenant)
            #expect(throws: ControlPlaneError.self) { try moved.apiKey(plane.secrets) }
            let audit = try await plane.directory.audit(of: tenant, before: nil, limit: 10)
            #expect(audit.first?.action == "region.put" && audit.first?.target == "us")
            #expect(audit.allSatisfy { !$0.detail.contains(Self.key) })
        }
    }

    @Test func `change by their version, and keep their key when none is given`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let regions = Regions(plane.reads, plane.secrets)
            func put(
                _ draft: Regions.Draft, if precondition: Precondition
            ) async throws(ControlPlaneError) -> Region {
                try await regions.put("eu", draft, of: tenant, if: precondition, by: .system).region
            }
            await #expect(
                throws: ControlPlaneError.invalid(
                    field: "/apiKey", reason: "must be there: the region is new")
            ) { try await put(Self.draft(key: nil), if: .none) }
            let first = try await put(Self.draft(), if: .isNew)
            await #expect(throws: ControlPlaneError.versionNeeded) {
                try await put(Self.draft(), if: .none)
            }
            await #expect(throws: ControlPlaneError.outdated) {
                try await put(Self.draft(), if: .version(first.version + 1))
            }
            let second = try await put(
                Self.draft(key: nil, priority: 5), if: .version(first.version))
            #expect(second.version > first.version && second.priority == 5)
            #expect(try second.apiKey(plane.secrets) == Self.key && second.apiKeyHint == "4567")
            // Nor is it sent elsewhere because nobody named it.
            var elsewhere = Self.draft(key: nil)
            elsewhere.apiURL = "https://api.e2b.app.example"
            await #expect(
                throws: ControlPlaneError.invalid(
                    field: "/apiKey", reason: "must be there: apiUrl is another one")
            ) { try await put(elsewhere, if: .exists) }
            let third = try await put(Self.draft(key: "short"), if: .exists)
            #expect(try third.apiKey(plane.secrets) == "short" && third.apiKeyHint == nil)
            try await regions.delete("eu", of: tenant, if: .exists, by: .system)
            await #expect(throws: ControlPlaneError.notFound("region")) {
                try await regions.delete("eu", of: tenant, if: .exists, by: .system)
            }
            // One that is made again never has a version of before.
            #expect(try await put(Self.draft(), if: .none).version > third.version)
        }
    }

    @Test func `are of tenants that are there, at most 50 of each`() async throws {
        try await Plane.with { plane in
            let regions = Regions(plane.reads, plane.secrets)
            for tenant in [Tenant.ID.fleet, Tenant.ID(.v7())] {
                await #expect(throws: ControlPlaneError.notFound("tenant")) {
                    try await regions.put("eu", Self.draft(), of: tenant, if: .none, by: .system)
                }
            }
            let tenant = try await plane.makeTenant()
            for number in 1...Regions.mostPerTenant {
                _ = try await regions.put(
                    "r\(number)", Self.draft(priority: number % 3), of: tenant, if: .none,
                    by: .system)
            }
            await #expect(throws: ControlPlaneError.self) {
                try await regions.put("r51", Self.draft(), of: tenant, if: .none, by: .system)
            }
            let listed = try await regions.list(of: tenant).map { ($0.priority, $0.name) }
            #expect(listed.count == 50 && zip(listed, listed.dropFirst()).allSatisfy { $0 < $1 })
            await #expect(throws: ControlPlaneError.secretKeyNeeded) {
                try await Regions(plane.reads, SecretBox(nil)).put(
                    "r1", Self.draft(), of: tenant, if: .exists, by: .system)
            }
        }
    }

    @Test(.proves("H1"))
    func `change on every instance within a second, with their account's limits`() async throws {
        try await Plane.with { one in
            let (tenant, other) = (try await one.makeTenant(), try await one.makeTenant())
            let regions = Regions(one.reads, one.secrets)
            for tenant in [tenant, other] {
                _ = try await regions.put(
                    "eu", Self.draft(account: "main"), of: tenant, if: .none, by: .system)
            }
            try await Plane.with(url: one.url) { two in
                for _ in 0..<50 {
                    #expect(try await two.regions.regions(of: tenant).count == 1)
                    #expect(try await two.regions.regions(of: other).first?.priority == 100)
                }
                // At first, and once more if a poll came meanwhile and told that they were made.
                #expect(await two.regions.lookupCount <= 4)
                let limits = ProviderAccount.Limits(createsPerSecond: 5, concurrency: 20)
                _ = try await regions.put(
                    "eu", Self.draft(account: "main", limits: limits, priority: 7), of: tenant,
                    if: .exists, by: .system)
                let took = try await eventually {
                    try await two.regions.regions(of: tenant).first?.priority == 7
                }
                // Half a second, and what a busy machine makes of it.
                #expect(took < .seconds(5), "\(took)")
                // The other tenant's region has the same account.
                try await eventually {
                    try await two.regions.regions(of: other).first?.account.limits == limits
                }
                #expect(try await two.regions.regions(of: other).first?.priority == 100)
                // Limits that are not said stay; those of the region's own account are others.
                _ = try await regions.put(
                    "eu", Self.draft(account: "main"), of: other, if: .exists, by: .system)
                #expect(try await regions.region("eu", of: tenant).account.limits == limits)
                _ = try await regions.put("eu", Self.draft(), of: other, if: .exists, by: .system)
                let own = try await regions.region("eu", of: other).account
                #expect(own.name == nil && own.limits.isEmpty)
                try await regions.delete("eu", of: tenant, if: .exists, by: .system)
                try await eventually { try await two.regions.regions(of: tenant).isEmpty }
            }
        }
    }

    @Test func `are opened anew when they or their account change, here at once`() async throws {
        try await Plane.with { plane in
            let (tenant, other) = (try await plane.makeTenant(), try await plane.makeTenant())
            let regions = Regions(plane.reads, plane.secrets)
            let targets = RegionTargets(plane.regions, plane.secrets, plane.reads)
            for tenant in [tenant, other] {
                _ = try await regions.put(
                    "eu", Self.draft(account: "main"), of: tenant, if: .none, by: .system)
            }
            for _ in 0..<2 {
                #expect(try await targets.find("eu", of: tenant)?.endpoint.apiKey == Self.key)
            }
            let key = String(Self.key.reversed())
            _ = try await regions.put(
                "eu", Self.draft(account: "main", key: key), of: tenant, if: .exists, by: .system)
            await plane.regions.forget(tenant)
            #expect(try await targets.open(to: tenant).map(\.endpoint.apiKey) == [key])
            // By another tenant's region: this one's version stays.
            let limits = ProviderAccount.Limits(createsPerSecond: 5, concurrency: 20)
            _ = try await regions.put(
                "eu", Self.draft(account: "main", limits: limits), of: other, if: .exists,
                by: .system)
            await plane.regions.forget(tenant)
            #expect(try await targets.find("eu", of: tenant)?.account.limits == limits)
            try await regions.delete("eu", of: tenant, if: .exists, by: .system)
            await plane.regions.forget(tenant)
            #expect(try await targets.find("eu", of: tenant) == nil)
        }
    }

    @Test func `take their accounts with them, an hour later`() async throws {
        try await Plane.with { plane in
            let (tenant, other) = (try await plane.makeTenant(), try await plane.makeTenant())
            let regions = Regions(plane.reads, plane.secrets)
            let limits = ProviderAccount.Limits(concurrency: 1)
            for (tenant, account) in [(tenant, "gone"), (other, "kept"), (tenant, nil)] {
                let (region, _) = try await regions.put(
                    account ?? "own", Self.draft(account: account, limits: limits), of: tenant,
                    if: .none, by: .system)
                _ = try await plane.budget.take(region.account, lease: .v7(), for: .seconds(60))
            }
            for name in ["gone", "own"] {
                try await regions.delete(name, of: tenant, if: .exists, by: .system)
            }
            #expect(try await CleanupJob().run(plane.reads).contains("accounts") == false)
            let session = try Session(Conninfo(url: plane.url))
            try session.run("UPDATE provider_account SET updated_at = now() - interval '2 hours'")
            #expect(try await CleanupJob().run(plane.reads).contains(#""accounts": 2"#))
            #expect(try await regions.accounts(after: nil, limit: 9).map(\.account.id) == ["kept"])
            for table in ["creation_budget", "creation_lease"] {
                let rows = try session.execute("SELECT account FROM \(table)")
                #expect(try rows.map { try $0.text(0) } == ["kept"], "\(table)")
            }
        }
    }

    @Test func `have the templates that they name, or all if they name none`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            var draft = Self.draft()
            let regions = Regions(plane.reads, plane.secrets)
            let open = try await regions.put("a", draft, of: tenant, if: .none, by: .system).region
            #expect(open.template("any") == "any")
            draft.templates = ["base": "b4se", "quote\"d": "x"]
            let named = try await regions.put("b", draft, of: tenant, if: .none, by: .system).region
            #expect(named.template("base") == "b4se" && named.template("quote\"d") == "x")
            #expect(named.template("any") == nil)
        }
    }
}
