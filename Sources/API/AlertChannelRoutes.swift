internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Outbound
internal import Postgres

/// Where alerts are told: channels, a test of each, and what was sent on them or given up.
struct AlertChannelRoutes {
    let endpoint: Endpoint

    var all: [Route] { channels + [test] + notifications }

    private var store: AlertChannels {
        AlertChannels(endpoint.services.pipeline, endpoint.services.secrets)
    }

    private var channels: [Route] {
        let (channels, settings) = (store, endpoint.services.settings)
        return [
            endpoint.route(.get, "/v1/alert-channels", "listAlertChannels", AlertRoutes.readers) {
                call throws(Failure) in
                let (limit, after) = try Cursor.page(
                    try call.query("limit", "cursor"), of: "alertChannels", settings)
                let page = try await domain { () throws(ControlPlaneError) in
                    try await channels.list(
                        of: call.caller.tenant, after: after.flatMap { UUID($0) }, limit: limit + 1)
                }
                return list("alertChannels", page, limit, last: \.id.description, write)
            },
            endpoint.route(
                .post, "/v1/alert-channels", "createAlertChannel", AlertRoutes.writers
            ) { call throws(Failure) in
                let draft = try call.body(ChannelInput.self).draft(
                    as: nil, settings.upstreams)
                let idempotency = try call.idempotency()
                let made = try await domain { () throws(ControlPlaneError) in
                    try await channels.create(
                        draft, of: call.caller.tenant, by: call.actor, idempotency: idempotency)
                }
                return shown(made.value, .created, isReplay: made.isReplay)
            },
            endpoint.route(
                .get, "/v1/alert-channels/{channelId}", "getAlertChannel", AlertRoutes.readers
            ) { call throws(Failure) in
                let id = try call.id("channelId", "alert channel")
                _ = try call.query()
                return shown(
                    try await domain { () throws(ControlPlaneError) in
                        try await channels.channel(id, of: call.caller.tenant)
                    })
            },
            endpoint.route(
                .patch, "/v1/alert-channels/{channelId}", "changeAlertChannel", AlertRoutes.writers
            ) { call throws(Failure) in
                let id = try call.id("channelId", "alert channel")
                let input = try call.body(ChannelInput.self)
                let precondition = try call.precondition()
                let found = try await domain { () throws(ControlPlaneError) in
                    try await channels.channel(id, of: call.caller.tenant)
                }
                let draft = try input.draft(as: found.kind, settings.upstreams)
                return shown(
                    try await domain { () throws(ControlPlaneError) in
                        try await channels.change(
                            id, draft, of: call.caller.tenant, if: precondition, by: call.actor)
                    })
            },
            endpoint.route(
                .delete, "/v1/alert-channels/{channelId}", "deleteAlertChannel", AlertRoutes.writers
            ) { call throws(Failure) in
                let id = try call.id("channelId", "alert channel")
                _ = try call.query()
                try await domain { () throws(ControlPlaneError) in
                    try await channels.delete(id, of: call.caller.tenant, by: call.actor)
                }
                return Response(.noContent)
            },
        ]
    }

    private var test: Route {
        let (channels, sender) = (store, endpoint.services.alertSender)
        return endpoint.route(
            .post, "/v1/alert-channels/{channelId}/test", "testAlertChannel", AlertRoutes.writers
        ) { call throws(Failure) in
            let id = try call.id("channelId", "alert channel")
            _ = try call.bodyIfPresent(NoInput.self)
            let answer = try await domain { () throws(ControlPlaneError) in
                try await sender.test(
                    id, of: channels, tenant: call.caller.tenant, by: call.actor)
            }
            return .json(
                encoded {
                    $0.member("delivered", answer.isTaken)
                    $0.member("status", orNull: answer.status)
                    $0.member("body", orNull: answer.status == nil ? nil : answer.body)
                    $0.member("error", orNull: answer.isTaken ? nil : answer.error)
                })
        }
    }

    private var notifications: [Route] {
        let (channels, settings) = (store, endpoint.services.settings)
        return [
            endpoint.route(
                .get, "/v1/alert-channels/{channelId}/notifications", "listAlertNotifications",
                AlertRoutes.readers
            ) { call throws(Failure) in
                let id = try call.id("channelId", "alert channel")
                let query = try call.query("state", "limit", "cursor")
                var state: AlertNotification.State?
                if let text = query["state"] {
                    guard let known = AlertNotification.State(rawValue: text) else {
                        throw .problem(.invalid("state", "must be waiting, sent or dead"))
                    }
                    state = known
                }
                let (limit, last) = try Cursor.page(query, of: "alertNotifications", settings)
                let before = last.flatMap { place($0) }
                let page = try await domain { [state] () throws(ControlPlaneError) in
                    try await channels.notifications(
                        of: id, tenant: call.caller.tenant, state: state, before: before,
                        limit: limit + 1)
                }
                return list(
                    "alertNotifications", page, limit,
                    last: { "\($0.createdAt.microseconds) \($0.id)" }, write)
            },
            endpoint.route(
                .post, "/v1/alert-channels/{channelId}/notifications/{notificationId}/retry",
                "retryAlertNotification", AlertRoutes.writers
            ) { call throws(Failure) in
                let channel = try call.id("channelId", "alert channel")
                let id = try call.id("notificationId", "notification")
                _ = try call.bodyIfPresent(NoInput.self)
                let notification = try await domain { () throws(ControlPlaneError) in
                    try await channels.retry(
                        id, of: channel, tenant: call.caller.tenant, by: call.actor)
                }
                var writer = JSONWriter()
                write(notification, &writer)
                return .json(writer.bytes)
            },
        ]
    }
}

