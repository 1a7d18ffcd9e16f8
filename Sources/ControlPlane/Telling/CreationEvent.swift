internal import IO
package import Postgres

/// What the original told of creating a sandbox: its names, its fields and integer milliseconds, and
/// beside them whose it is. Log lines have `[E2B_METRICS]` in their message, for searches that know it.
package struct CreationEvent: Sendable {
    package enum Step: Sendable {
        case start
        /// - Parameter sandboxID: nil: whoever made it did not say.
        case success(sandboxID: String?, attempt: Int, took: Duration)
        /// One failed try.
        case failure(attempt: Int, error: String, took: Duration)
        /// All is tried.
        case criticalFailure(error: String)
    }

    package let step: Step
    package let tenant: Tenant.ID
    package let region: String
    /// Nil, as the framework: whoever makes it did not say.
    package let template: String?
    package let framework: String?
    package let breaker: BreakerMachine.State
    package let traceID: String?
    package let at: Timestamp

    package init(
        step: Step, tenant: Tenant.ID, region: String, template: String?, framework: String?,
        breaker: BreakerMachine.State, traceID: String?, at: Timestamp
    ) {
        self.step = step
        self.tenant = tenant
        self.region = region
        self.template = template
        self.framework = framework
        self.breaker = breaker
        self.traceID = traceID
        self.at = at
    }

    var name: String {
        switch step {
        case .start: "sandbox_create_start"
        case .success: "sandbox_create_success"
        case .failure: "sandbox_create_failure"
        case .criticalFailure: "sandbox_create_critical_failure"
        }
    }

    var level: Event.Level {
        switch step {
        case .start, .success: .info
        case .failure: .warning
        case .criticalFailure: .error
        }
    }

    var fields: [(name: String, value: Event.Value)] {
        var fields: [(name: String, value: Event.Value)] = [("event", .text(name))]
        switch step {
        case .start: fields += place
        case .success(let id, let attempt, let took):
            fields += [
                ("sandboxId", orNull(id)), ("template", orNull(template)),
                ("attempt", .integer(Int64(attempt))), ("duration", .integer(took.milliseconds)),
            ]
        case .failure(let attempt, let error, let took):
            fields += [
                ("template", orNull(template)), ("attempt", .integer(Int64(attempt))),
                ("error", .text(error)), ("duration", .integer(took.milliseconds)),
            ]
        case .criticalFailure(let error): fields += place + [("error", .text(error))]
        }
        fields += [
            ("timestamp", .integer(at.milliseconds)), ("tenant", .text(tenant.description)),
            ("region", .text(region)),
        ]
        if let traceID { fields.append(("traceId", .text(traceID))) }
        return fields
    }

    private var place: [(name: String, value: Event.Value)] {
        [
            ("framework", orNull(framework)), ("template", orNull(template)),
            ("circuitBreakerState", .text(breaker.rawValue)),
        ]
    }
}

private func orNull(_ text: String?) -> Event.Value { text.map { .text($0) } ?? .json("null") }
