package import JSON

/// When an alert fires, and how it is told. Data: the service has some of its own
/// (`AlertRule.defaults`), which a tenant's rows change, and to which they add.
package struct AlertRule: Hashable, Sendable {
    package enum Severity: String, Hashable, Sendable, CaseIterable, Comparable {
        case info, warning, critical

        package static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }

        private var rank: Int {
            switch self {
            case .info: 0
            case .warning: 1
            case .critical: 2
            }
        }
    }

    package enum Comparison: String, Hashable, Sendable, CaseIterable {
        case above
        case atLeast = "at_least"
    }

    package var kind: AlertKind
    package var isEnabled = true
    package var severity = Severity.critical
    /// In the kind's unit.
    package var threshold: Double
    package var comparison = Comparison.above
    /// A firing alert is over once its value does not meet this any more (hysteresis); nil: `threshold`.
    package var clearAt: Double?
    /// The span that is looked back over, in seconds; 0 for kinds that have none.
    package var window: Int32
    /// How long it must be so before it fires, in seconds.
    package var wait: Int32 = 0
    /// How long it must be over before it is resolved, in seconds.
    package var keepFiring: Int32 = 0
    /// With fewer than these to judge by it does not fire.
    package var minVolume: Int64 = 0
    /// How often it is told again while it fires, in seconds; nil: never.
    package var repeatInterval: Int32? = 14_400
    /// Rules of the same tenant: while one of them fires with the same value of every label that both
    /// have, this one is not told.
    package var inhibitedBy: [String] = []

    package static let windows = 60...86_400
    package static let waits = 0...86_400
    package static let repeats = 60...604_800
    package static let volumes = 0...1_000_000_000
    package static let thresholds = 0.0...1_000_000_000

    init(
        _ kind: AlertKind, _ severity: Severity, _ comparison: Comparison, _ threshold: Double,
        window: Int32 = 0
    ) {
        self.kind = kind
        self.severity = severity
        self.comparison = comparison
        self.threshold = threshold
        self.window = window
    }

    /// A further rule of that kind, before its members are read.
    package init(_ kind: AlertKind) {
        self.init(kind, .warning, .above, 0, window: kind.hasWindow ? 3600 : 0)
    }

    /// Whether a value fires it, or (`isFiring`) keeps it firing.
    func isBroken(by value: Double, isFiring: Bool) -> Bool {
        let limit = isFiring ? clearAt ?? threshold : threshold
        return switch comparison {
        case .above: value > limit
        case .atLeast: value >= limit
        }
    }

    /// 1 to 64 of a-z, 0-9 and `-`.
    package static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (0x61...0x7a).contains($0) || (0x30...0x39).contains($0)
                    || $0 == UInt8(ascii: "-")
            }
    }
}

/// What a rule measures.
package enum AlertKind: String, Hashable, Sendable, CaseIterable {
    /// Seconds since a breaker went OPEN, as callers meet it; HALF_OPEN ends it.
    case breakerOpen = "breaker_open"
    /// Seconds since a breaker was last CLOSED: one that flaps through HALF_OPEN counts on.
    case breakerNotClosed = "breaker_not_closed"
    /// Times that a breaker went from CLOSED to OPEN in the window.
    case breakerOpenings = "breaker_openings"
    /// Seconds since an override without an end was laid over a breaker.
    case breakerOverride = "breaker_override"
    /// Creations that failed in the window: requests, not tries.
    case creationFailures = "creation_failures"
    /// Percent of the creations that ended in the window which failed.
    case creationFailureShare = "creation_failure_share"
    /// Percent of a limit whose window is the rule's.
    case quotaUsed = "quota_used"
    /// Notifications of channels that were given up in the window.
    case notificationsDead = "notifications_dead"

    /// Percent of the tenants with an OPEN breaker.
    case tenantsOpen = "tenants_open"
    /// Seconds by which a job is overdue.
    case jobLate = "job_late"
    /// Tasks that were given up in the window.
    case tasksDead = "tasks_dead"
    /// Kills that the last reconciliation held back, since they were over its budget.
    case killsHeldBack = "kills_held_back"
    /// Percent of orphans among the sandboxes made in the window.
    case orphanShare = "orphan_share"
    /// Percent of zombies among the sandboxes made in the window.
    case zombieShare = "zombie_share"

    package var hasWindow: Bool {
        switch self {
        case .breakerOpen, .breakerNotClosed, .breakerOverride, .tenantsOpen, .jobLate,
            .killsHeldBack:
            false
        case .breakerOpenings, .creationFailures, .creationFailureShare, .quotaUsed,
            .notificationsDead, .tasksDead, .orphanShare, .zombieShare:
            true
        }
    }

    /// Measured over the fleet, so for operators alone.
    package var isOfFleet: Bool {
        switch self {
        case .tenantsOpen, .jobLate, .tasksDead, .killsHeldBack, .orphanShare, .zombieShare: true
        default: false
        }
    }

    /// What the value counts.
    package var unit: String {
        switch self {
        case .breakerOpen, .breakerNotClosed, .breakerOverride, .jobLate: "s"
        case .creationFailureShare, .quotaUsed, .tenantsOpen, .orphanShare, .zombieShare: "%"
        case .breakerOpenings, .creationFailures, .notificationsDead, .tasksDead, .killsHeldBack:
            "1"
        }
    }
}

