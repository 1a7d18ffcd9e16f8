internal import IO
package import Postgres

/// What a health check of a sandbox found; its names and the text of a failure are the original's.
package struct HealthCheckEvent: Sendable {
    /// Of a failed check: what the original logged.
    package static let failureText = "Sandbox health check failed"

    package let tenant: Tenant.ID
    package let region: String
    package let template: String
    /// The provider's id.
    package let sandboxID: String
    package let took: Duration
    /// Why it failed, e.g. what the provider said; nil: the sandbox answered as it should.
    package let failure: String?
    package let traceID: String?
    package let at: Timestamp

    package init(
        tenant: Tenant.ID, region: String, template: String, sandboxID: String, took: Duration,
        failure: String? = nil, traceID: String? = nil, at: Timestamp = .now
    ) {
        self.tenant = tenant
        self.region = region
        self.template = template
        self.sandboxID = sandboxID
        self.took = took
        self.failure = failure
        self.traceID = traceID
        self.at = at
    }

    var name: String {
        failure == nil ? "sandbox_health_check_ok" : "sandbox_health_check_failed"
    }

    /// Of its line in the log, behind `[E2B_METRICS]`.
    var message: String { failure == nil ? name : "\(name): \(Self.failureText)" }

    var level: Event.Level { failure == nil ? .info : .warning }

    var fields: [(name: String, value: Event.Value)] {
        var fields: [(name: String, value: Event.Value)] = [
            ("event", .text(name)), ("sandboxId", .text(sandboxID)), ("template", .text(template)),
            ("duration", .integer(took.milliseconds)),
        ]
        if let failure {
            fields += [("error", .text(Self.failureText)), ("cause", .text(failure))]
        }
        fields += [
            ("timestamp", .integer(at.milliseconds)), ("tenant", .text(tenant.description)),
            ("region", .text(region)),
        ]
        if let traceID { fields.append(("traceId", .text(traceID))) }
        return fields
    }
}

extension HealthCheckEvent {
    package init(_ check: HealthCheck, of row: Sandbox, traceID: String? = nil) {
        self.init(
            tenant: row.tenant, region: row.region, template: row.template,
            sandboxID: row.providerID ?? "", took: check.took,
            failure: check.verdict == .healthy
                ? nil : check.verdict.rawValue + (check.reason.map { ": \($0)" } ?? ""),
            traceID: traceID)
    }
}
