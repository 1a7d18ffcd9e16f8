internal import IO
internal import JSON
internal import Postgres

extension Event {
    /// The names of all that is stored, for callers that ask for some.
    package static let keptNames: Set<String> = [
        "sandbox_create_start", "sandbox_create_success", "sandbox_create_failure",
        "sandbox_create_critical_failure", "sandbox_create_refused",
        "sandbox_health_check_ok", "sandbox_health_check_failed",
        "sandbox_lost", "sandbox_reaped", "reaper_held_back", "breaker_moved", "rate_limit_denied",
        "provider_probe_ok", "provider_probe_failed",
        "service_starting", "service_ready", "service_stopping", "database_ready", "database_lost",
        "cluster_lost", "migration_applied", "job_finished", "job_lost", "request_failed",
    ]

    /// Whose it is in the table; the fleet's where it is about the service itself. Nil: for the log alone.
    package var owner: Tenant.ID? {
        switch self {
        case .creation(let event): event.tenant
        case .creationsRefused(let event): event.tenant
        case .healthChecked(let event): event.tenant
        case .sandboxLost(let sandbox), .sandboxReaped(let sandbox): sandbox.tenant
        case .reaperHeldBack(let tenant, _, _, _): tenant
        case .breakerMoved(let key, _): key.tenant
        case .rateLimitDenied(let tenant, _, _, _): tenant
        case .serviceStarting, .serviceReady, .serviceStopping, .databaseReady, .databaseLost,
            .providerProbed, .clusterLost, .migrationApplied, .jobLost, .requestFailed:
            .fleet
        // One that did what it should is told of by the table of jobs.
        case .jobFinished(_, let outcome, _, _): outcome == "succeeded" ? nil : .fleet
        case .serviceStopped, .operatorKeyMade, .secretKeyMade, .clusterStarted,
            .connectionRefused, .tryFinished, .audited,
            // Alerts have tables of their own.
            .alertMoved, .notificationDead:
            nil
        }
    }

    /// Longest text of a field that is stored, in octets; what is longer is cut.
    static let maxFieldBytes = 2_000

    /// Its fields as a JSON object, with `timestamp` (ms) and without what the row says itself.
    func keptFields(at time: Timestamp) -> String {
        var writer = JSONWriter()
        var hasTime = false
        writer.object { json in
            for (name, value) in fields where name != "event" && name != "tenant" {
                hasTime = hasTime || name == "timestamp"
                json.startMember(name)
                value.writeKept(to: &json)
            }
            if !hasTime { json.member("timestamp", time.milliseconds) }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}

extension Event.Value {
    fileprivate func writeKept(to json: inout JSONWriter) {
        switch self {
        case .text(let text): json.value(kept(text))
        case .texts(let texts):
            json.array { json in for text in texts { json.value(kept(text)) } }
        case .integer(let number): json.value(number)
        case .flag(let flag): json.value(flag)
        case .json(let text): json.raw(Array(redacted(text).utf8))
        }
    }
}

/// Without secrets, and without U+0000, which PostgreSQL does not hold.
private func kept(_ text: String) -> String {
    var text = text
    if text.utf8.count > Event.maxFieldBytes {
        text = String(decoding: text.utf8.prefix(Event.maxFieldBytes), as: UTF8.self) + "…"
    }
    return redacted(text).replacing("\0", with: "\u{FFFD}")
}
