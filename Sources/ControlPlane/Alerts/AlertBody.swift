internal import JSON
internal import Postgres

/// What is sent of an alert: the body of a webhook, from which the other channels' messages are made.
/// It is written once, with the decision, so that each try sends the same.
enum AlertBody {
    static func bytes(_ notice: AlertNotice) -> [UInt8] {
        let alert = notice.alert
        return event(notice.cause == .resolved ? "alert.resolved" : "alert.firing", at: notice.at) {
            $0.member("alertId", alert.id.description)
            $0.member("tenantId", alert.tenant.description)
            $0.member("rule", alert.rule)
            $0.member("severity", alert.severity.rawValue)
            $0.member("state", alert.state.rawValue)
            $0.member("labels", raw: Array(jsonText(alert.labels).utf8))
            $0.member("value", alert.value)
            $0.member("threshold", alert.threshold)
            $0.member("unit", orNull: notice.kind?.unit)
            $0.member("summary", summary(notice))
            $0.member("startedAt", alert.startedAt.description)
            $0.member("firedAt", orNull: alert.firedAt?.description)
            $0.member("resolvedAt", orNull: alert.resolvedAt?.description)
            $0.member("fingerprint", alert.fingerprint)
            $0.member("notification", alert.notifications)
            $0.member("repeated", notice.cause == .repeated)
        }
    }

    static func heartbeat(at now: Timestamp) -> String {
        String(
            decoding: event("alert.heartbeat", at: now) {
                $0.member("summary", "alerts are evaluated")
            }, as: UTF8.self)
    }

    static func test(by actor: String, at now: Timestamp) -> String {
        String(
            decoding: event("alert.test", at: now) {
                $0.member("severity", "info")
                $0.member("summary", "a test of this channel, by \(actor)")
            }, as: UTF8.self)
    }

    /// The frame of Standard Webhooks.
    private static func event(
        _ type: String, at now: Timestamp, _ data: (inout JSONWriter) -> Void
    ) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        writer.object {
            $0.member("type", type)
            $0.member("timestamp", now.description)
            $0.object("data", data)
        }
        return writer.bytes
    }

    /// One line for people.
    static func summary(_ notice: AlertNotice) -> String {
        let alert = notice.alert
        let subject = alert.labels.sorted { $0.key < $1.key }.map(\.value).joined(separator: " ")
        let value = shown(alert.value)
        let what =
            switch notice.kind {
            case .breakerOpen: "has been OPEN for \(value) s"
            case .breakerNotClosed: "has not been CLOSED for \(value) s"
            case .breakerOpenings: "opened \(value) times"
            case .breakerOverride: "has been overridden for \(value) s, without an end"
            case .creationFailures: "\(value) creations failed"
            case .creationFailureShare: "\(value) % of creations failed"
            case .quotaUsed: "has used \(value) % of its limit"
            case .notificationsDead: "\(value) notifications were given up"
            case .tenantsOpen: "\(value) % of tenants have an open breaker"
            case .jobLate: "is overdue by \(value) s"
            case .tasksDead: "\(value) tasks were given up"
            case .killsHeldBack: "\(value) kills were held back"
            case .orphanShare: "\(value) % of sandboxes are orphans"
            case .zombieShare: "\(value) % of sandboxes are zombies"
            case nil: "is no longer watched"
            }
        let line = (subject.isEmpty ? "" : subject + " ") + what
        return notice.cause == .resolved
            ? "\(alert.rule) is resolved; last: \(line)"
            : "\(alert.rule): \(line) (limit \(shown(alert.threshold)))"
    }

    /// With one digit behind the point, where there is one.
    private static func shown(_ value: Double) -> String {
        let tenths = (value * 10).rounded()
        guard tenths.magnitude < 1e15 else { return "\(value)" }
        let number = Int64(tenths)
        return number % 10 == 0 ? "\(number / 10)" : "\(number / 10).\(abs(number % 10))"
    }
}
