internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// Record, check, acquire, statistics, manual cleanup: the original's calls and the atomic one.
struct RateLimitRoutes {
    let endpoint: Endpoint
    private var services: Services { endpoint.services }

    var all: [Route] { decisions + readings }

    private var decisions: [Route] {
        let services = services
        return [
            endpoint.route(.post, "/v1/requests", "recordRequest", .record) {
                call throws(Failure) in
                let input = try call.body(RecordInput.self)
                let ask = input.ask(idempotency: try call.idempotency())
                let verdict = try await domain { () throws(ControlPlaneError) in
                    try await services.ledger.decide(ask, for: call.caller.tenant)
                }
                return recorded(ask, verdict)
            },
            endpoint.route(.post, "/v1/rate-limits/acquire", "acquire", .record) {
                call throws(Failure) in
                let input = try call.body(AcquireInput.self)
                let ask = input.ask(idempotency: try call.idempotency())
                let verdict = try await domain { () throws(ControlPlaneError) in
                    try await services.ledger.decide(ask, for: call.caller.tenant)
                }
                return try acquired(ask, verdict)
            },
            endpoint.route(.post, "/v1/requests/{id}/refund", "refundRequest", .record) {
                call throws(Failure) in
                let input = try call.bodyIfPresent(RefundInput.self)
                let idempotency = try call.idempotency()
                guard let id = call.request.parameter("id").flatMap({ UUID($0) }) else {
                    throw .domain(.notFound("request"))
                }
                let refund = try await domain { () throws(ControlPlaneError) in
                    try await Refunds(services.pipeline).refund(
                        id, units: input.cost, of: call.caller.tenant, idempotency: idempotency)
                }
                return refunded(refund)
            },
        ]
    }

    private var readings: [Route] {
        let services = services
        return [
            endpoint.route(
                .get, "/v1/rate-limits/check", "checkRateLimit", [.record, .read]
            ) { call throws(Failure) in
                let (operation, limit) = try checkInput(call)
                let states = try await domain { () throws(ControlPlaneError) in
                    try await services.ledger.states(
                        of: operation, maxPerHour: limit, for: call.caller.tenant)
                }
                return try checked(operation, states)
            },
            endpoint.route(.get, "/v1/rate-limits", "listRateLimits", [.record, .read]) {
                call throws(Failure) in
                let (limit, after) = try Cursor.page(
                    try call.query("limit", "cursor"), of: "rate-limits", services.settings)
                return try await rateLimits(call.caller.tenant, services.ledger, limit, after)
            },
            endpoint.route(.get, "/v1/stats", "getStats", [.record, .read]) {
                call throws(Failure) in
                let seconds = try windowSeconds(call, retention: services.ledger.settings.retention)
                let stats = try await domain { () throws(ControlPlaneError) in
                    try await services.ledger.stats(window: seconds, for: call.caller.tenant)
                }
                return .json(statistics(stats, seconds))
            },
            endpoint.route(
                .post, "/v1/maintenance/cleanup", "cleanup", [.admin, .operator]
            ) { call throws(Failure) in
                _ = try call.bodyIfPresent(NoInput.self)
                let report = try await domain { () throws(ControlPlaneError) in
                    try await services.ledger.settings.cleanUp(
                        call.caller.isOperator ? nil : call.caller.tenant, on: services.pipeline)
                }
                return .json(cleaned(report))
            },
        ]
    }
}

private func checkInput(_ call: Call) throws(Failure) -> (operation: String, limit: Int64?) {
    let query = try call.query("operation", "maxPerHour")
    guard let operation = query["operation"] else {
        throw .problem(.invalid("operation", "is needed"))
    }
    guard operationName(operation) else {
        throw .problem(.invalid("operation", "must be 1 to 64 of a-z, 0-9, '_', '.', '-'"))
    }
    guard let limit = query["maxPerHour"] else { return (operation, nil) }
    guard let number = wholeNumber(limit, in: Limit.units) else {
        throw .problem(.invalid("maxPerHour", "must be a whole number from 0 to 1000000000"))
    }
    return (operation, Int64(number))
}

