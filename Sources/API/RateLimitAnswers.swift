internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// 201: it is recorded.
func recorded(_ ask: Ask, _ verdict: Verdict) -> Response {
    var response = Response.json(
        encoded { write(recorded: ask, verdict, to: &$0) }, status: .created)
    if verdict.isReplay { response.fields.append(.replayed) }
    return response
}

func write(recorded ask: Ask, _ verdict: Verdict, to json: inout JSONWriter) {
    json.member("count", verdict.limits.first?.count ?? 0)
    json.member("operation", ask.operation)
    json.member("cost", ask.cost)
    json.member("recordedAt", orNull: verdict.admittedAt?.description)
    json.member("id", ifPresent: verdict.id?.description)
    if verdict.isReplay { json.member("replayed", true) }
}

/// 200, or the problem of a denial, with the RateLimit fields on both.
func acquired(_ ask: Ask, _ verdict: Verdict) throws(Failure) -> Response {
    let fields = rateLimitFields(verdict.limits, of: ask.operation)
    guard verdict.isAdmitted else {
        var problem = denial(ask, verdict)
        problem.fields += fields
        throw .problem(problem)
    }
    var response = Response.json(encoded { write(acquired: ask, verdict, to: &$0) })
    response.fields += fields
    if verdict.isReplay { response.fields.append(.replayed) }
    return response
}

func write(acquired ask: Ask, _ verdict: Verdict, to json: inout JSONWriter) {
    let deciding = verdict.deciding.flatMap { $0.applied.source == .count ? nil : $0 }
    json.member("allowed", true)
    json.member("count", orNull: verdict.deciding?.count)
    json.member("limit", orNull: deciding?.limit)
    json.member("exceeded", false)
    json.member("remaining", orNull: deciding?.remaining)
    json.member("operation", ask.operation)
    json.member("cost", ask.cost)
    json.member("recordedAt", orNull: verdict.admittedAt?.description)
    json.member("policy", orNull: deciding?.applied.name(for: ask.operation))
    json.member("windowMs", orNull: deciding?.applied.windowMs)
    json.member("id", ifPresent: verdict.id?.description)
    if verdict.isReplay { json.member("replayed", true) }
    if verdict.outcome == .admittedUnrecorded { json.member("degraded", true) }
    if verdict.limits.count > 1 { json.limits("limits", verdict.limits, of: ask.operation) }
}

/// 429 `quota-exceeded`.
func denial(_ ask: Ask, _ verdict: Verdict) -> Problem {
    guard case .denied(let retryAfter) = verdict.outcome, let decider = verdict.deciding else {
        return Problem(.internal)
    }
    return Problem(
        .quotaExceeded,
        detail:
            "\(ask.operation) has used \(decider.count) of \(decider.limit) units in the last \(decider.applied.span); nothing was recorded",
        retryAfter: retryAfter,
        members: [
            ("count", .integer(decider.count)), ("limit", .integer(decider.limit)),
            ("exceeded", .boolean(true)), ("remaining", .integer(decider.remaining)),
            ("operation", .string(ask.operation)), ("cost", .integer(Int64(ask.cost))),
            ("policy", .string(decider.applied.name(for: ask.operation))),
            ("windowMs", .integer(Int64(decider.applied.windowMs))),
        ])
}

/// Always 200: a question, and exceeded or not is its answer. The limit that was asked for is echoed;
/// a stored one with less room stands beside it.
func checked(_ operation: String, _ states: [LimitState]) throws(Failure) -> Response {
    let stored = states.filter { $0.applied.source != .call }
    let tightest = stored.filter(\.applied.isEnforced).min { $0.remaining < $1.remaining }
    guard let main = states.last(where: { $0.applied.source == .call }) ?? tightest ?? stored.first
    else {
        throw .problem(.invalid("maxPerHour", "is needed where no policy applies"))
    }
    let body = encoded { json in
        json.member("count", main.count)
        json.member("limit", main.limit)
        json.member("exceeded", main.isExceeded)
        json.member("remaining", main.remaining)
        json.member("operation", operation)
        json.member("windowMs", main.applied.windowMs)
        if main.applied.source != .call {
            json.member("policy", main.applied.name(for: operation))
        }
        if main.applied.source == .call, let tightest, tightest.remaining < main.remaining {
            json.startMember("stricter")
            json.value(LimitAnswer(state: tightest, operation: operation))
        }
        if !stored.isEmpty { json.limits("limits", stored, of: operation) }
    }
    var response = Response.json(body)
    response.fields += rateLimitFields(states, of: operation)
    return response
}

