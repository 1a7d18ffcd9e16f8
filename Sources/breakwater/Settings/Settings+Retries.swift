import API
import ControlPlane

extension Settings {
    /// How errors are told apart and when a call is tried again.
    static let retries: [Setting] =
        [
            .int(
                "classify.maxMessageBytes", \.classifier.maxMessageBytes, 256...65_536,
                "octets of an error's message that are read: of a longer one both ends"),
            .int(
                "retry.maxAttempts", \.retry.maxAttempts, 1...RetryPolicy.mostAttempts,
                "tries in all, the first one included"),
            .milliseconds(
                "retry.transientMs", \.retry.transient,
                "waits after a transient or internal error; the last one repeats"),
            .milliseconds(
                "retry.unknownMs", \.retry.unknown,
                "waits after an unknown error; the last one repeats"),
            .milliseconds(
                "retry.rateLimitMs", \.retry.rateLimit,
                "waits after a rate limit, unless the provider asks for longer; the last one repeats"
            ),
            .milliseconds(
                "retry.capacityMs", \.retry.capacity,
                "waits while the provider lacks machines; the last one repeats"),
            .int(
                "retry.jitterPercent", \.retry.jitterPercent, 0...100,
                "how far waits are spread, up and down; for rate limits upwards only; 0: not at all"
            ),
            .duration(
                "retry.maxWaitS", \.retry.maxWait, 1...3600,
                "a longer wait is not slept, the caller is told instead"),
            .duration(
                "retry.minTryMs", \.retry.minTry, 0...60_000,
                "a retry that would have less than this until the deadline is not begun"),
            .duration(
                "retry.deadlineMs", \.retry.deadline, 1000...3_600_000,
                "a managed creation with all its tries, unless the request says"),
            .duration(
                "retry.gatewayDeadlineMs", \.retry.gatewayDeadline, 1000...3_600_000,
                "a call through the gateway with all its tries"),
        ] + budget + attempts

    private static let budget: [Setting] = [
        .bool(
            "retry.budget", \.retryBudget.isOn, "whether the share of retries is bounded"),
        .int(
            "retry.tenantBudgetPercent", \.retryBudget.tenantPercent, 0...1000,
            "retries of a tenant at a provider, in percent of its calls"),
        .int(
            "retry.providerBudgetPercent", \.retryBudget.providerPercent, 0...1000,
            "retries of all tenants at a provider, in percent of their calls"),
        .int(
            "retry.tenantBudgetFloor", \.retryBudget.tenantFloor, 0...10_000,
            "retries that a tenant has at first and after a rest"),
        .int(
            "retry.providerBudgetFloor", \.retryBudget.providerFloor, 0...100_000,
            "retries that all tenants at a provider have at first and after a rest"),
        .duration(
            "retry.budgetRefillMs", \.retryBudget.refill, 100...3_600_000,
            "time in which one of these comes back"),
        .int(
            "retry.budgetMost", \.retryBudget.most, 1...1_000_000,
            "most retries that calls can save up"),
        .int(
            "retry.budgetMaxTenants", \.retryBudget.maxTenants, 100...10_000_000,
            "budgets that a loop remembers"),
    ]

    /// Of callers who call a provider themselves. The times of sandboxes are the original's.
    private static let attempts: [Setting] = [
        .duration(
            "attempts.flushMs", \.attempts.flush, 50...60_000,
            "how often successes are brought to the table of tries; a kill loses so much of it"),
        .int(
            "attempts.maxKept", \.attempts.maxKept, 0...1_000_000,
            "tries of a loop that wait for that; past it they are not stored"),
        .duration(
            "attempts.retentionS", \.cleanup.attemptRetention, 172_800...315_360_000,
            "how long tries are kept"),
        .duration(
            "provider.callMs", \.sandboxes.standard.times.call, 100...3_600_000,
            "one call to a provider, as permits tell it"),
        .duration(
            "sandbox.lifeS", \.sandboxes.standard.times.life, 1...2_592_000,
            "a sandbox's life, as permits tell it"),
        .duration(
            "sandbox.fileReadMs", \.sandboxes.standard.times.fileRead, 100...3_600_000,
            "reading a file in a sandbox, as permits tell it"),
        .duration(
            "sandbox.buildS", \.sandboxes.standard.times.build, 1...86_400,
            "a build in a sandbox, as permits tell it"),
    ]
}
