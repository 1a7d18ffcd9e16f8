package import HTTP

/// Every operation of the service: the one list, held against `openapi/breakwater.yaml` by a test.
package func apiRoutes(_ services: Services) -> [Route] {
    let endpoint = Endpoint(services: services)
    return ServiceRoutes(endpoint: endpoint).all + RateLimitRoutes(endpoint: endpoint).all
        + BatchRoutes(endpoint: endpoint).all + UsageRoutes(endpoint: endpoint).all
        + PolicyRoutes(endpoint: endpoint).all + SettingsRoutes(endpoint: endpoint).all
        + BreakerRoutes(endpoint: endpoint).all
        + AttemptRoutes(endpoint: endpoint).all + SandboxRoutes(endpoint: endpoint).all
        + ErrorRoutes(endpoint: endpoint).all + TenantRoutes(endpoint: endpoint).all
        + TenantLifeRoutes(endpoint: endpoint).all + RegionRoutes(endpoint: endpoint).all
        + SecretRoutes(endpoint: endpoint).all + SessionRoutes(endpoint: endpoint).all
        + OverviewRoutes(endpoint: endpoint).all + EventRoutes(endpoint: endpoint).all
        + AlertRoutes(endpoint: endpoint).all + AlertChannelRoutes(endpoint: endpoint).all + KillingRoutes(endpoint: endpoint).all
}
