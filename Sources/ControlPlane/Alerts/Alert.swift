internal import Crypto
internal import JSON
package import Postgres

/// One time that a rule was broken, from its beginning to its end.
package struct Alert: Hashable, Sendable {
    package enum State: String, Hashable, Sendable, CaseIterable { case pending, firing, resolved }

    package let tenant: Tenant.ID
    package let id: UUID
    package let rule: String
    package let labels: [String: String]
    package var severity: AlertRule.Severity
    package var state: State
    /// As last measured; of a resolved one, as measured then, where it was.
    package var value: Double
    package var threshold: Double
    package let startedAt: Timestamp
    package var firedAt: Timestamp?
    /// Since when it is over, while it still fires.
    package var clearSince: Timestamp?
    package var resolvedAt: Timestamp?
    package var notifiedAt: Timestamp?
    /// How often it was told.
    package var notifications: Int32 = 0
    package var isSilenced = false
    package var isInhibited = false
    package var acknowledgedAt: Timestamp?
    package var acknowledgedBy: String?
    package var acknowledgedReason: String?

    init(_ tenant: Tenant.ID, _ name: String, _ rule: AlertRule, _ measure: Measure, at now: Timestamp)
    {
        self.tenant = tenant
        id = .v7(at: now)
        self.rule = name
        labels = measure.labels
        severity = rule.severity
        state = .pending
        value = measure.value
        threshold = rule.threshold
        startedAt = now
    }

    init(_ row: Row) throws(PostgresError) {
        tenant = Tenant.ID(try row.uuid("tenant_id"))
        id = try row.uuid("id")
        rule = try row.text("rule")
        labels = readLabels(try row.json("labels"))
        severity = AlertRule.Severity(rawValue: try row.text("severity")) ?? .warning
        state = State(rawValue: try row.text("state")) ?? .resolved
        value = try row.double("value")
        threshold = try row.double("threshold")
        startedAt = try row.timestamp("started_at")
        firedAt = try row.timestampIfPresent("fired_at")
        clearSince = try row.timestampIfPresent("clear_since")
        resolvedAt = try row.timestampIfPresent("resolved_at")
        notifiedAt = try row.timestampIfPresent("notified_at")
        notifications = try row.int32("notifications")
        isSilenced = try row.bool("silenced")
        isInhibited = try row.bool("inhibited")
        acknowledgedAt = try row.timestampIfPresent("acknowledged_at")
        acknowledgedBy = try row.textIfPresent("acknowledged_by")
        acknowledgedReason = try row.textIfPresent("acknowledged_reason")
    }

    package var fingerprint: String { Self.fingerprint(rule, labels) }

    /// What is the same trouble has the same one: half of a SHA-256 over the rule and the labels in order,
    /// each with its length before it.
    static func fingerprint(_ rule: String, _ labels: [String: String]) -> String {
        let parts = [rule] + labels.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value] }
        let text = parts.map { "\($0.utf8.count):\($0)" }.joined()
        return hexadecimal(Array(SHA256.hash(data: Array(text.utf8)).prefix(16)))
    }
}

/// What a rule looks at: one value of its kind, for one tenant and one set of labels.
struct Measure: Hashable, Sendable {
    let tenant: Tenant.ID
    let kind: AlertKind
    let labels: [String: String]
    /// The window's length in seconds; 0 where the kind has none.
    var window: Int32 = 0
    let value: Double
    /// How many the value was judged by.
    var volume: Int64 = 0
}

/// Alerts that are not told for some time.
package struct AlertSilence: Hashable, Sendable {
    package let id: UUID
    package let tenant: Tenant.ID
    /// Nil: any.
    package let rule: String?
    package let labels: [String: String]
    package let startsAt: Timestamp
    package let endsAt: Timestamp
    package let reason: String
    package let author: String

    init(_ row: Row) throws(PostgresError) {
        id = try row.uuid("id")
        tenant = Tenant.ID(try row.uuid("tenant_id"))
        rule = try row.textIfPresent("rule")
        labels = readLabels(try row.json("labels"))
        startsAt = try row.timestamp("starts_at")
        endsAt = try row.timestamp("ends_at")
        reason = try row.text("reason")
        author = try row.text("author")
    }

    func covers(_ alert: Alert, at now: Timestamp) -> Bool {
        startsAt <= now && now < endsAt && tenant == alert.tenant
            && (rule == nil || rule == alert.rule)
            && labels.allSatisfy { alert.labels[$0.key] == $0.value }
    }
}

/// An object of texts.
func readLabels(_ text: String) -> [String: String] {
    guard case .object(let members)? = JSONValue(bytes: Array(text.utf8)) else { return [:] }
    var labels: [String: String] = [:]
    for member in members { labels[member.name] = member.value.string }
    return labels
}

func jsonText(_ labels: [String: String]) -> String {
    var writer = JSONWriter()
    writer.object {
        for (name, value) in labels.sorted(by: { $0.key < $1.key }) { $0.member(name, value) }
    }
    return String(decoding: writer.bytes, as: UTF8.self)
}
