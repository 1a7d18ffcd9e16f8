internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// Usage over time, for charts.
struct UsageRoutes {
    /// Points of one answer: a day of minutes, or 62 days of hours.
    static let maxPoints = 1_500
    /// Operations of one answer.
    static let maxTop = 100

    let endpoint: Endpoint

    var all: [Route] {
        let directory = endpoint.services.directory
        return [
            endpoint.route(.get, "/v1/usage", "getUsage", [.record, .read]) {
                call throws(Failure) in
                let query = try UsageQuery(call)
                let report = try await domain { () throws(ControlPlaneError) in
                    try await directory.usage(
                        of: call.caller.tenant, operation: query.operation, from: query.from,
                        to: query.to, step: query.step, top: query.top)
                }
                return .json(encoded { write(report, query, to: &$0) })
            }
        ]
    }
}

/// A span of whole steps: by default the last hour by minute.
private struct UsageQuery {
    let operation: String?
    let from: Timestamp
    let to: Timestamp
    let step: UsageReport.Step
    let top: Int

    init(_ call: Call) throws(Failure) {
        let query = try call.query("operation", "from", "to", "step", "top")
        operation = query["operation"]
        if let operation, !operationName(operation) {
            throw .problem(.invalid("operation", "must be 1 to 64 of a-z, 0-9, '_', '.', '-'"))
        }
        guard let step = UsageReport.Step(rawValue: query["step"] ?? "minute") else {
            throw .problem(.invalid("step", "must be minute or hour"))
        }
        guard let top = wholeNumber(query["top"] ?? "10", in: 0...UsageRoutes.maxTop) else {
            throw .problem(
                .invalid("top", "must be a whole number from 0 to \(UsageRoutes.maxTop)"))
        }
        let size = step.duration
        let now = Timestamp.now
        let to = (try queryTime("to", query) ?? now).floored(to: size) + size
        let standard = step == .minute ? Duration.seconds(3600) : .seconds(86_400)
        let from = (try queryTime("from", query) ?? to - standard).floored(to: size)
        guard from < to, to - from <= size * UsageRoutes.maxPoints else {
            throw .problem(
                .invalid("from", "must be before to, at most \(UsageRoutes.maxPoints) steps"))
        }
        (self.step, self.top, self.from, self.to) = (step, top, from, to)
    }
}

extension Timestamp {
    /// The start of its minute or hour.
    fileprivate func floored(to step: Duration) -> Timestamp {
        let size = step.components.seconds * 1_000_000
        return Timestamp(microseconds: microseconds / size * size)
    }
}

private func write(_ report: UsageReport, _ query: UsageQuery, to json: inout JSONWriter) {
    json.member("from", query.from.description)
    json.member("to", query.to.description)
    json.member("step", query.step.rawValue)
    json.member("operation", orNull: query.operation)
    json.member("completeTo", report.completeTo.description)
    json.array("points") { writer in
        for point in report.points {
            writer.object {
                $0.member("at", point.at.description)
                $0.member("units", point.units)
                $0.member("deniedCalls", point.deniedCalls)
                $0.member("deniedUnits", point.deniedUnits)
            }
        }
    }
    json.array("top") { writer in
        for total in report.top {
            writer.object {
                $0.member("operation", total.operation)
                $0.member("units", total.units)
                $0.member("deniedCalls", total.deniedCalls)
                $0.member("deniedUnits", total.deniedUnits)
            }
        }
    }
}