/// A place in the log of notifications, from a cursor.
private func place(_ text: String) -> (at: Timestamp, id: UUID)? {
    let parts = text.split(separator: " ")
    guard parts.count == 2, let at = Int64(parts[0]), let id = UUID(parts[1]) else { return nil }
    return (Timestamp(microseconds: at), id)
}

// MARK: Input

/// The body of `createAlertChannel` and `changeAlertChannel`.
private struct ChannelInput: JSONReadable {
    private var known = AlertChannels.Draft()
    private var url: String?
    private var dsn: String?

    init(from reader: inout JSONReader) throws(JSONError) {
        var (draft, url, dsn) = (AlertChannels.Draft(), String?.none, String?.none)
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "name": draft.name = try reader.readLabel(1...100)
            case "kind": draft.kind = try reader.readAlertCase()
            case "url": url = try reader.readString(maxBytes: 2000)
            case "dsn": dsn = try reader.readString(maxBytes: 1000)
            case "secret":
                let text = try reader.readString(maxBytes: 200)
                guard WebhookSecret(text) != nil else {
                    throw reader.failure(
                        .range, "must be whsec_ and base64 of 24 to 64 octets")
                }
                draft.secret = text
            case "minSeverity": draft.minSeverity = try reader.readAlertCase()
            case "rules": draft.rules = try reader.readRuleNames(atMost: 50)
            case "allTenants": draft.allTenants = try reader.readBool()
            case "heartbeatS":
                let span = try reader.readNull() ? nil : try reader.readInt(in: AlertChannel.heartbeats)
                draft.heartbeat = .some(span.map { Int32($0) })
            case "enabled": draft.isEnabled = try reader.readBool()
            default: throw reader.unknownField(key)
            }
        }
        (known, self.url, self.dsn) = (draft, url, dsn)
    }

    /// - Parameter found: the kind of the channel that is changed; nil: it is new.
    /// Throws 400 for what is missing, is no member of that kind, or names where calls may not go.
    func draft(
        as found: AlertChannel.Kind?, _ rule: AddressRule
    ) throws(Failure) -> AlertChannels.Draft {
        var draft = known
        guard let kind = found ?? draft.kind else { throw Self.refusal("/kind", "must be there") }
        if found != nil, draft.kind != nil { throw Self.refusal("/kind", "does not change") }
        let (name, text, other) =
            kind == .sentry ? ("/dsn", dsn, url) : ("/url", url, dsn)
        if other != nil {
            throw Self.refusal(kind == .sentry ? "/url" : "/dsn", "is no member of this kind")
        }
        guard let text else {
            if found == nil { throw Self.refusal(name, "must be there") }
            return draft
        }
        let target: UpstreamURL
        if kind == .sentry {
            guard let dsn = SentryDSN(text) else {
                throw Self.refusal(name, "must be https://KEY@host/PROJECT")
            }
            target = dsn.endpoint
        } else {
            guard let url = UpstreamURL(text) else {
                throw Self.refusal(name, "must be https://host, with port, path and query at most")
            }
            target = url
        }
        if target.scheme == .http, !rule.allowsPrivate {
            throw Self.refusal(name, "must be https")
        }
        if let address = IPAddress(target.host), let scope = rule.refusal(of: address) {
            throw Self.refusal(name, "must not be a \(scope.rawValue) address")
        }
        draft.target = (text, target.host)
        return draft
    }

    private static func refusal(_ pointer: String, _ reason: String) -> Failure {
        .problem(
            Problem(
                .validation, detail: "\(pointer.dropFirst()) \(reason)",
                errors: [Problem.Invalid(pointer, reason)]))
    }
}

// MARK: Answers

private func shown(
    _ channel: AlertChannel, _ status: Status = .ok, isReplay: Bool = false
) -> Response {
    var writer = JSONWriter()
    write(channel, &writer)
    var response = Response.json(writer.bytes, status: status)
    response.fields.append(Field(.eTag, "\"\(channel.version)\""))
    if status == .created {
        response.fields.append(Field(.location, "/v1/alert-channels/\(channel.id)"))
    }
    if isReplay { response.fields.append(.replayed) }
    return response
}

private func write(_ channel: AlertChannel, _ writer: inout JSONWriter) {
    writer.object {
        $0.member("id", channel.id.description)
        $0.member("name", channel.name)
        $0.member("kind", channel.kind.rawValue)
        $0.member("host", channel.host)
        $0.member("minSeverity", channel.minSeverity.rawValue)
        $0.member("rules", channel.rules)
        $0.member("allTenants", channel.allTenants)
        $0.member("heartbeatS", orNull: channel.heartbeat)
        $0.member("enabled", channel.isEnabled)
        $0.member("disabledReason", orNull: channel.disabledReason)
        $0.member("blockedUntil", orNull: channel.blockedUntil?.description)
        $0.member("lastDeliveredAt", orNull: channel.lastDeliveredAt?.description)
        $0.member("version", channel.version)
        $0.member("createdAt", channel.createdAt.description)
        $0.member("updatedAt", channel.updatedAt.description)
        $0.member("updatedBy", channel.updatedBy)
    }
}

private func write(_ notification: AlertNotification, _ writer: inout JSONWriter) {
    writer.object {
        $0.member("id", notification.id.description)
        $0.member("alertId", orNull: notification.alert?.description)
        $0.member("type", notification.type)
        $0.member("state", notification.state.rawValue)
        $0.member("createdAt", notification.createdAt.description)
        $0.member("attempts", notification.attempts)
        $0.member("nextAttemptAt", orNull: notification.nextAttemptAt?.description)
        $0.member("lastStatus", orNull: notification.lastStatus)
        $0.member("lastError", orNull: notification.lastError)
        $0.member("sentAt", orNull: notification.sentAt?.description)
        $0.member("deadAt", orNull: notification.deadAt?.description)
    }
}
