package import Postgres

/// What a provider counts creations by: one of its teams, say. Its limits hold for all regions that name
/// it, of whatever tenant.
package struct ProviderAccount: Hashable, Sendable {
    package struct Limits: Hashable, Sendable {
        /// Creations each second.
        package let createsPerSecond: Double?
        /// Leases at once: creations under way, and sandboxes whose lease is kept.
        package let concurrency: Int32?

        package init(createsPerSecond: Double? = nil, concurrency: Int32? = nil) {
            self.createsPerSecond = createsPerSecond
            self.concurrency = concurrency
        }

        package static let rates = 0.001...1000.0
        package static let concurrencies = 1...1_000_000

        package var isEmpty: Bool { createsPerSecond == nil && concurrency == nil }
    }

    package let id: String
    package let limits: Limits

    package init(id: String, limits: Limits) {
        self.id = id
        self.limits = limits
    }

    /// That of a region that names none.
    package static func own(of region: String, _ tenant: Tenant.ID) -> String {
        "\(tenant)/\(region)"
    }

    /// Nil for a region's own.
    package var name: String? { id.contains("/") ? nil : id }
}

/// An account as operators see it.
package struct AccountView: Hashable, Sendable {
    package let account: ProviderAccount
    package let regions: Int
    /// Leases that are held now.
    package let leases: Int
    /// Set while the provider wants no creations.
    package let blockedUntil: Timestamp?
    package let updatedAt: Timestamp

    init(_ row: Row) throws(PostgresError) {
        account = try ProviderAccount(row)
        regions = try row.int("regions")
        leases = try row.int("leases")
        blockedUntil = try row.timestampIfPresent("blocked_until")
        updatedAt = try row.timestamp("updated_at")
    }
}

extension ProviderAccount {
    init(_ row: Row) throws(PostgresError) {
        id = try row.text("account")
        limits = Limits(
            createsPerSecond: try row.doubleIfPresent("creates_per_second"),
            concurrency: try row.int32IfPresent("concurrency"))
    }
}

extension Statement {
    static let accountPage = Statement(
        "account_page",
        """
        SELECT a.id AS account, a.creates_per_second, a.concurrency, a.updated_at,
               (SELECT count(*) FROM region AS r WHERE r.account = a.id) AS regions,
               (SELECT count(*) FROM creation_lease AS l
                WHERE  l.account = a.id AND l.until > clock_timestamp()) AS leases,
               (SELECT b.blocked_until FROM creation_budget AS b
                WHERE  b.account = a.id AND b.blocked_until > clock_timestamp()) AS blocked_until
        FROM   provider_account AS a
        WHERE  $1::text IS NULL OR a.id > $1 ORDER BY a.id LIMIT $2
        """)
    /// $2: whether the limits are said at all.
    static let accountPut = Statement(
        "account_put",
        """
        INSERT INTO provider_account AS a (id, creates_per_second, concurrency)
        VALUES ($1, $3, $4)
        ON CONFLICT (id) DO UPDATE
        SET    creates_per_second = CASE WHEN $2 THEN $3 ELSE a.creates_per_second END,
               concurrency = CASE WHEN $2 THEN $4 ELSE a.concurrency END,
               updated_at = clock_timestamp()
        """)
}
