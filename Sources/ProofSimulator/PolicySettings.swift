import ControlPlane
import IO

/// The settings of the service that decide here, read from the files that it reads too.
struct PolicySettings: Sendable {
    var retry = RetryPolicy.Settings()
    var budget = RetryBudget.Settings()
    var breakers = Breakers.Settings()
    /// Of one call to create.
    var call = Creations.Settings().call

    init() {}

    /// - Parameter file: lines of `name=value`; `#` begins a comment line.
    init(file: String) throws(PolicySettingsError) {
        for line in file.split(separator: "\n") where !line.hasPrefix("#") {
            try set(line)
        }
    }

    /// - Parameter assignment: `name=value`.
    mutating func set(_ assignment: Substring) throws(PolicySettingsError) {
        let parts = assignment.split(separator: "=" as Character, maxSplits: 1).map(String.init)
        guard parts.count == 2, let take = Self.table[parts[0]], take(&self, parts[1]) else {
            throw PolicySettingsError(assignment: String(assignment))
        }
    }

    private typealias Take = @Sendable (inout PolicySettings, String) -> Bool

    private static let table: [String: Take] = [
        "sandbox.createCallS": taking(\.call, seconds),
        "breaker.mode": taking(\.breakers.policy.mode) { BreakerPolicy.Mode(rawValue: $0) },
        "breaker.failureThreshold": taking(\.breakers.policy.failureThreshold) { Int($0) },
        "breaker.windowCalls": taking(\.breakers.policy.windowCalls) { Int($0) },
        "breaker.windowS": taking(\.breakers.policy.window, seconds),
        "breaker.minimumCalls": taking(\.breakers.policy.minimumCalls) { Int($0) },
        "breaker.failureRate": taking(\.breakers.policy.failureRate) { Double($0) },
        "breaker.openBaseS": taking(\.breakers.policy.openBase, seconds),
        "breaker.openGrowth": taking(\.breakers.policy.openGrowth) { Double($0) },
        "breaker.openCapS": taking(\.breakers.policy.openCap, seconds),
        "breaker.openJitter": taking(\.breakers.policy.openJitter) { Double($0) },
        "breaker.probes": taking(\.breakers.policy.probes) { Int($0) },
        "breaker.probeSuccesses": taking(\.breakers.policy.probeSuccesses) { Int($0) },
        "breaker.probeLeaseS": taking(\.breakers.policy.probeLease, seconds),
        "breaker.rampS": taking(\.breakers.policy.ramp, seconds),
        "breaker.parentTenants": taking(\.breakers.parentTenants) { Int($0) },
        "breaker.countKinds": taking(\.breakers.countKinds, kinds),
        "retry.maxAttempts": taking(\.retry.maxAttempts) { Int($0) },
        "retry.transientMs": taking(\.retry.transient, waits),
        "retry.unknownMs": taking(\.retry.unknown, waits),
        "retry.rateLimitMs": taking(\.retry.rateLimit, waits),
        "retry.capacityMs": taking(\.retry.capacity, waits),
        "retry.jitterPercent": taking(\.retry.jitterPercent) { Int($0) },
        "retry.maxWaitS": taking(\.retry.maxWait, seconds),
        "retry.minTryMs": taking(\.retry.minTry, milliseconds),
        "retry.deadlineMs": taking(\.retry.deadline, milliseconds),
        "retry.gatewayDeadlineMs": taking(\.retry.gatewayDeadline, milliseconds),
        "retry.budget": taking(\.budget.isOn) { Bool($0) },
        "retry.tenantBudgetPercent": taking(\.budget.tenantPercent) { Int($0) },
        "retry.providerBudgetPercent": taking(\.budget.providerPercent) { Int($0) },
        "retry.tenantBudgetFloor": taking(\.budget.tenantFloor) { Int($0) },
        "retry.providerBudgetFloor": taking(\.budget.providerFloor) { Int($0) },
        "retry.budgetRefillMs": taking(\.budget.refill, milliseconds),
        "retry.budgetMost": taking(\.budget.most) { Int($0) },
    ]

    private static func taking<Value>(
        _ path: any WritableKeyPath<PolicySettings, Value> & Sendable,
        _ read: @escaping @Sendable (String) -> Value?
    ) -> Take {
        { settings, text in
            guard let value = read(text) else { return false }
            settings[keyPath: path] = value
            return true
        }
    }

    private static let seconds: @Sendable (String) -> Duration? = { Int($0).map { .seconds($0) } }
    private static let milliseconds: @Sendable (String) -> Duration? = {
        Int($0).map { .milliseconds($0) }
    }
    private static let waits: @Sendable (String) -> [Int]? = { text in
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        let waits = parts.compactMap { Int($0) }
        return waits.count == parts.count ? waits : nil
    }
    private static let kinds: @Sendable (String) -> Set<ErrorKind>? = { text in
        if text == "all" { return Set(ErrorKind.allCases) }
        let parts = text.split(separator: ",")
        let kinds = parts.compactMap { ErrorKind(rawValue: String($0)) }
        return kinds.count == parts.count ? Set(kinds) : nil
    }
}

struct PolicySettingsError: Error, CustomStringConvertible {
    let assignment: String
    var description: String { "there is no such setting here, or no such value: \(assignment)" }
}

/// One way to call the provider.
struct Arm: Sendable {
    let name: String
    var hasBreakers = true
    var settings: PolicySettings

    init(name: String, hasBreakers: Bool = true, settings: PolicySettings) {
        self.name = name
        self.hasBreakers = hasBreakers
        self.settings = settings
    }

    /// The four that are compared.
    static func all(original: PolicySettings, recommended: PolicySettings) -> [Arm] {
        var plain = original
        // With its SDK's own 60 s it would only be later.
        plain.call = recommended.call
        var direct = plain
        direct.retry.maxAttempts = 1
        return [
            Arm(name: "direct", hasBreakers: false, settings: direct),
            Arm(name: "three tries", hasBreakers: false, settings: plain),
            Arm(name: "original", settings: plain),
            Arm(name: "recommended", settings: recommended),
        ]
    }
}
