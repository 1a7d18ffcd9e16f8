internal import JSON
internal import Outbound
internal import Postgres

/// The call that tells a channel's receiver of one notification. The same notification makes the same
/// message under the same id, but for the time at which it is sent.
struct AlertMessage {
    /// Of the notification.
    let id: UUID
    /// As it was stored: `{"type", "timestamp", "data"}`.
    let body: String
    let sentAt: Timestamp

    func request(to target: AlertTarget, deadline: Duration) -> HTTPClient.Request {
        var (fields, content) = parts(for: target)
        fields.append(HTTPClient.Field("User-Agent", Self.client))
        var request = HTTPClient.Request(
            "POST", target.url, fields: fields, body: content, deadline: deadline)
        request.maxBodyBytes = 65_536
        return request
    }

    private static let client = "breakwater/1.0"

    private func parts(for target: AlertTarget) -> ([HTTPClient.Field], [UInt8]) {
        switch target {
        case .webhook(_, let secret):
            let content = Array(body.utf8)
            let (id, seconds) = ("msg_\(id.hex)", sentAt.microseconds / 1_000_000)
            return (
                [
                    HTTPClient.Field("Content-Type", "application/json"),
                    HTTPClient.Field("webhook-id", id),
                    HTTPClient.Field("webhook-timestamp", "\(seconds)"),
                    HTTPClient.Field(
                        "webhook-signature",
                        secret.signature(id: id, timestamp: seconds, body: content)),
                ], content
            )
        case .slack: return ([HTTPClient.Field("Content-Type", "application/json")], slack)
        case .sentry(let dsn):
            return (
                [
                    HTTPClient.Field("Content-Type", "application/x-sentry-envelope"),
                    HTTPClient.Field(
                        "X-Sentry-Auth",
                        "Sentry sentry_version=7, sentry_client=\(Self.client), sentry_key=\(dsn.publicKey)"
                    ),
                ], envelope
            )
        }
    }

    // MARK: What it says

    private var event: JSONValue? { JSONValue(bytes: Array(body.utf8)) }
    private var data: JSONValue? { event?["data"] }
    private func text(_ name: String) -> String? { data?[name]?.string }
    private var type: String { event?["type"]?.string ?? "alert" }
    private var summary: String { text("summary") ?? type }
    private var isResolved: Bool { type == "alert.resolved" }

    /// One line, with the three characters escaped that Slack asks for.
    private var slack: [UInt8] {
        let mark =
            switch (type, text("severity")) {
            case ("alert.resolved", _): "Resolved"
            case ("alert.firing", "critical"): "CRITICAL"
            case ("alert.firing", "warning"): "Warning"
            default: "Info"
            }
        let line = "\(mark): \(summary)"
            .replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
        var writer = JSONWriter()
        writer.object { $0.member("text", line) }
        return writer.bytes
    }

    /// An envelope with one event (develop.sentry.dev, "Envelopes" and "Event payloads").
    private var envelope: [UInt8] {
        let event = sentryEvent
        var head = JSONWriter()
        head.object {
            $0.member("event_id", id.hex)
            $0.member("sent_at", sentAt.description)
        }
        var item = JSONWriter()
        item.object {
            $0.member("type", "event")
            $0.member("length", event.count)
            $0.member("content_type", "application/json")
        }
        let end = [UInt8(ascii: "\n")]
        return head.bytes + end + item.bytes + end + event + end
    }

    private var sentryEvent: [UInt8] {
        var writer = JSONWriter(capacity: 2048)
        writer.object {
            $0.member("event_id", id.hex)
            $0.member("timestamp", event?["timestamp"]?.string ?? sentAt.description)
            $0.member("platform", "other")
            $0.member("level", sentryLevel)
            $0.member("logger", "breakwater.alerts")
            $0.object("message") { $0.member("formatted", summary) }
            $0.array("fingerprint") { writer in
                writer.value("breakwater")
                writer.value(text("fingerprint") ?? type)
            }
            $0.object("tags") {
                $0.member("type", type)
                for name in ["rule", "severity", "state", "tenantId"] {
                    $0.member(name, ifPresent: text(name))
                }
                if case .object(let labels)? = data?["labels"] {
                    for label in labels {
                        // A tag's name may have so many of these characters, its value 200.
                        $0.member("label.\(label.name)", (label.value.string ?? "").prefixed(200))
                    }
                }
            }
            if let data {
                $0.startMember("extra")
                $0.value(data)
            }
        }
        return writer.bytes
    }

    private var sentryLevel: String {
        if isResolved { return "info" }
        return switch text("severity") {
        case "critical": "error"
        case "warning": "warning"
        default: "info"
        }
    }
}

extension UUID {
    /// 32 hexadecimal digits, without hyphens.
    var hex: String { description.replacing("-", with: "") }
}

extension String {
    fileprivate func prefixed(_ count: Int) -> String { String(prefix(count)) }
}
