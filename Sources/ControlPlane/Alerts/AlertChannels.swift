internal import IO
internal import JSON
package import Postgres

/// Channels in the database, and what waits, was sent or was given up on them.
package struct AlertChannels: Sendable {
    /// What a channel is to be; what is nil stays as it is.
    package struct Draft: Sendable {
        package var name: String?
        package var kind: AlertChannel.Kind?
        /// URL or DSN with the host that is shown of it.
        package var target: (text: String, host: String)?
        package var secret: String?
        package var minSeverity: AlertRule.Severity?
        package var rules: [String]?
        package var allTenants: Bool?
        /// Nil: stays; nil inside: none.
        package var heartbeat: Int32??
        package var isEnabled: Bool?

        package init() {}
    }

    private let alerts: Alerts
    private let secrets: SecretBox
    private var pipeline: Pipeline { alerts.pipeline }

    package init(_ pipeline: Pipeline, _ secrets: SecretBox) {
        alerts = Alerts(pipeline)
        self.secrets = secrets
    }

    /// In order of their ids, which is that of their making; those after `after`.
    package func list(
        of tenant: Tenant.ID, after: UUID?, limit: Int
    ) async throws(ControlPlaneError) -> [AlertChannel] {
        try decodeAll(
            try await alerts.run(
                tenant,
                [(.alertChannelPage, [.uuid(tenant.uuid), .uuid(after), .int8(Int64(limit))])]),
            AlertChannel.init)
    }

    /// Throws `.notFound`.
    package func channel(
        _ id: UUID, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> AlertChannel {
        let rows = try await alerts.run(
            tenant, [(.alertChannelByID, [.uuid(tenant.uuid), .uuid(id)])])
        guard let row = rows.first else { throw .notFound("alert channel") }
        return try decode(row, AlertChannel.init)
    }

    /// Throws `.secretKeyNeeded`, `.invalid` for a member that is missing or not this caller's, and
    /// `.conflict` past `AlertChannel.most`.
    package func create(
        _ draft: Draft, of tenant: Tenant.ID, by actor: Actor, idempotency: Idempotency? = nil
    ) async throws(ControlPlaneError) -> Made<AlertChannel> {
        let directory = Directory(pipeline)
        if let id = try await directory.earlier(idempotency, of: tenant).flatMap({ UUID($0) }) {
            do throws(ControlPlaneError) {
                return Made(value: try await channel(id, of: tenant), isReplay: true)
            } catch .notFound {
                throw .conflict("the channel that this Idempotency-Key made was deleted since")
            }
        }
        let id = UUID.v7()
        guard let kind = draft.kind, let target = draft.target else {
            throw .invalid(field: "/kind", reason: "must be there")
        }
        guard (kind == .webhook) == (draft.secret != nil) else {
            throw .invalid(
                field: "/secret",
                reason: kind == .webhook ? "must be there" : "is for webhooks alone")
        }
        let columns = try sealed(draft, id, tenant)
        let steps: [Pipeline.Step] =
            [
                (
                    .alertChannelAdd,
                    [
                        .uuid(tenant.uuid), .uuid(id), .text(draft.name ?? kind.rawValue),
                        .text(kind.rawValue), .text(target.host), .bytea(columns.target),
                        .bytea(columns.secret), .text((draft.minSeverity ?? .info).rawValue),
                        .texts(draft.rules ?? []), .bool(draft.allTenants ?? false),
                        .int4(draft.heartbeat ?? nil), .bool(draft.isEnabled ?? true),
                        .text(actor.name),
                    ]
                ),
                actor.audits(
                    "alert-channel.create", id.description, of: tenant, detail: detail(draft)),
            ] + directory.remember(idempotency, of: tenant, resource: id.description)
        let isMade: Bool
        do throws(PostgresError) {
            isMade = try await pipeline.add(
                steps, of: tenant, unless: .alertChannelCount, reaches: AlertChannel.most)
        } catch .uniqueViolation(constraint: "idempotency_pkey") {
            return try await create(draft, of: tenant, by: actor, idempotency: idempotency)
        } catch {
            throw .postgres(error)
        }
        guard isMade else {
            throw .conflict("a tenant has at most \(AlertChannel.most) alert channels")
        }
        return Made(value: try await channel(id, of: tenant), isReplay: false)
    }

    /// Changes what the draft says. One that is switched on forgets why it was off, and any pause.
    ///
    /// Throws `.notFound`, `.outdated`, `.secretKeyNeeded`, `.invalid`.
    package func change(
        _ id: UUID, _ draft: Draft, of tenant: Tenant.ID, if precondition: Precondition,
        by actor: Actor
    ) async throws(ControlPlaneError) -> AlertChannel {
        let found = try await channel(id, of: tenant)
        if precondition != .none { try precondition.check(found.version) }
        guard draft.secret == nil || found.kind == .webhook else {
            throw .invalid(field: "/secret", reason: "is for webhooks alone")
        }
        let columns = try sealed(draft, id, tenant)
        let rows = try await alerts.run(
            tenant,
            [
                actor.audits(
                    "alert-channel.change", id.description, of: tenant, detail: detail(draft)),
                (
                    .alertChannelChange,
                    [
                        .uuid(tenant.uuid), .uuid(id),
                        .int8(precondition == .none ? nil : found.version), .text(draft.name),
                        .text(draft.target?.host), .bytea(columns.target), .bytea(columns.secret),
                        .text(draft.minSeverity?.rawValue), .bool(draft.rules != nil),
                        .texts(draft.rules ?? []), .bool(draft.allTenants),
                        .bool(draft.heartbeat != nil), .int4(draft.heartbeat ?? nil),
                        .bool(draft.isEnabled), .text(actor.name),
                    ]
                ),
            ])
        guard let row = rows.first else { throw .outdated }
        return try decode(row, AlertChannel.init)
    }

    /// With all that was and is to be sent on it. Throws `.notFound`.
    package func delete(
        _ id: UUID, of tenant: Tenant.ID, by actor: Actor
    ) async throws(ControlPlaneError) {
        _ = try await channel(id, of: tenant)
        _ = try await alerts.run(
            tenant,
            [
                actor.audits("alert-channel.delete", id.description, of: tenant),
                (.alertChannelDelete, [.uuid(tenant.uuid), .uuid(id)]),
            ])
    }

    /// Where it goes, in clear, for a test of it that is audited. Throws `.notFound`, `.secretUnreadable`.
    package func target(
        of id: UUID, tenant: Tenant.ID, by actor: Actor
    ) async throws(ControlPlaneError) -> AlertTarget {
        let found = try await channel(id, of: tenant)
        _ = try await alerts.run(
            tenant, [actor.audits("alert-channel.test", id.description, of: tenant)])
        return try found.opened(secrets)
    }

    private func sealed(
        _ draft: Draft, _ id: UUID, _ tenant: Tenant.ID
    ) throws(ControlPlaneError) -> (target: [UInt8]?, secret: [UInt8]?) {
        guard draft.allTenants != true || tenant == .fleet else {
            throw .invalid(field: "/allTenants", reason: "is for operators alone")
        }
        var (target, secret): ([UInt8]?, [UInt8]?)
        if let text = draft.target?.text {
            target = try secrets.seal(text, at: AlertChannel.place("target", of: id, tenant))
        }
        if let text = draft.secret {
            secret = try secrets.seal(text, at: AlertChannel.place("secret", of: id, tenant))
        }
        return (target, secret)
    }

    /// For the audit: no secrets.
    private func detail(_ draft: Draft) -> String {
        var writer = JSONWriter()
        writer.object {
            $0.member("name", ifPresent: draft.name)
            $0.member("kind", ifPresent: draft.kind?.rawValue)
            $0.member("host", ifPresent: draft.target?.host)
            $0.member("newSecret", draft.secret != nil)
            $0.member("minSeverity", ifPresent: draft.minSeverity?.rawValue)
            $0.member("rules", ifPresent: draft.rules)
            $0.member("allTenants", ifPresent: draft.allTenants)
            $0.member("enabled", ifPresent: draft.isEnabled)
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}

// MARK: Notifications

/// One notification of a channel, as people see it.
package struct AlertNotification: Hashable, Sendable {
    package enum State: String, Hashable, Sendable, CaseIterable { case waiting, sent, dead }

    package let id: UUID
    package let alert: UUID?
    package let type: String
    package let createdAt: Timestamp
    package let attempts: Int32
    package let nextAttemptAt: Timestamp?
    package let lastStatus: Int32?
    package let lastError: String?
    package let sentAt: Timestamp?
    package let deadAt: Timestamp?

    package var state: State { sentAt != nil ? .sent : deadAt != nil ? .dead : .waiting }

    init(_ row: Row) throws(PostgresError) {
        id = try row.uuid("id")
        alert = try row.uuidIfPresent("alert_id")
        type = try row.text("event")
        createdAt = try row.timestamp("created_at")
        attempts = try row.int32("attempts")
        sentAt = try row.timestampIfPresent("sent_at")
        deadAt = try row.timestampIfPresent("dead_at")
        nextAttemptAt = sentAt == nil && deadAt == nil ? try row.timestamp("not_before") : nil
        lastStatus = try row.int32IfPresent("last_status")
        lastError = try row.textIfPresent("last_error")
    }
}

extension AlertChannels {
    /// Notifications of a channel, the newest first; those before `before`. Throws `.notFound`.
    package func notifications(
        of id: UUID, tenant: Tenant.ID, state: AlertNotification.State?,
        before: (at: Timestamp, id: UUID)?, limit: Int
    ) async throws(ControlPlaneError) -> [AlertNotification] {
        let rows = try await alerts.run(
            tenant,
            [
                (
                    .alertNotificationPage,
                    [
                        .uuid(tenant.uuid), .uuid(id), .text(state?.rawValue),
                        .timestamp(before?.at), .uuid(before?.id), .int8(Int64(limit)),
                    ]
                )
            ])
        if rows.isEmpty { _ = try await channel(id, of: tenant) }
        return try decodeAll(rows, AlertNotification.init)
    }

    /// Has a notification that was given up tried anew, under the same id. Throws `.notFound`, `.conflict`
    /// for one that was not given up.
    package func retry(
        _ id: UUID, of channel: UUID, tenant: Tenant.ID, by actor: Actor
    ) async throws(ControlPlaneError) -> AlertNotification {
        let key: [Parameter] = [.uuid(tenant.uuid), .uuid(channel), .uuid(id)]
        guard let row = try await alerts.run(tenant, [(.alertNotificationByID, key)]).first else {
            throw .notFound("notification")
        }
        guard try decode(row, AlertNotification.init).state == .dead else {
            throw .conflict("the notification was not given up")
        }
        let rows = try await alerts.run(
            tenant,
            [
                actor.audits("alert-notification.retry", id.description, of: tenant),
                (.alertNotificationRetry, key),
            ])
        guard let row = rows.first else { throw .conflict("the notification was not given up") }
        return try decode(row, AlertNotification.init)
    }
}

extension Statement {
    fileprivate static let alertChannelPage = Statement(
        "alert_channel_page",
        """
        SELECT * FROM alert_channel
        WHERE  tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
        """)
    fileprivate static let alertChannelByID = Statement(
        "alert_channel_by_id", "SELECT * FROM alert_channel WHERE tenant_id = $1 AND id = $2")
    fileprivate static let alertChannelCount = Statement(
        "alert_channel_count", "SELECT count(*) FROM alert_channel WHERE tenant_id = $1")
    fileprivate static let alertChannelAdd = Statement(
        "alert_channel_add",
        """
        INSERT INTO alert_channel (tenant_id, id, name, kind, host, target, secret, min_severity, rules,
                                   all_tenants, heartbeat_s, enabled, updated_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        """)
    fileprivate static let alertChannelChange = Statement(
        "alert_channel_change",
        """
        UPDATE alert_channel
        SET    version = version + 1, name = coalesce($4, name), host = coalesce($5, host),
               target = coalesce($6, target), secret = coalesce($7, secret),
               min_severity = coalesce($8, min_severity),
               rules = CASE WHEN $9 THEN $10 ELSE rules END,
               all_tenants = coalesce($11, all_tenants),
               heartbeat_s = CASE WHEN $12 THEN $13 ELSE heartbeat_s END,
               enabled = coalesce($14, enabled),
               disabled_reason = CASE WHEN $14 THEN NULL ELSE disabled_reason END,
               blocked_until = CASE WHEN $14 THEN NULL ELSE blocked_until END,
               updated_at = clock_timestamp(), updated_by = $15
        WHERE  tenant_id = $1 AND id = $2 AND ($3::int8 IS NULL OR version = $3) RETURNING *
        """)
    fileprivate static let alertChannelDelete = Statement(
        "alert_channel_delete", "DELETE FROM alert_channel WHERE tenant_id = $1 AND id = $2")

    fileprivate static let alertNotificationPage = Statement(
        "alert_notification_page",
        """
        SELECT * FROM alert_notification
        WHERE  tenant_id = $1 AND channel_id = $2
        AND   ($3::text IS NULL OR $3 = CASE WHEN sent_at IS NOT NULL THEN 'sent'
                                        WHEN dead_at IS NOT NULL THEN 'dead' ELSE 'waiting' END)
        AND   ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5))
        ORDER  BY created_at DESC, id DESC LIMIT $6
        """)
    fileprivate static let alertNotificationByID = Statement(
        "alert_notification_by_id",
        """
        SELECT * FROM alert_notification
        WHERE  tenant_id = $1 AND channel_id = $2 AND id = $3
        """)
    fileprivate static let alertNotificationRetry = Statement(
        "alert_notification_retry",
        """
        UPDATE alert_notification
        SET    dead_at = NULL, attempts = 0, not_before = clock_timestamp(), lease_until = NULL
        WHERE  tenant_id = $1 AND channel_id = $2 AND id = $3 AND dead_at IS NOT NULL RETURNING *
        """)
}
