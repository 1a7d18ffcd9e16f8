internal import IO
package import Outbound
package import Postgres

/// Where alerts are told.
package struct AlertChannel: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable, CaseIterable { case webhook, slack, sentry }

    package let tenant: Tenant.ID
    package let id: UUID
    package let version: Int64
    package let name: String
    package let kind: Kind
    /// All that is shown of where it goes.
    package let host: String
    package let minSeverity: AlertRule.Severity
    /// Which rules it is told of; empty: all.
    package let rules: [String]
    /// Of the fleet: told of every tenant's alerts too.
    package let allTenants: Bool
    package let heartbeat: Int32?
    package let heartbeatAt: Timestamp?
    package let isEnabled: Bool
    package let disabledReason: String?
    package let blockedUntil: Timestamp?
    package let lastDeliveredAt: Timestamp?
    package let createdAt: Timestamp
    package let updatedAt: Timestamp
    package let updatedBy: String
    let sealedTarget: [UInt8]
    let sealedSecret: [UInt8]?

    package static let heartbeats = 30...86_400
    /// Channels of a tenant.
    package static let most = 20

    init(_ row: Row) throws(PostgresError) {
        tenant = Tenant.ID(try row.uuid("tenant_id"))
        id = try row.uuid("id")
        version = try row.int64("version")
        name = try row.text("name")
        kind = Kind(rawValue: try row.text("kind")) ?? .webhook
        host = try row.text("host")
        minSeverity = AlertRule.Severity(rawValue: try row.text("min_severity")) ?? .info
        rules = try row.texts("rules")
        allTenants = try row.bool("all_tenants")
        heartbeat = try row.int32IfPresent("heartbeat_s")
        heartbeatAt = try row.timestampIfPresent("heartbeat_at")
        isEnabled = try row.bool("enabled")
        disabledReason = try row.textIfPresent("disabled_reason")
        blockedUntil = try row.timestampIfPresent("blocked_until")
        lastDeliveredAt = try row.timestampIfPresent("last_delivered_at")
        createdAt = try row.timestamp("created_at")
        updatedAt = try row.timestamp("updated_at")
        updatedBy = try row.text("updated_by")
        sealedTarget = try row.bytes("target")
        sealedSecret = try row.bytesIfPresent("secret")
    }

    static func place(_ column: String, of id: UUID, _ tenant: Tenant.ID) -> SecretBox.Place {
        SecretBox.Place(
            tenant: tenant, table: "alert_channel", column: column, row: id.description)
    }

    /// Where it goes and how, in clear. Throws `.secretUnreadable`.
    func opened(_ secrets: SecretBox) throws(ControlPlaneError) -> AlertTarget {
        let target = try secrets.open(sealedTarget, at: Self.place("target", of: id, tenant))
        var secret: String?
        if let sealedSecret {
            secret = try secrets.open(sealedSecret, at: Self.place("secret", of: id, tenant))
        }
        guard let opened = AlertTarget(kind, target, secret: secret) else {
            throw .secretUnreadable("is no target of a channel")
        }
        return opened
    }
}

/// What a channel calls, in clear: never stored so, never shown.
package enum AlertTarget: Sendable {
    case webhook(UpstreamURL, WebhookSecret)
    case slack(UpstreamURL)
    case sentry(SentryDSN)

    /// Nil if the target, or a webhook's secret, is none.
    package init?(_ kind: AlertChannel.Kind, _ target: String, secret: String?) {
        switch kind {
        case .webhook:
            guard let url = UpstreamURL(target), let secret = secret.flatMap({ WebhookSecret($0) })
            else { return nil }
            self = .webhook(url, secret)
        case .slack:
            guard let url = UpstreamURL(target) else { return nil }
            self = .slack(url)
        case .sentry:
            guard let dsn = SentryDSN(target) else { return nil }
            self = .sentry(dsn)
        }
    }

    package var url: UpstreamURL {
        switch self {
        case .webhook(let url, _), .slack(let url): url
        case .sentry(let dsn): dsn.endpoint
        }
    }
}

extension AlertTarget: CustomStringConvertible, CustomReflectable {
    package var description: String { "<redacted target at \(url.host)>" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
