internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// Permits for calls that callers make themselves, and their outcomes.
struct AttemptRoutes {
    let endpoint: Endpoint

    var all: [Route] {
        let (attempts, sandboxes) = (endpoint.services.attempts, endpoint.services.sandboxes)
        return [
            endpoint.route(.post, "/v1/attempts", "startAttempt", .record) { call throws(Failure) in
                let input = try call.body(PermitInput.self)
                let request = input.request(
                    of: call.caller.tenant, idempotency: try call.idempotency(),
                    traceID: call.request.trace.traceID)
                let answer = try await domain { () throws(ControlPlaneError) in
                    try await attempts.permit(request)
                }
                // The ledger's decision has just proven them.
                let times = await sandboxes.knownTimes(of: call.caller.tenant)
                return permitted(answer, request, times)
            },
            endpoint.route(.post, "/v1/attempts/{attemptId}/outcome", "reportOutcome", .record) {
                call throws(Failure) in
                let report = try call.body(OutcomeInput.self)
                    .report(traceID: call.request.trace.traceID)
                let advice = try await domain { () throws(ControlPlaneError) in
                    try await attempts.report(
                        report, of: call.request.parameter("attemptId") ?? "",
                        for: call.caller.tenant)
                }
                return advised(report, advice)
            },
            endpoint.route(.get, "/v1/attempts/{attemptId}", "getAttempt", [.record, .read]) {
                call throws(Failure) in
                _ = try call.query()
                let (token, tries) = try await domain { () throws(ControlPlaneError) in
                    try await attempts.tries(
                        of: call.request.parameter("attemptId") ?? "", for: call.caller.tenant)
                }
                return shown(token, tries)
            },
        ]
    }
}

/// The body of `startAttempt`.
private struct PermitInput: JSONReadable {
    let operation: String
    let cost: Int32
    let maxPerHour: Int64?
    let provider: String
    let region: String?
    let operationClass: BreakerKey.OperationClass
    let deadline: Duration?
    let template: String?
    let framework: String?
    let marks: Marks

    init(from reader: inout JSONReader) throws(JSONError) {
        var operation: String?
        var cost = 1
        var (limit, deadline) = (Int?.none, Int?.none)
        var (provider, region) = ("e2b", String?.none)
        var (template, framework) = (String?.none, String?.none)
        var operationClass: BreakerKey.OperationClass?
        var marks = Marks()
        let longest = Int(Attempts.Settings.longestDeadline.milliseconds)
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "operation": operation = try reader.readOperation()
            case "cost": cost = try reader.readInt(in: 1...1_000_000)
            case "maxPerHour": limit = try reader.readInt(in: Limit.units)
            case "provider": provider = try reader.readProviderName()
            case "region": region = try reader.readProviderName()
            case "operationClass": operationClass = try reader.readChoice()
            case "deadlineMs": deadline = try reader.readInt(in: 1...longest)
            case "template": template = try reader.readToken(1...200)
            case "framework": framework = try reader.readToken(1...100)
            default: try marks.read(key, &reader)
            }
        }
        let name = try reader.require(operation, "operation")
        self.operation = name
        self.cost = Int32(cost)
        maxPerHour = limit.map { Int64($0) }
        self.provider = provider
        self.region = region
        self.operationClass = operationClass ?? BreakerKey.OperationClass(ofOperation: name)
        self.deadline = deadline.map { .milliseconds($0) }
        (self.template, self.framework) = (template, framework)
        self.marks = marks
    }

    func request(
        of tenant: Tenant.ID, idempotency: Idempotency?, traceID: String
    ) -> PermitRequest {
        PermitRequest(
            Ask(
                operation, cost: cost, maxPerHour: maxPerHour,
                identity: marks.identity(idempotency)),
            tenant: tenant, provider: provider, region: region, operationClass,
            deadline: deadline, template: template, framework: framework, traceID: traceID)
    }
}

/// The body of `reportOutcome`.
private struct OutcomeInput: JSONReadable {
    private let number: Int
    private let outcome: TryRecord.Outcome
    private let duration: Duration
    private let facts: ErrorFacts?
    private let willRetry: Bool
    private let sandboxID: String?

