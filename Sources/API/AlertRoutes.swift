internal import ControlPlane
internal import HTTP
internal import JSON
internal import Postgres

/// Alerts, their rules, and what silences them. With an operator's key those of the fleet.
struct AlertRoutes {
    let endpoint: Endpoint

    static let readers: Scopes = [.read, .admin, .operator]
    static let writers: Scopes = [.admin, .operator]

    var all: [Route] { alerts + rules + silences }

    private var store: Alerts { Alerts(endpoint.services.pipeline) }

    private var alerts: [Route] {
        let (alerts, settings) = (store, endpoint.services.settings)
        return [
            endpoint.route(.get, "/v1/alerts", "listAlerts", Self.readers) { call throws(Failure) in
                let query = try call.query("state", "rule", "allTenants", "limit", "cursor")
                let filter = try alertFilter(query, call)
                let (limit, before) = try Cursor.page(query, of: "alerts", settings)
                let page = try await domain { () throws(ControlPlaneError) in
                    try await alerts.list(
                        of: call.caller.tenant, filter, before: before.flatMap { UUID($0) },
                        limit: limit + 1)
                }
                return list("alerts", page, limit, last: \.id.description, write)
            },
            endpoint.route(.get, "/v1/alerts/{alertId}", "getAlert", Self.readers) {
                call throws(Failure) in
                let id = try call.id("alertId", "alert")
                _ = try call.query()
                return shown(
                    try await domain { () throws(ControlPlaneError) in
                        try await alerts.alert(id, of: call.caller.tenant)
                    })
            },
            endpoint.route(
                .post, "/v1/alerts/{alertId}/acknowledge", "acknowledgeAlert", Self.writers
            ) { call throws(Failure) in
                let id = try call.id("alertId", "alert")
                let input = try call.bodyIfPresent(ReasonInput.self)
                return shown(
                    try await domain { () throws(ControlPlaneError) in
                        try await alerts.acknowledge(
                            id, of: call.caller.tenant, reason: input.reason, by: call.actor)
                    })
            },
            endpoint.route(.post, "/v1/alerts/{alertId}/silence", "silenceAlert", Self.writers) {
                call throws(Failure) in
                let id = try call.id("alertId", "alert")
                let input = try call.body(SilenceInput.self)
                try input.refuse(rule: true)
                let idempotency = try call.idempotency()
                let made = try await domain { () throws(ControlPlaneError) in
                    let alert = try await alerts.alert(id, of: call.caller.tenant)
                    return try await alerts.silence(
                        .init(
                            rule: alert.rule, labels: alert.labels, endsAt: input.endsAt,
                            reason: input.reason),
                        of: call.caller.tenant, by: call.actor, idempotency: idempotency)
                }
                return created(made)
            },
        ]
    }

    private var rules: [Route] {
        let alerts = store
        return [
            endpoint.route(.get, "/v1/alert-rules", "listAlertRules", Self.readers) {
                call throws(Failure) in
                _ = try call.query()
                let rules = try await domain { () throws(ControlPlaneError) in
                    try await alerts.rules(of: call.caller.tenant)
                }
                return list("alertRules", rules, rules.count, last: \.name, write)
            },
            endpoint.route(.get, "/v1/alert-rules/{ruleName}", "getAlertRule", Self.readers) {
                call throws(Failure) in
                _ = try call.query()
                return shown(
                    try await domain { () throws(ControlPlaneError) in
                        try await alerts.rule(
                            call.request.parameter("ruleName") ?? "", of: call.caller.tenant)
                    })
            },
            endpoint.route(.put, "/v1/alert-rules/{ruleName}", "putAlertRule", Self.writers) {
                call throws(Failure) in
                let name = call.request.parameter("ruleName") ?? ""
                guard AlertRule.isName(name) else {
                    throw .problem(.invalid("ruleName", "must be 1 to 64 of a-z, 0-9 and '-'"))
                }
                let input = try call.body(RuleInput.self)
                let precondition = try call.precondition()
                let (rule, isNew) = try await domain { () throws(ControlPlaneError) in
                    try await alerts.putRule(
                        name, input.patch, of: call.caller.tenant, if: precondition,
                        by: call.actor)
                }
                return shown(rule, isNew ? .created : .ok)
            },
            endpoint.route(
                .delete, "/v1/alert-rules/{ruleName}", "deleteAlertRule", Self.writers
            ) { call throws(Failure) in
                _ = try call.query()
                let precondition = try call.precondition()
                try await domain { () throws(ControlPlaneError) in
                    try await alerts.deleteRule(
                        call.request.parameter("ruleName") ?? "", of: call.caller.tenant,
                        if: precondition, by: call.actor)
                }
                return Response(.noContent)
            },
        ]
    }