func refunded(_ refund: Refund) -> Response {
    var response = Response.json(
        encoded { json in
            json.member("id", refund.id.description)
            json.member("operation", refund.operation)
            json.member("cost", refund.units)
            json.member("recordedAt", refund.recordedAt.description)
            json.member("refundedAt", refund.refundedAt.description)
        })
    if refund.isReplay { response.fields.append(.replayed) }
    return response
}

extension Field {
    /// This answer was given before, to an earlier call with the same idempotency key.
    static let replayed = Field(FieldName("Idempotency-Replayed"), "true")
}

func encoded(_ members: (inout JSONWriter) -> Void) -> [UInt8] {
    var writer = JSONWriter()
    writer.object(members)
    return writer.bytes
}

// MARK: Limits

extension AppliedLimit {
    /// The policy that it is from: the operation's name, `*`, `default` or `maxPerHour`.
    func name(for operation: String) -> String {
        switch source {
        case .operation, .count: operation
        case .tenant: "*"
        case .standard: "default"
        case .call: "maxPerHour"
        }
    }

    var windowMs: Int { Int(limit.window) * 1000 }

    /// "100 units in 1 hour"
    var words: String { "\(limit.limit) units in \(windowText(limit.window))" }

    /// "hour", "30 minutes"
    var span: String {
        let text = windowText(limit.window)
        return text.hasPrefix("1 ") ? String(text.dropFirst(2)) : text
    }
}

/// One limit and what its window holds.
private struct LimitAnswer: JSONWritable {
    let state: LimitState
    let operation: String

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.member("policy", state.applied.name(for: operation))
            $0.member("limit", state.limit)
            $0.member("windowMs", state.applied.windowMs)
            $0.member("mode", state.applied.limit.mode.rawValue)
            $0.member("count", state.count)
            $0.member("remaining", state.remaining)
            $0.member("exceeded", state.isExceeded)
            $0.member("warning", state.isWarning)
            $0.member("nextFreeMs", orNull: state.nextFreeIn?.milliseconds)
        }
    }
}

extension JSONWriter {
    mutating func limits(_ name: String, _ states: [LimitState], of operation: String) {
        array(name) { writer in
            for state in states { writer.value(LimitAnswer(state: state, operation: operation)) }
        }
    }
}

/// RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11): of each enforced limit its
/// quota and window, what is left, and the seconds until more is.
func rateLimitFields(_ states: [LimitState], of operation: String) -> [Field] {
    var policies: [StructuredItem] = []
    var limits: [StructuredItem] = []
    for state in states where state.applied.isEnforced {
        let name = "\(state.applied.name(for: operation))/\(state.applied.limit.window)"
        policies.append(
            StructuredItem(
                .string(name),
                [
                    .init("q", .integer(state.limit)),
                    .init("w", .integer(Int64(state.applied.limit.window))),
                ]))
        var parameters = [StructuredItem.Parameter("r", .integer(state.remaining))]
        if let wait = state.nextFreeIn {
            parameters.append(.init("t", .integer(wait.wholeSecondsUp)))
        }
        limits.append(StructuredItem(.string(name), parameters))
    }
    guard let policies = policies.structuredText, let limits = limits.structuredText else {
        return []
    }
    return [Field(.rateLimitPolicy, policies), Field(.rateLimit, limits)]
}
