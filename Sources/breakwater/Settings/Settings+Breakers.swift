import ControlPlane
import IO

extension Settings {
    /// Of circuit breakers. `breaker.failureThreshold`, `breaker.openBaseS` and one probe are the original's.
    static let breakerTable: [Setting] = [
        .choice(
            "breaker.mode", \.breakers.policy.mode,
            "what opens it: consecutive failures, or the share of failures in a countWindow or timeWindow"),
        .choice(
            "breaker.unit", \.breakers.unit,
            "what counts once: an operation with all its tries, or each attempt"),
        .int(
            "breaker.failureThreshold", \.breakers.policy.failureThreshold, 1...10_000,
            "failures in a row that open it"),
        .int(
            "breaker.windowCalls", \.breakers.policy.windowCalls, 1...10_000,
            "calls of a count window"),
        .duration(
            "breaker.windowS", \.breakers.policy.window, 1...86_400, "length of a time window"),
        .int(
            "breaker.minimumCalls", \.breakers.policy.minimumCalls, 1...10_000,
            "calls that a window must hold before it can open"),
        .double(
            "breaker.failureRate", \.breakers.policy.failureRate, 0.01...1,
            "share of failures that opens a window"),
        .optionalDuration(
            "breaker.slowCallMs", \.breakers.policy.slowCall, 1...3_600_000,
            "a call that takes longer is slow, in the window modes; none is if not given"),
        .double(
            "breaker.slowRate", \.breakers.policy.slowRate, 0.01...1,
            "share of slow calls that opens a window"),
        .duration(
            "breaker.openBaseS", \.breakers.policy.openBase, 1...86_400,
            "how long it is open the first time"),
        .double(
            "breaker.openGrowth", \.breakers.policy.openGrowth, 1...10,
            "by how much each opening in a row is longer"),
        .duration(
            "breaker.openCapS", \.breakers.policy.openCap, 1...86_400,
            "how long it is open at most"),
        .double(
            "breaker.openJitter", \.breakers.policy.openJitter, 0...1,
            "by what share at most an open time is longer at random"),
        .int(
            "breaker.probes", \.breakers.policy.probes, 1...100,
            "probes that a half-open breaker lets through"),
        .int(
            "breaker.probeSuccesses", \.breakers.policy.probeSuccesses, 1...100,
            "probes that must succeed to close it"),
        .duration(
            "breaker.probeLeaseS", \.breakers.policy.probeLease, 1...3600,
            "how long a probe may be out before its place is another's"),
        .duration(
            "breaker.rampS", \.breakers.policy.ramp, 0...3600,
            "how long it lets only a part through after it closed; 0: everything at once"),
        .int(
            "breaker.parentTenants", \.breakers.parentTenants, 1...100,
            "tenants whose failures open the breaker over all tenants"),
        Setting(
            name: "breaker.countKinds",
            help: "kinds of errors that count as failures, with commas; all: every kind"
        ) { text, settings throws(SettingsError) in
            if text == "all" {
                settings.breakers.countKinds = Set(ErrorKind.allCases)
                return
            }
            var kinds: Set<ErrorKind> = []
            for part in text.split(separator: ",") {
                guard let kind = ErrorKind(rawValue: String(part)) else {
                    let known = ErrorKind.allCases.map(\.rawValue).joined(separator: ", ")
                    throw SettingsError("must be all, or some of \(known)")
                }
                kinds.insert(kind)
            }
            settings.breakers.countKinds = kinds
        } show: { settings in
            ErrorKind.allCases.filter { settings.breakers.countKinds.contains($0) }
                .map(\.rawValue).joined(separator: ",")
        },
        .duration(
            "breaker.pollMs", \.breakers.pollInterval, 50...900,
            "how often others' moves are asked for; a move is known everywhere within a second"),
        .duration(
            "breaker.eventRetentionS", \.cleanup.breakerEventRetention, 3600...315_360_000,
            "how long the history of breakers is kept"),
    ]
}