extension AlertRule {
    /// The service's own rules. For a tenant: the original's four, literally, its warning at 80 %, and
    /// further ones; for the fleet those over the breakers of all tenants, the jobs and the sandboxes.
    package static func defaults(of tenant: Tenant.ID) -> [String: AlertRule] {
        tenant == .fleet ? fleet : ownDefaults
    }

    private static let shared: [String: AlertRule] = [
        "breaker-reopened": AlertRule(.breakerOpenings, .warning, .atLeast, 3, window: 3600),
        "breaker-override": AlertRule(.breakerOverride, .warning, .above, 86_400),
        "notifications-dead": AlertRule(.notificationsDead, .warning, .atLeast, 1, window: 3600),
    ]

    static let ownDefaults: [String: AlertRule] = {
        var warning = AlertRule(.quotaUsed, .warning, .atLeast, 80, window: 3600)
        warning.inhibitedBy = ["quota-critical"]
        return shared.merging([
            "breaker-open": AlertRule(.breakerOpen, .critical, .above, 300),
            "creation-failures": AlertRule(
                .creationFailures, .critical, .above, 10, window: 3600),
            "quota-critical": AlertRule(.quotaUsed, .critical, .above, 90, window: 3600),
            "quota-warning": warning,
            "critical-failures": AlertRule(
                .creationFailureShare, .critical, .above, 5, window: 3600),
        ]) { $1 }
    }()

    private static let fleet: [String: AlertRule] = {
        var tenants = AlertRule(.tenantsOpen, .critical, .above, 5)
        tenants.wait = 300
        // 5 % of fewer are less than one.
        tenants.minVolume = 20
        var orphans = AlertRule(.orphanShare, .warning, .above, 0.5, window: 86_400)
        orphans.minVolume = 200
        var zombies = AlertRule(.zombieShare, .warning, .above, 1, window: 86_400)
        zombies.minVolume = 100
        return shared.merging([
            "breaker-open": AlertRule(.breakerOpen, .critical, .above, 60),
            "tenants-open": tenants,
            "job-late": AlertRule(.jobLate, .critical, .above, 300),
            "tasks-dead": AlertRule(.tasksDead, .warning, .atLeast, 1, window: 3600),
            "kills-held-back": AlertRule(.killsHeldBack, .critical, .atLeast, 1),
            "orphans": orphans,
            "zombies": zombies,
        ]) { $1 }
    }()
}

extension AlertRule: JSONWritable {
    package func write(to writer: inout JSONWriter) { writer.object { writeMembers(to: &$0) } }

    package func writeMembers(to writer: inout JSONWriter) {
        writer.member("kind", kind.rawValue)
        writer.member("enabled", isEnabled)
        writer.member("severity", severity.rawValue)
        writer.member("threshold", threshold)
        writer.member("comparison", comparison.rawValue)
        writer.member("clearAt", orNull: clearAt)
        if kind.hasWindow { writer.member("windowS", window) }
        writer.member("forS", wait)
        writer.member("keepFiringS", keepFiring)
        writer.member("minVolume", minVolume)
        writer.member("repeatS", orNull: repeatInterval)
        writer.member("inhibitedBy", inhibitedBy)
    }