    private var silences: [Route] {
        let (alerts, settings) = (store, endpoint.services.settings)
        return [
            endpoint.route(.get, "/v1/alert-silences", "listAlertSilences", Self.readers) {
                call throws(Failure) in
                let (limit, before) = try Cursor.page(
                    try call.query("limit", "cursor"), of: "alertSilences", settings)
                let page = try await domain { () throws(ControlPlaneError) in
                    try await alerts.silences(
                        of: call.caller.tenant, before: before.flatMap { UUID($0) },
                        limit: limit + 1)
                }
                return list("alertSilences", page, limit, last: \.id.description, write)
            },
            endpoint.route(.post, "/v1/alert-silences", "createAlertSilence", Self.writers) {
                call throws(Failure) in
                let input = try call.body(SilenceInput.self)
                let idempotency = try call.idempotency()
                let made = try await domain { () throws(ControlPlaneError) in
                    try await alerts.silence(
                        .init(
                            rule: input.rule, labels: input.labels ?? [:], endsAt: input.endsAt,
                            reason: input.reason),
                        of: call.caller.tenant, by: call.actor, idempotency: idempotency)
                }
                return created(made)
            },
            endpoint.route(
                .delete, "/v1/alert-silences/{silenceId}", "endAlertSilence", Self.writers
            ) { call throws(Failure) in
                let id = try call.id("silenceId", "silence")
                _ = try call.query()
                try await domain { () throws(ControlPlaneError) in
                    try await alerts.endSilence(id, of: call.caller.tenant, by: call.actor)
                }
                return Response(.noContent)
            },
        ]
    }
}

// MARK: Input

extension Call {
    /// The id that the path names; what is none is of nothing.
    func id(_ parameter: String, _ what: String) throws(Failure) -> UUID {
        guard let id = UUID(request.parameter(parameter) ?? "") else {
            throw .domain(.notFound(what))
        }
        return id
    }
}

private func alertFilter(
    _ query: [String: String], _ call: Call
) throws(Failure) -> Alerts.Filter {
    var filter = Alerts.Filter()
    if let text = query["state"] {
        guard let state = Alert.State(rawValue: text) else {
            throw .problem(.invalid("state", "must be pending, firing or resolved"))
        }
        filter.state = state
    }
    if let name = query["rule"] {
        guard AlertRule.isName(name) else {
            throw .problem(.invalid("rule", "must be 1 to 64 of a-z, 0-9 and '-'"))
        }
        filter.rule = name
    }
    switch query["allTenants"] {
    case nil, "false"?: break
    case "true"?:
        guard call.caller.isOperator else {
            throw .problem(.invalid("allTenants", "is for operators alone"))
        }
        filter.allTenants = true
    default: throw .problem(.invalid("allTenants", "must be true or false"))
    }
    return filter
}

private struct ReasonInput: JSONReadable {
    let reason: String?

    init(from reader: inout JSONReader) throws(JSONError) {
        var reason: String?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "reason": if try !reader.readNull() { reason = try reader.readLabel(0...500) }
            default: throw reader.unknownField(key)
            }
        }
        self.reason = reason
    }
}

private struct RuleInput: JSONReadable {
    let patch: AlertRule.Patch

    init(from reader: inout JSONReader) throws(JSONError) {
        var patch = AlertRule.Patch()
        try reader.readObject { key, reader throws(JSONError) in
            if try !patch.read(key, &reader) { throw reader.unknownField(key) }
        }
        self.patch = patch
    }
}

private struct SilenceInput: JSONReadable {
    let rule: String?
    let labels: [String: String]?
    let endsAt: Timestamp
    let reason: String

    /// The longest silence: what lasts longer is a rule that is off.
    static let longest = Duration.seconds(366 * 86_400)