    init(from reader: inout JSONReader) throws(JSONError) {
        var outcome: TryRecord.Outcome?
        var (number, duration) = (1, 0)
        var willRetry = false
        var facts: ErrorFacts?
        var sandboxID: String?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "outcome": outcome = try reader.readChoice()
            case "attempt": number = try reader.readInt(in: 1...Attempts.Settings.mostTries)
            case "durationMs": duration = try reader.readInt(in: 0...86_400_000)
            case "willRetry": willRetry = try reader.readBool()
            case "sandboxId": sandboxID = try reader.readToken(1...200)
            case "error":
                var known = ErrorFacts()
                try reader.readObject { key, reader throws(JSONError) in
                    try known.read(key, &reader)
                }
                facts = known
            default: throw reader.unknownField(key)
            }
        }
        let what = try reader.require(outcome, "outcome")
        if what == .failed {
            facts = try reader.require(facts, "error")
        } else if facts != nil {
            throw reader.failure(.range, "has an error, which \(what.rawValue) has not")
        }
        if sandboxID != nil, what != .succeeded {
            throw reader.failure(.range, "has a sandboxId, which \(what.rawValue) has not")
        }
        self.number = number
        self.outcome = what
        self.duration = .milliseconds(duration)
        self.facts = facts
        self.willRetry = willRetry
        self.sandboxID = sandboxID
    }

    func report(traceID: String) -> TryReport {
        TryReport(
            number: number, outcome: outcome, duration: duration, facts: facts,
            willRetry: willRetry, sandboxID: sandboxID, traceID: traceID)
    }
}

extension JSONReader {
    /// What goes into a permit's id, or names a thing of the provider's.
    fileprivate mutating func readToken(_ length: ClosedRange<Int>) throws(JSONError) -> String {
        let text = try readString(maxBytes: length.upperBound)
        guard length.contains(text.utf8.count), text.utf8.allSatisfy({ (0x20...0x7e).contains($0) })
        else {
            throw failure(
                .range,
                "must be \(length.lowerBound) to \(length.upperBound) printable ASCII characters")
        }
        return text
    }

    fileprivate mutating func readProviderName() throws(JSONError) -> String {
        let name = try readString(maxBytes: 40)
        guard BreakerKey.isName(name) else {
            throw failure(.range, "must be 1 to 40 of a-z, 0-9, '_', '.', '-'")
        }
        return name
    }
}

// MARK: Answers

/// Always 200: a question, and no is an answer to it.
private func permitted(
    _ answer: PermitAnswer, _ request: PermitRequest, _ times: SandboxTimes
) -> Response {
    switch answer {
    case .allowed(let permit):
        var response = Response.json(encoded { write(permit, request, times, to: &$0) })
        guard let verdict = permit.verdict else { return response }
        response.fields += rateLimitFields(verdict.limits, of: request.ask.operation)
        if verdict.isReplay { response.fields.append(.replayed) }
        return response
    case .breakerOpen(let refusal, let state):
        return .json(
            encoded { json in
                json.member("allowed", false)
                json.member("reason", "breaker_open")
                json.member("retryAfterMs", max(refusal.retryAfter.milliseconds, 1))
                json.member("message", refusal.message)
                json.member("breaker", refusal.key.id)
                json.member("breakerState", state.rawValue)
            })
    case .throttled(let reason, let wait):
        return .json(
            encoded { json in
                json.member("allowed", false)
                json.member("reason", reason == .concurrency ? "concurrency" : "creation_budget")
                json.member("retryAfterMs", max(wait.milliseconds, 1))
                json.member(
                    "message",
                    "the provider's account lets no creation through now: \(reason.rawValue)")
            })
    case .overQuota(let verdict):
        var response = Response.json(encoded { write(denied: verdict, request, to: &$0) })
        response.fields += rateLimitFields(verdict.limits, of: request.ask.operation)
        return response
    }
}

