internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// Record, check, acquire, statistics, manual cleanup: the original's calls and the atomic one.
struct RateLimitRoutes {
    let endpoint: Endpoint
    private var services: Services { endpoint.services }

    var all: [Route] {
        let services = services
        return [
            endpoint.route(.post, "/v1/requests", "recordRequest", .record) {
                call throws(Failure) in
                let input = try call.body(RecordInput.self)
                let (count, at) = try await domain { () throws(ControlPlaneError) in
                    try await services.ledger.record(
                        input.operation, cost: input.cost, for: call.caller.tenant)
                }
                return .json(recorded(input, count, at), status: .created)
            },
            endpoint.route(
                .get, "/v1/rate-limits/check", "checkRateLimit", [.record, .read]
            ) { call throws(Failure) in
                let (operation, limit) = try checkInput(call)
                let count = try await domain { () throws(ControlPlaneError) in
                    try await services.ledger.count(operation, for: call.caller.tenant)
                }
                return .json(checked(operation, count: count, limit: limit))
            },
            endpoint.route(.post, "/v1/rate-limits/acquire", "acquire", .record) {
                call throws(Failure) in
                let input = try call.body(AcquireInput.self)
                return try await acquire(input, call, services)
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

/// The body of `recordRequest`.
private struct RecordInput: JSONReadable {
    let operation: String
    let cost: Int32

    init(from reader: inout JSONReader) throws(JSONError) {
        var operation: String?
        var cost = 1
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "operation": operation = try reader.readOperation()
            case "cost": cost = try reader.readInt(in: 1...1_000_000)
            default: throw reader.unknownField(key)
            }
        }
        self.operation = try reader.require(operation, "operation")
        self.cost = Int32(cost)
    }
}

/// The body of `acquire`.
private struct AcquireInput: JSONReadable {
    let operation: String
    let cost: Int32
    let limit: Int

    init(from reader: inout JSONReader) throws(JSONError) {
        var operation: String?
        var cost = 1
        var limit: Int?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "operation": operation = try reader.readOperation()
            case "cost": cost = try reader.readInt(in: 1...1_000_000)
            case "maxPerHour": limit = try reader.readInt(in: 0...1_000_000_000)
            default: throw reader.unknownField(key)
            }
        }
        self.operation = try reader.require(operation, "operation")
        self.limit = try reader.require(limit, "maxPerHour")
        self.cost = Int32(cost)
    }
}

/// A body that says nothing: `{}`.
struct NoInput: JSONReadable {
    init(from reader: inout JSONReader) throws(JSONError) {
        try reader.readObject { key, reader throws(JSONError) in throw reader.unknownField(key) }
    }
}

private func checkInput(_ call: Call) throws(Failure) -> (operation: String, limit: Int) {
    let query = try call.query("operation", "maxPerHour")
    guard let operation = query["operation"] else {
        throw .problem(.invalid("operation", "is needed"))
    }
    guard operationName(operation) else {
        throw .problem(.invalid("operation", "must be 1 to 64 of a-z, 0-9, '_', '.', '-'"))
    }
    guard let limit = query["maxPerHour"] else {
        throw .problem(.invalid("maxPerHour", "is needed"))
    }
    guard let number = wholeNumber(limit, in: 0...1_000_000_000) else {
        throw .problem(.invalid("maxPerHour", "must be a whole number from 0 to 1000000000"))
    }
    return (operation, number)
}

private func acquire(
    _ input: AcquireInput, _ call: Call, _ services: Services
) async throws(Failure) -> Response {
    guard Int(input.cost) <= input.limit else {
        throw .problem(
            Problem(
                .costExceedsLimit,
                detail: "a cost of \(input.cost) never fits a limit of \(input.limit)",
                errors: [
                    .init(input.limit == 0 ? "/maxPerHour" : "/cost", "cost is above maxPerHour")
                ]))
    }
    let decision = try await domain { () throws(ControlPlaneError) in
        try await services.ledger.acquire(
            input.operation, cost: input.cost, limit: Int64(input.limit), for: call.caller.tenant)
    }
    let limit = Int64(input.limit)
    switch decision {
    case .admitted(let count, let at):
        var writer = JSONWriter()
        writer.object {
            $0.member("allowed", true)
            $0.member("count", count)
            $0.member("limit", limit)
            $0.member("exceeded", false)
            $0.member("remaining", max(0, limit - count))
            $0.member("operation", input.operation)
            $0.member("cost", input.cost)
            $0.member("recordedAt", at.description)
        }
        return .json(writer.bytes)
    case .denied(let count, let retryAfter):
        throw .problem(
            Problem(
                .quotaExceeded,
                detail:
                    "\(input.operation) has used \(count) of \(limit) units in the last hour; nothing was recorded",
                retryAfter: retryAfter,
                members: [
                    ("count", .integer(count)), ("limit", .integer(limit)),
                    ("exceeded", .boolean(true)), ("remaining", .integer(max(0, limit - count))),
                    ("operation", .string(input.operation)), ("cost", .integer(Int64(input.cost))),
                ]))
    }
}

private func recorded(_ input: RecordInput, _ count: Int64, _ at: Timestamp) -> [UInt8] {
    var writer = JSONWriter()
    writer.object {
        $0.member("count", count)
        $0.member("operation", input.operation)
        $0.member("cost", input.cost)
        $0.member("recordedAt", at.description)
    }
    return writer.bytes
}

private func checked(_ operation: String, count: Int64, limit: Int) -> [UInt8] {
    var writer = JSONWriter()
    writer.object {
        $0.member("count", count)
        $0.member("limit", limit)
        $0.member("exceeded", count >= limit)
        $0.member("remaining", max(0, Int64(limit) - count))
        $0.member("operation", operation)
        $0.member("windowMs", 3_600_000)
    }
    return writer.bytes
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