    /// As it was stored; nil of a kind that only a newer instance knows.
    init?(stored text: String) {
        guard let stored = try? JSONReader.decode(Stored.self, from: Array(text.utf8)),
            let kind = stored.patch.kind
        else { return nil }
        self.init(kind)
        stored.patch.apply(to: &self)
    }

    /// Of which a newer instance beside this one may write more.
    private struct Stored: JSONReadable {
        var patch = Patch()

        init(from reader: inout JSONReader) throws(JSONError) {
            var patch = Patch()
            try reader.readObject { key, reader throws(JSONError) in
                if try !patch.read(key, &reader) { try reader.skip() }
            }
            self.patch = patch
        }
    }

    /// Some members of a rule, as on the wire.
    package struct Patch: Sendable {
        package var kind: AlertKind?
        package var window: Int32?
        /// Whether it says when the rule fires.
        package private(set) var hasThreshold = false
        private var changes: [@Sendable (inout AlertRule) -> Void] = []

        package init() {}

        package func apply(to rule: inout AlertRule) {
            if let kind { rule.kind = kind }
            if let window { rule.window = window }
            for change in changes { change(&rule) }
        }

        /// Takes a member; false of one that a rule has not.
        package mutating func read(
            _ key: JSONKey, _ reader: inout JSONReader
        ) throws(JSONError) -> Bool {
            switch key {
            case "kind": kind = try reader.readAlertCase()
            case "windowS": window = Int32(try reader.readInt(in: AlertRule.windows))
            case "enabled": add(\.isEnabled, try reader.readBool())
            case "severity": add(\.severity, try reader.readAlertCase())
            case "threshold":
                hasThreshold = true
                add(\.threshold, try reader.readThreshold())
            case "comparison": add(\.comparison, try reader.readAlertCase())
            case "clearAt":
                add(\.clearAt, try reader.readNull() ? nil : try reader.readThreshold())
            case "forS": add(\.wait, Int32(try reader.readInt(in: AlertRule.waits)))
            case "keepFiringS": add(\.keepFiring, Int32(try reader.readInt(in: AlertRule.waits)))
            case "minVolume": add(\.minVolume, Int64(try reader.readInt(in: AlertRule.volumes)))
            case "repeatS":
                let span = try reader.readNull() ? nil : try reader.readInt(in: AlertRule.repeats)
                add(\.repeatInterval, span.map { Int32($0) })
            case "inhibitedBy": add(\.inhibitedBy, try reader.readRuleNames(atMost: 10))
            default: return false
            }
            return true
        }

        private mutating func add<Value: Sendable>(
            _ path: any WritableKeyPath<AlertRule, Value> & Sendable, _ value: Value
        ) {
            changes.append { $0[keyPath: path] = value }
        }
    }
}

extension JSONReader {
    package mutating func readAlertCase<Value: RawRepresentable<String> & CaseIterable>()
        throws(JSONError) -> Value
    {
        guard let value = Value(rawValue: try readString(maxBytes: 64)) else {
            let known = Value.allCases.map(\.rawValue).joined(separator: ", ")
            throw failure(.range, "must be one of \(known)")
        }
        return value
    }

    package mutating func readRuleName() throws(JSONError) -> String {
        let name = try readString(maxBytes: 64)
        guard AlertRule.isName(name) else {
            throw failure(.range, "must be 1 to 64 of a-z, 0-9 and '-'")
        }
        return name
    }

    package mutating func readRuleNames(atMost count: Int) throws(JSONError) -> [String] {
        var names: [String] = []
        try readArray(maxCount: count) { _, reader throws(JSONError) in
            names.append(try reader.readRuleName())
        }
        return names
    }

    fileprivate mutating func readThreshold() throws(JSONError) -> Double {
        let number = try readDouble()
        guard AlertRule.thresholds.contains(number) else {
            throw failure(.range, "must be from 0 to \(Int(AlertRule.thresholds.upperBound))")
        }
        return number
    }
}