    init(from reader: inout JSONReader) throws(JSONError) {
        var (rule, labels): (String?, [String: String]?)
        var (endsAt, reason): (Timestamp?, String?)
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "rule": if try !reader.readNull() { rule = try reader.readRuleName() }
            case "labels":
                var read: [String: String] = [:]
                try reader.readObject { key, reader throws(JSONError) in
                    guard read.count < 10, isLabelName(key.string) else {
                        throw reader.failure(
                            .count, "must be at most 10 names, each a letter and up to 63 of A-Z, a-z, 0-9, _")
                    }
                    read[key.string] = try reader.readLabel(0...200)
                }
                labels = read
            case "endsAt":
                let time = try reader.readFuture()
                guard time < .now + Self.longest else {
                    throw reader.failure(.range, "must be within a year")
                }
                endsAt = time
            case "reason": reason = try reader.readLabel(1...500)
            default: throw reader.unknownField(key)
            }
        }
        (self.rule, self.labels) = (rule, labels)
        self.endsAt = try reader.require(endsAt, "endsAt")
        self.reason = try reader.require(reason, "reason")
    }

    /// Where the alert says what is silenced.
    func refuse(rule refusesRule: Bool) throws(Failure) {
        for (name, isThere) in [("rule", rule != nil), ("labels", labels != nil)]
        where isThere && refusesRule {
            throw .problem(.invalid("/\(name)", "is no member of this call"))
        }
    }
}

private func isLabelName(_ text: String) -> Bool {
    func isLetter(_ byte: UInt8) -> Bool {
        (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
    }
    return text.utf8.count <= 64 && text.utf8.first.map(isLetter) == true
        && text.utf8.allSatisfy {
            isLetter($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "_")
        }
}

// MARK: Answers

private func shown(_ alert: Alert) -> Response {
    var writer = JSONWriter()
    write(alert, &writer)
    return .json(writer.bytes)
}

private func shown(_ rule: NamedAlertRule, _ status: Status = .ok) -> Response {
    var writer = JSONWriter()
    write(rule, &writer)
    var response = Response.json(writer.bytes, status: status)
    response.fields.append(Field(.eTag, "\"\(rule.version)\""))
    if status == .created {
        response.fields.append(Field(.location, "/v1/alert-rules/\(rule.name)"))
    }
    return response
}

private func created(_ made: Made<AlertSilence>) -> Response {
    var writer = JSONWriter()
    write(made.value, &writer)
    var response = Response.json(writer.bytes, status: .created)
    if made.isReplay { response.fields.append(.replayed) }
    return response
}

private func write(_ labels: [String: String], _ writer: inout JSONWriter) {
    writer.object("labels") {
        for (name, value) in labels.sorted(by: { $0.key < $1.key }) { $0.member(name, value) }
    }
}

private func write(_ alert: Alert, _ writer: inout JSONWriter) {
    writer.object {
        $0.member("id", alert.id.description)
        $0.member("tenantId", alert.tenant.description)
        $0.member("rule", alert.rule)
        $0.member("severity", alert.severity.rawValue)
        $0.member("state", alert.state.rawValue)
        write(alert.labels, &$0)
        $0.member("fingerprint", alert.fingerprint)
        $0.member("value", alert.value)
        $0.member("threshold", alert.threshold)
        $0.member("startedAt", alert.startedAt.description)
        $0.member("firedAt", orNull: alert.firedAt?.description)
        $0.member("clearSince", orNull: alert.clearSince?.description)
        $0.member("resolvedAt", orNull: alert.resolvedAt?.description)
        $0.member("notifiedAt", orNull: alert.notifiedAt?.description)
        $0.member("notifications", alert.notifications)
        $0.member("silenced", alert.isSilenced)
        $0.member("inhibited", alert.isInhibited)
        $0.member("acknowledgedAt", orNull: alert.acknowledgedAt?.description)
        $0.member("acknowledgedBy", orNull: alert.acknowledgedBy)
        $0.member("acknowledgedReason", orNull: alert.acknowledgedReason)
    }
}

private func write(_ named: NamedAlertRule, _ writer: inout JSONWriter) {
    writer.object {
        $0.member("name", named.name)
        named.rule.writeMembers(to: &$0)
        $0.member("unit", named.rule.kind.unit)
        $0.member("isDefault", named.isDefault)
        $0.member("version", named.version)
        $0.member("updatedAt", orNull: named.updatedAt?.description)
        $0.member("updatedBy", orNull: named.updatedBy)
    }
}

private func write(_ silence: AlertSilence, _ writer: inout JSONWriter) {
    writer.object {
        $0.member("id", silence.id.description)
        $0.member("rule", orNull: silence.rule)
        write(silence.labels, &$0)
        $0.member("startsAt", silence.startsAt.description)
        $0.member("endsAt", silence.endsAt.description)
        $0.member("reason", silence.reason)
        $0.member("author", silence.author)
    }
}
