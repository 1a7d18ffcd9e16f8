internal import IO
internal import Postgres

/// Everything worth telling. The log, the metrics and the alerts read it; nothing else prints.
package enum Event: Sendable {
    case serviceStarting(build: [(name: String, value: String)], loops: Int)
    case serviceReady(addresses: [String])
    case serviceStopping(reason: String)
    case serviceStopped
    case operatorKeyMade(keyID: String, path: String)
    case secretKeyMade(keyID: String, path: String)
    case databaseReady
    case databaseLost(reason: String)
    case clusterStarted(dataDirectory: String, adopted: Bool)
    case clusterLost(reason: String)
    case migrationApplied(name: String, milliseconds: Int64)
    case jobFinished(name: String, outcome: String, milliseconds: Int64, detail: String)
    case jobLost(name: String, epoch: Int64)
    /// `address` is the client's; nil on a Unix socket.
    case requestFailed(
        operation: String, requestID: String, traceID: String, address: String?, cause: String)
    case connectionRefused(reason: String, count: Int)
    case breakerMoved(BreakerKey, BreakerMove)
    case tryFinished(RetryExecutor.Subject, TryRecord)
    /// One of the original's events of creating a sandbox, with its names.
    case creation(CreationEvent)
    /// Creations that were refused before they began, added up.
    case creationsRefused(RefusalEvent)
    /// `sandbox_health_check_ok` or `sandbox_health_check_failed`.
    case healthChecked(HealthCheckEvent)
    /// One that should be there and is not, by two complete lists and a look at itself.
    case sandboxLost(FoundSandbox)
    /// One that should not be there, and is killed: ours without a row, or over already.
    case sandboxReaped(FoundSandbox)
    /// Acquires of an operation that were denied, added up.
    case rateLimitDenied(tenant: Tenant.ID, operation: String, calls: Int64, units: Int64)
    /// A probe of a provider's account is over.
    case providerProbed(ProbeJob.Result)
    /// More to kill at a provider than the reaper's budget: none was killed.
    case reaperHeldBack(tenant: Tenant.ID, region: String, count: Int, live: Int)
    case audited(action: String, tenant: Tenant.ID, actor: String, target: String)
    /// `from` is nil of an alert that is new.
    case alertMoved(Alert, from: Alert.State?)
    /// A channel's receiver would not take it, however often it was tried.
    case notificationDead(tenant: Tenant.ID, channel: String, id: String, error: String)

    /// What the comparison with a provider's list found.
    package struct FoundSandbox: Hashable, Sendable {
        package let tenant: Tenant.ID
        package let region: String
        /// The provider's id.
        package let sandboxID: String
        /// Nil: nobody knows any more.
        package let template: String?
        package let reason: SandboxReason

        package init(
            tenant: Tenant.ID, region: String, sandboxID: String, template: String?,
            reason: SandboxReason
        ) {
            self.tenant = tenant
            self.region = region
            self.sandboxID = sandboxID
            self.template = template
            self.reason = reason
        }
    }

    package enum Level: String, Sendable { case info, warning, error }

    package var name: String {
        switch self {
        case .serviceStarting: "service_starting"
        case .serviceReady: "service_ready"
        case .serviceStopping: "service_stopping"
        case .serviceStopped: "service_stopped"
        case .operatorKeyMade: "operator_key_made"
        case .secretKeyMade: "secret_key_made"
        case .databaseReady: "database_ready"
        case .databaseLost: "database_lost"
        case .clusterStarted: "cluster_started"
        case .clusterLost: "cluster_lost"
        case .migrationApplied: "migration_applied"
        case .jobFinished: "job_finished"
        case .jobLost: "job_lost"
        case .requestFailed: "request_failed"
        case .connectionRefused: "connection_refused"
        case .breakerMoved: "breaker_moved"
        case .tryFinished: "try_finished"
        case .creation(let event): event.name
        case .creationsRefused: "sandbox_create_refused"
        case .healthChecked(let event): event.name
        case .sandboxLost: "sandbox_lost"
        case .sandboxReaped: "sandbox_reaped"
        case .rateLimitDenied: "rate_limit_denied"
        case .providerProbed(let result):
            result.stage == .done ? "provider_probe_ok" : "provider_probe_failed"
        case .reaperHeldBack: "reaper_held_back"
        case .audited: "audited"
        case .alertMoved: "alert_moved"
        case .notificationDead: "notification_dead"
        }
    }

    /// Of its line in the log.
    package var message: String {
        switch self {
        case .creation, .creationsRefused: "[E2B_METRICS] \(name)"
        case .healthChecked(let event): "[E2B_METRICS] \(event.message)"
        default: name
        }
    }

    package var level: Level {
        switch self {
        case .databaseLost, .clusterLost, .connectionRefused, .jobLost: .warning
        case .breakerMoved(_, let move): move.to == "CLOSED" ? .info : .warning
        case .requestFailed, .reaperHeldBack, .notificationDead: .error
        case .alertMoved(let alert, _): alert.state == .firing ? .warning : .info
        case .jobFinished(_, let outcome, _, _): outcome == "succeeded" ? .info : .error
        case .creation(let event): event.level
        case .healthChecked(let event): event.level
        case .creationsRefused, .sandboxLost, .sandboxReaped: .warning
        case .providerProbed(let result): result.stage == .done ? .info : .error
        case .tryFinished(_, let record): record.outcome == .failed ? .warning : .info
        default: .info
        }
    }

    /// The event's own fields, flat, in order.
    package var fields: [(name: String, value: Value)] {
        switch self {
        case .serviceStarting(let build, let loops):
            build.map { ($0.name, .text($0.value)) } + [("loops", .integer(Int64(loops)))]
        case .serviceReady(let addresses): [("addresses", .texts(addresses))]
        case .serviceStopping(let reason): [("reason", .text(reason))]
        case .serviceStopped, .databaseReady: []
        case .operatorKeyMade(let keyID, let path), .secretKeyMade(let keyID, let path):
            [("keyId", .text(keyID)), ("path", .text(path))]
        case .databaseLost(let reason), .clusterLost(let reason): [("reason", .text(reason))]
        case .clusterStarted(let directory, let adopted):
            [("dataDirectory", .text(directory)), ("adopted", .flag(adopted))]
        case .migrationApplied(let name, let milliseconds):
            [("migration", .text(name)), ("durationMs", .integer(milliseconds))]
        case .jobFinished(let name, let outcome, let milliseconds, let detail):
            [
                ("job", .text(name)), ("outcome", .text(outcome)),
                ("durationMs", .integer(milliseconds)), ("detail", .json(detail)),
            ]
        case .jobLost(let name, let epoch): [("job", .text(name)), ("epoch", .integer(epoch))]
        case .requestFailed(let operation, let requestID, let traceID, let address, let cause):
            [
                ("operation", .text(operation)), ("requestId", .text(requestID)),
                ("traceId", .text(traceID)), ("address", .text(address ?? "")),
                ("cause", .text(cause)),
            ]
        case .connectionRefused(let reason, let count):
            [("reason", .text(reason)), ("count", .integer(Int64(count)))]
        case .breakerMoved(let key, let move):
            [
                ("tenant", .text(key.tenant.description)), ("breaker", .text(key.id)),
                ("name", .text(key.name)), ("region", .text(key.region)),
                ("circuitBreakerState", .text(move.effectiveState.rawValue)),
                ("from", .text(move.from)), ("to", .text(move.to)),
                ("cause", .text(move.cause.rawValue)), ("generation", .integer(move.generation)),
                ("failureCount", .integer(Int64(move.failureCount))),
            ]
        case .tryFinished(let subject, let record):
            [
                ("operation", .text(subject.operation)),
                ("tenant", .text(subject.tenant.description)),
                ("provider", .text(subject.provider)), ("attempt", .integer(Int64(record.number))),
                ("durationMs", .integer(record.duration.milliseconds)),
                ("outcome", .text(record.outcome.rawValue)),
            ] + (record.kind.map { [("kind", .text($0.rawValue))] } ?? [])
                + (record.wait.map { [("waitMs", .integer($0.milliseconds))] } ?? [])
        case .creation(let event): event.fields
        case .creationsRefused(let event): event.fields
        case .healthChecked(let event): event.fields
        case .sandboxLost(let sandbox), .sandboxReaped(let sandbox):
            [
                ("tenant", .text(sandbox.tenant.description)), ("region", .text(sandbox.region)),
                ("sandboxId", .text(sandbox.sandboxID)),
                ("template", sandbox.template.map { .text($0) } ?? .json("null")),
                ("reason", .text(sandbox.reason.rawValue)),
            ]
        case .rateLimitDenied(let tenant, let operation, let calls, let units):
            [
                ("tenant", .text(tenant.description)), ("operation", .text(operation)),
                ("deniedCalls", .integer(calls)), ("deniedUnits", .integer(units)),
            ]
        case .providerProbed(let result):
            [
                ("provider", .text(result.provider)), ("region", .text(result.region)),
                ("tenant", .text(result.tenant.description)), ("stage", .text(result.stage.rawValue)),
                ("durationMs", .integer(result.took.milliseconds)),
            ] + (result.error.map { [("error", .text($0))] } ?? [])
        case .reaperHeldBack(let tenant, let region, let count, let live):
            [
                ("tenant", .text(tenant.description)), ("region", .text(region)),
                ("count", .integer(Int64(count))), ("live", .integer(Int64(live))),
            ]
        case .audited(let action, let tenant, let actor, let target):
            [
                ("action", .text(action)), ("tenant", .text(tenant.description)),
                ("actor", .text(actor)), ("target", .text(target)),
            ]
        case .alertMoved(let alert, let from):
            [
                ("tenant", .text(alert.tenant.description)), ("alert", .text(alert.id.description)),
                ("rule", .text(alert.rule)), ("labels", .json(jsonText(alert.labels))),
                ("severity", .text(alert.severity.rawValue)),
                ("from", .text(from?.rawValue ?? "none")), ("to", .text(alert.state.rawValue)),
            ]
        case .notificationDead(let tenant, let channel, let id, let error):
            [
                ("tenant", .text(tenant.description)), ("channel", .text(channel)),
                ("notification", .text(id)), ("error", .text(error)),
            ]
        }
    }

    package enum Value: Hashable, Sendable {
        case text(String)
        case texts([String])
        case integer(Int64)
        case flag(Bool)
        /// A JSON document as it is.
        case json(String)
    }
}

/// Where events go. Called from any thread; must not block for long.
package typealias Tell = @Sendable (Event) -> Void