/// Every policy's state, a page of operations at a time; their windows are counted in one batch.
private func rateLimits(
    _ tenant: Tenant.ID, _ ledger: Ledger, _ limit: Int, _ after: String?
) async throws(Failure) -> Response {
    let operations = try await domain { () throws(ControlPlaneError) in
        try await ledger.limitedOperations(of: tenant)
    }
    let page = Array(operations.drop { $0 <= after ?? "" }.prefix(limit + 1))
    let states = await withTaskGroup(
        of: (Int, Result<[LimitState], ControlPlaneError>).self
    ) { group in
        for (index, operation) in page.prefix(limit).enumerated() {
            group.addTask(executorPreference: ledger.loop) {
                do throws(ControlPlaneError) {
                    let name = operation == "*" ? nil : operation
                    return (index, .success(try await ledger.states(of: name, for: tenant)))
                } catch {
                    return (index, .failure(error))
                }
            }
        }
        var states = [Result<[LimitState], ControlPlaneError>](
            repeating: .success([]), count: page.count)
        for await (index, state) in group { states[index] = state }
        return states
    }
    var items: [(operation: String, limits: [LimitState])] = []
    for (operation, state) in zip(page, states) {
        let limits = try await domain { () throws(ControlPlaneError) in try state.get() }
        items.append((operation, limits.filter { $0.applied.isWide == (operation == "*") }))
    }
    return list("rate-limits", items, limit, last: \.operation) { item, writer in
        writer.object {
            $0.member("operation", item.operation)
            $0.limits("limits", item.limits, of: item.operation)
        }
    }
}

/// `window=1h`: a whole number and a unit, from a second to what the log keeps.
private func windowSeconds(_ call: Call, retention: Duration) throws(Failure) -> Int32 {
    guard let text = try call.query("window")["window"] else { return 3600 }
    let longest = Int(retention.milliseconds / 1000)
    let unit = ["s": 1, "m": 60, "h": 3600][String(text.suffix(1))]
    let digits = text.dropLast()
    guard let unit, digits.utf8.count <= 7, digits.allSatisfy({ $0.isASCII && $0.isNumber }),
        let number = Int(digits), (1...longest).contains(number * unit)
    else {
        throw .problem(
            .invalid("window", "must be like 90s, 30m or 1h, from 1 s to \(longest) s"))
    }
    return Int32(number * unit)
}

/// "1 hour", "30 minutes", "90 seconds": the largest unit that divides it.
func windowText(_ seconds: Int32) -> String {
    let (number, unit) =
        seconds % 3600 == 0
        ? (seconds / 3600, "hour")
        : seconds % 60 == 0 ? (seconds / 60, "minute") : (seconds, "second")
    return "\(number) \(unit)\(number == 1 ? "" : "s")"
}

private func statistics(_ stats: [(operation: String, units: Int64)], _ seconds: Int32) -> [UInt8] {
    var writer = JSONWriter()
    writer.object {
        $0.member("totalRequests", stats.reduce(0) { $0 + $1.units })
        $0.object("byOperation") { operations in
            for entry in stats { operations.member(entry.operation, entry.units) }
        }
        $0.member("timeWindow", windowText(seconds))
        $0.member("windowMs", Int(seconds) * 1000)
    }
    return writer.bytes
}

private func cleaned(_ report: CleanupReport) -> [UInt8] {
    var writer = JSONWriter()
    writer.object {
        $0.member("deleted", report.deleted)
        $0.member("requests", report.requests)
        $0.member("batches", report.batches)
        $0.member("hasMore", report.hasMore)
        $0.member("oldestRetained", orNull: report.oldestRetained?.description)
    }
    return writer.bytes
}
