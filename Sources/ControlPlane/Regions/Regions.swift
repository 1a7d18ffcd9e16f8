internal import JSON
package import Postgres

/// Regions and accounts in the database; what operators do with them. Every change is known on all
/// instances within a second (`RegionCache`).
package struct Regions: Sendable {
    /// The most that a tenant may have: each create may look at all of them.
    package static let mostPerTenant = 50

    /// What a region is to be. What is nil stays as it is, or has no value if the region is new.
    package struct Draft: Sendable {
        package var provider: String
        /// Nil: the region's own.
        package var account: String?
        /// Of the account, whoever shares it.
        package var limits: ProviderAccount.Limits?
        package var apiURL: String
        package var domain: String
        package var dataPlaneURL: String?
        package var apiKey: String?
        package var priority: Int
        package var templates: [String: String]
        package var isEnabled: Bool

        package init(
            provider: String = "e2b", account: String? = nil,
            limits: ProviderAccount.Limits? = nil, apiURL: String, domain: String,
            dataPlaneURL: String? = nil, apiKey: String? = nil, priority: Int = 100,
            templates: [String: String] = [:],
            isEnabled: Bool = true
        ) {
            self.provider = provider
            self.account = account
            self.limits = limits
            self.apiURL = apiURL
            self.domain = domain
            self.dataPlaneURL = dataPlaneURL
            self.apiKey = apiKey
            self.priority = priority
            self.templates = templates
            self.isEnabled = isEnabled
        }
    }

    private let pipeline: Pipeline
    private let secrets: SecretBox

    package init(_ pipeline: Pipeline, _ secrets: SecretBox) {
        self.pipeline = pipeline
        self.secrets = secrets
    }

    /// A tenant's regions, the first to be asked first. Empty for a tenant that is none.
    package func list(of tenant: Tenant.ID) async throws(ControlPlaneError) -> [Region] {
        do throws(PostgresError) {
            return try await Self.read([tenant], pipeline)[tenant] ?? []
        } catch {
            throw .postgres(error)
        }
    }

    /// Throws `.notFound`.
    package func region(
        _ name: String, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Region {
        let regions = try await list(of: tenant)
        guard let region = regions.first(where: { $0.name == name }) else {
            throw .notFound("region")
        }
        return region
    }

    /// Makes or replaces a region.
    ///
    /// Throws `.notFound` for a tenant that is none, `.versionNeeded`, `.outdated`, `.invalid` without a
    /// key for one that is new or goes to another URL (a key that is kept must not be sent where nobody
    /// sent it before), `.conflict` past `mostPerTenant`, `.secretKeyNeeded`.
    package func put(
        _ name: String, _ draft: Draft, of tenant: Tenant.ID, if precondition: Precondition,
        by actor: Actor
    ) async throws(ControlPlaneError) -> (region: Region, isNew: Bool) {
        let sealed: [UInt8]?
        if let key = draft.apiKey {
            sealed = try secrets.seal(key, at: Region.place(of: name, tenant))
        } else {
            sealed = nil
        }
        let isNew = try await change(tenant, name, precondition, mustExist: false) {
            transaction, apiURL, count throws(PostgresError) in
            if sealed == nil, apiURL != draft.apiURL {
                let reason = apiURL == nil ? "the region is new" : "apiUrl is another one"
                return .invalid(field: "/apiKey", reason: "must be there: \(reason)")
            }
            if apiURL == nil, count >= Self.mostPerTenant {
                return .conflict("a tenant has at most \(Self.mostPerTenant) regions")
            }
            let account = draft.account ?? ProviderAccount.own(of: name, tenant)
            let sharesLimits = draft.limits != nil && draft.account != nil
            let audit = actor.audits(
                "region.put", name, of: tenant, detail: detail(draft, account))
            for (statement, parameters) in [
                (
                    Statement.accountPut,
                    [
                        .text(account), .bool(draft.limits != nil),
                        .double(draft.limits?.createsPerSecond),
                        .int4(draft.limits?.concurrency),
                    ]
                ),
                (.regionsRaise, [.uuid(tenant.uuid), .text(sharesLimits ? account : nil)]),
                (
                    .regionPut,
                    [
                        .uuid(tenant.uuid), .text(name), .text(draft.provider), .text(account),
                        .text(draft.apiURL), .text(draft.domain), .bytea(sealed),
                        .text(draft.apiKey.flatMap(hint)), .int4(Int32(draft.priority)),
                        .jsonb(text(draft.templates)), .bool(draft.isEnabled), .text(actor.name),
                        .text(draft.dataPlaneURL),
                    ]
                ), audit,
            ] as [Pipeline.Step] { _ = try await transaction.execute(statement, parameters) }
            return nil
        }
        return (try await region(name, of: tenant), isNew)
    }

    /// Throws `.notFound`, `.versionNeeded`, `.outdated`, `.conflict` while sandboxes of it are not over: nobody
    /// could end them without its key.
    package func delete(
        _ name: String, of tenant: Tenant.ID, if precondition: Precondition, by actor: Actor
    ) async throws(ControlPlaneError) {
        _ = try await change(tenant, name, precondition, mustExist: true) {
            transaction, _, _ throws(PostgresError) in
            let living = try await transaction.execute(
                .regionLiving, [.uuid(tenant.uuid), .text(name)])
            let count = try living.only().int64(0)
            if count > 0 {
                return .conflict(
                    "\(count) of its sandboxes are not over: set enabled to false, end them, and take it away then"
                )
            }
            for (statement, parameters) in [
                (.regionDelete, [.uuid(tenant.uuid), .text(name)]),
                (.regionsRaise, [.uuid(tenant.uuid), .text(nil)]),
                actor.audits("region.delete", name, of: tenant),
            ] as [Pipeline.Step] { _ = try await transaction.execute(statement, parameters) }
            return nil
        }
    }

    /// All accounts in order of their ids; those after `after`.
    package func accounts(
        after: String?, limit: Int
    ) async throws(ControlPlaneError) -> [AccountView] {
        do throws(PostgresError) {
            let rows = try await pipeline.transaction([
                (.enterOperator, []), (.accountPage, [.text(after), .int8(Int64(limit))]),
            ])
            var accounts: [AccountView] = []
            for row in rows[1] { accounts.append(try AccountView(row)) }
            return accounts
        } catch {
            throw .postgres(error)
        }
    }

    /// The regions of some tenants, for an instance to remember.
    static func read(
        _ tenants: [Tenant.ID], _ pipeline: Pipeline
    ) async throws(PostgresError) -> [Tenant.ID: [Region]] {
        var regions: [Tenant.ID: [Region]] = [:]
        for row in try await pipeline.execute(.regionsRead, [.uuids(tenants.map(\.uuid))]) {
            let region = try Region(row)
            regions[region.tenant, default: []].append(region)
        }
        return regions
    }
}

extension Regions {
    /// One change in one transaction, of one tenant's regions at a time: `body` gets the URL of the region
    /// if it is there and how many there are, and answers why it may not be. True if it is new.
    private func change(
        _ tenant: Tenant.ID, _ name: String, _ precondition: Precondition, mustExist: Bool,
        _ body: (Pipeline.Transaction, _ apiURL: String?, _ count: Int) async throws(PostgresError)
            -> ControlPlaneError?
    ) async throws(ControlPlaneError) -> Bool {
        let outcome: Result<Bool, ControlPlaneError>
        do throws(PostgresError) {
            outcome = try await pipeline.withTransaction { transaction throws(PostgresError) in
                _ = try await transaction.execute(.enterOperator)
                _ = try await transaction.execute(.regionLock, [.uuid(tenant.uuid)])
                let found = try await transaction.execute(
                    .regionVersions, [.uuid(tenant.uuid), .text(name)]
                ).first
                guard let found else { return .failure(.notFound("tenant")) }
                let version = try found.int64IfPresent("version")
                if mustExist, version == nil { return .failure(.notFound("region")) }
                do throws(ControlPlaneError) {
                    try precondition.check(version)
                } catch {
                    return .failure(error)
                }
                let failure = try await body(
                    transaction, try found.textIfPresent("api_url"), try found.int("regions"))
                return failure.map { .failure($0) } ?? .success(version == nil)
            }
        } catch {
            throw .postgres(error)
        }
        return try outcome.get()
    }
}

/// The end of a key that is too long to be guessed from it.
private func hint(_ key: String) -> String? {
    key.utf8.count >= 16 ? String(key.suffix(4)) : nil
}

private func text(_ templates: [String: String]) -> String {
    var writer = JSONWriter()
    writer.object {
        for (name, id) in templates.sorted(by: { $0.key < $1.key }) { $0.member(name, id) }
    }
    return String(decoding: writer.bytes, as: UTF8.self)
}

/// For the audit: all but the key.
private func detail(_ draft: Regions.Draft, _ account: String) -> String {
    var writer = JSONWriter()
    writer.object {
        $0.member("apiUrl", draft.apiURL)
        $0.member("domain", draft.domain)
        $0.member("dataPlaneUrl", ifPresent: draft.dataPlaneURL)
        $0.member("account", account)
        if let limits = draft.limits {
            $0.member("createsPerSecond", orNull: limits.createsPerSecond)
            $0.member("concurrency", orNull: limits.concurrency.map { Int($0) })
        }
        $0.member("newKey", draft.apiKey != nil)
        $0.member("enabled", draft.isEnabled)
    }
    return String(decoding: writer.bytes, as: UTF8.self)
}

extension Statement {
    fileprivate static let regionsRead = Statement(
        "regions_read", "SELECT * FROM bw_tenant_regions($1)")
    fileprivate static let regionLock = Statement(
        "region_lock", "SELECT pg_advisory_xact_lock(uuid_hash_extended($1, -4))")
    /// A row if there is such a tenant, with the region's version and URL if there is such a region.
    fileprivate static let regionVersions = Statement(
        "region_versions",
        """
        SELECT r.version, r.api_url,
               (SELECT count(*) FROM region WHERE tenant_id = t.id) AS regions
        FROM   tenant AS t LEFT JOIN region AS r ON r.tenant_id = t.id AND r.name = $2
        WHERE  t.id = $1 AND t.deleted_at IS NULL
        AND    t.id <> '00000000-0000-0000-0000-000000000000'
        """)
    /// Raises the version of a tenant's set, and of all that have a region of that account.
    fileprivate static let regionsRaise = Statement(
        "regions_raise",
        """
        WITH own AS (
            INSERT INTO region_set (tenant_id, version) VALUES ($1, 1) ON CONFLICT DO NOTHING),
        sets AS (  -- in key order: two changes cannot deadlock
            SELECT tenant_id FROM region_set
            WHERE  tenant_id = $1 OR tenant_id IN (SELECT tenant_id FROM region WHERE account = $2)
            ORDER  BY tenant_id FOR UPDATE)
        UPDATE region_set AS s SET version = s.version + 1, changed_at = clock_timestamp()
        FROM   sets WHERE s.tenant_id = sets.tenant_id
        """)
    /// The version is that of the set: a region that is deleted and made again has none of before.
    fileprivate static let regionPut = Statement(
        "region_put",
        """
        INSERT INTO region AS r
               (tenant_id, name, version, provider, account, api_url, domain, api_key, api_key_hint,
                priority, templates, enabled, updated_by, data_plane_url)
        SELECT $1, $2, s.version, $3, $4, $5, $6, coalesce($7, o.api_key),
               CASE WHEN $7 IS NULL THEN o.api_key_hint ELSE $8 END, $9, $10, $11, $12, $13
        FROM   region_set AS s LEFT JOIN region AS o ON o.tenant_id = $1 AND o.name = $2
        WHERE  s.tenant_id = $1
        ON CONFLICT (tenant_id, name) DO UPDATE
        SET    version = excluded.version, provider = $3, account = $4, api_url = $5, domain = $6,
               api_key = excluded.api_key, api_key_hint = excluded.api_key_hint, priority = $9,
               templates = $10, enabled = $11, updated_at = clock_timestamp(), updated_by = $12,
               data_plane_url = $13
        """)
    fileprivate static let regionLiving = Statement(
        "region_living",
        "SELECT count(*) FROM sandbox WHERE tenant_id = $1 AND region = $2 AND ended_at IS NULL")
    fileprivate static let regionDelete = Statement(
        "region_delete", "DELETE FROM region WHERE tenant_id = $1 AND name = $2")
}
