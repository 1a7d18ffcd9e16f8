internal import Outbound
package import Postgres

/// Regions as creations need them, with the provider's key opened.
package struct RegionTargets: Sendable {
    private let regions: RegionCache
    private let secrets: SecretBox
    private let pipeline: Pipeline

    package init(_ regions: RegionCache, _ secrets: SecretBox, _ pipeline: Pipeline) {
        self.regions = regions
        self.secrets = secrets
        self.pipeline = pipeline
    }

    /// A tenant's regions that take new sandboxes, the first to be asked first.
    package func open(to tenant: Tenant.ID) async throws(ControlPlaneError) -> [CreationTarget] {
        var targets: [CreationTarget] = []
        for region in try await regions.regions(of: tenant) where region.isEnabled {
            targets.append(try await target(region))
        }
        return targets
    }

    package func find(
        _ name: String, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> CreationTarget? {
        guard
            let region = try await regions.regions(of: tenant).first(where: { $0.name == name })
        else { return nil }
        return try await target(region)
    }

    package var source: TargetSource {
        TargetSource { (tenant, name) async throws(ControlPlaneError) in
            try await find(name, of: tenant)
        } all: { () async throws(ControlPlaneError) in
            try await all()
        }
    }

    private func all() async throws(ControlPlaneError) -> [(Tenant.ID, CreationTarget)] {
        let tenants: Rows
        do throws(PostgresError) {
            tenants = try await pipeline.transaction([(.enterOperator, []), (.regionTenants, [])])[1]
        } catch { throw .postgres(error) }
        var all: [(Tenant.ID, CreationTarget)] = []
        for row in tenants {
            let tenant: Tenant.ID
            do throws(PostgresError) { tenant = Tenant.ID(try row.uuid(0)) } catch {
                throw .postgres(error)
            }
            for region in try await regions.regions(of: tenant) {
                // One whose key cannot be opened holds no other up.
                if let target = try? await target(region) { all.append((tenant, target)) }
            }
        }
        return all
    }

    /// Throws `.secretUnreadable`.
    private func target(
        _ region: Region
    ) async throws(ControlPlaneError) -> CreationTarget {
        try await regions.target(region) { region throws(ControlPlaneError) in try open(region) }
    }

    private func open(_ region: Region) throws(ControlPlaneError) -> CreationTarget {
        guard let api = UpstreamURL(region.apiURL) else {
            throw .conflict("the region's apiUrl is none")
        }
        return CreationTarget(
            provider: region.provider, region: region.name, account: region.account,
            endpoint: ProviderEndpoint(
                api: api, apiKey: try region.apiKey(secrets), domain: region.domain,
                dataPlane: region.dataPlaneURL.flatMap { UpstreamURL($0) }),
            templates: region.templates)
    }
}

extension Statement {
    fileprivate static let regionTenants = Statement(
        "region_tenants", "SELECT DISTINCT tenant_id FROM region ORDER BY 1")
}