private func write(
    _ permit: Permit, _ request: PermitRequest, _ times: SandboxTimes, to json: inout JSONWriter
) {
    let deciding = permit.verdict?.deciding
    let limit = deciding.flatMap { $0.applied.source == .count ? nil : $0 }
    json.member("allowed", true)
    json.member("id", permit.id)
    json.member("operation", request.ask.operation)
    json.member("cost", request.ask.cost)
    json.member("provider", permit.token.ticket.key.provider)
    json.member("region", permit.token.ticket.key.region)
    json.member("apiUrl", ifPresent: permit.region?.apiURL)
    json.member("domain", ifPresent: permit.region?.domain)
    json.member("breaker", permit.token.ticket.key.id)
    json.member("breakerState", permit.breakerState.rawValue)
    json.member("probe", permit.token.ticket.isProbe)
    json.member("count", orNull: deciding?.count)
    json.member("limit", orNull: limit?.limit)
    json.member("remaining", orNull: limit?.remaining)
    json.member("recordedAt", orNull: permit.verdict?.admittedAt?.description)
    json.member("recordId", ifPresent: permit.verdict?.id?.description)
    json.member("deadlineMs", orNull: request.deadline?.milliseconds)
    write(times, to: &json)
    json.member("degraded", permit.isDegraded)
}

/// What callers are told to keep to.
func write(_ times: SandboxTimes, to json: inout JSONWriter) {
    json.object("timeouts") {
        $0.member("callMs", times.call.milliseconds)
        $0.member("sandboxLifeMs", times.life.milliseconds)
        $0.member("fileReadMs", times.fileRead.milliseconds)
        $0.member("buildMs", times.build.milliseconds)
    }
}

private func write(denied verdict: Verdict, _ request: PermitRequest, to json: inout JSONWriter) {
    let operation = request.ask.operation
    json.member("allowed", false)
    json.member("reason", "quota_exceeded")
    if case .denied(let wait) = verdict.outcome {
        json.member("retryAfterMs", orNull: wait.map { max($0.milliseconds, 1) })
    }
    guard let decider = verdict.deciding else { return }
    json.member(
        "message",
        "\(operation) has used \(decider.count) of \(decider.limit) units in the last \(decider.applied.span); nothing was recorded"
    )
    json.member("count", decider.count)
    json.member("limit", decider.limit)
    json.member("remaining", decider.remaining)
    json.member("policy", decider.applied.name(for: operation))
    json.member("windowMs", decider.applied.windowMs)
}

private func advised(_ report: TryReport, _ advice: Advice) -> Response {
    var response = Response.json(
        encoded { json in
            json.member("attempt", report.number)
            switch advice.next {
            case .done:
                json.member("retry", false)
                json.member("retryAfterMs", orNull: Int64?.none)
                json.member("stop", orNull: String?.none)
            case .retry(let wait):
                json.member("retry", true)
                json.member("retryAfterMs", wait.milliseconds)
                json.member("stop", orNull: String?.none)
            case .stop(let stop, let wait):
                json.member("retry", false)
                json.member("retryAfterMs", orNull: wait?.milliseconds)
                json.member("stop", stop.rawValue)
            }
            json.member("nextRecordedAt", ifPresent: advice.verdict?.admittedAt?.description)
            if let error = advice.error {
                json.object("error") { write(error, to: &$0) }
            }
            if advice.isReplay { json.member("replayed", true) }
            json.member("degraded", advice.isDegraded)
        })
    if advice.isReplay { response.fields.append(.replayed) }
    return response
}

private func shown(_ token: AttemptToken, _ tries: [StoredTry]) -> Response {
    .json(
        encoded { json in
            json.member("operation", token.operation)
            json.member("breaker", token.ticket.key.id)
            json.member("issuedAt", token.issuedAt.description)
            json.array("tries") { writer in
                for one in tries {
                    writer.object {
                        $0.member("attempt", one.number)
                        $0.member("endedAt", one.endedAt.description)
                        $0.member("outcome", one.outcome.rawValue)
                        $0.member("kind", orNull: one.kind?.rawValue)
                        $0.member("durationMs", one.duration.milliseconds)
                        $0.member("retryAfterMs", orNull: one.wait?.milliseconds)
                        $0.member("stop", orNull: one.stop)
                    }
                }
            }
        })
}
