package import IO

/// How many retries the traffic itself pays for: each first try adds a share of a token, each retry
/// takes one (as in gRPC's and Finagle's budgets).
///
/// Level = min(`most`, level + share); up to `floor` tokens also come by time, so that a quiet tenant
/// may retry too. Both ends are clamped: an idle day saves nothing up.
package struct RetryBudget: Hashable, Sendable {
    package struct Settings: Hashable, Sendable {
        package var isOn = true
        /// Retries that first tries pay for, in percent of them: of a tenant at a provider, and of
        /// all tenants at a provider.
        package var tenantPercent = 100
        package var providerPercent = 100
        /// Retries that cost nothing at first and after a rest, for a tenant at a provider.
        package var tenantFloor = 3
        /// And for all tenants at a provider.
        package var providerFloor = 30
        /// Time in which one of them comes back.
        package var refill: Duration = .seconds(10)
        /// Most retries that are ever saved up, a provider's and a tenant's alike.
        package var most = 100
        /// Tenants whose budgets an instance remembers.
        package var maxTenants = 10_000

        package init() {}
    }

    /// Of a token; integers, so that sums are exact.
    private static let token: Int64 = 1000

    private let share: Int64
    private let floor: Int64
    private let most: Int64
    private let refill: Duration
    private var level: Int64
    private var filledAt: MonotonicInstant

    init(percent: Int, floor: Int, _ settings: Settings, at now: MonotonicInstant) {
        share = Int64(percent) * Self.token / 100
        self.floor = Int64(floor) * Self.token
        most = max(Int64(settings.most) * Self.token, self.floor)
        refill = settings.refill
        level = self.floor
        filledAt = now
    }

    /// It holds what a new one would: nothing is lost when it is forgotten.
    var isAtRest: Bool { level >= floor }

    mutating func noteFirstTry(at now: MonotonicInstant) {
        fill(at: now)
        level = min(level + share, most)
    }

    mutating func take(at now: MonotonicInstant) -> Bool {
        fill(at: now)
        guard level >= Self.token else { return false }
        level -= Self.token
        return true
    }

    /// A retry that was paid for did not happen.
    mutating func giveBack() { level = min(level + Self.token, most) }

    private mutating func fill(at now: MonotonicInstant) {
        guard now > filledAt else { return }
        let passed = filledAt.duration(to: now)
        filledAt = now
        guard level < floor else { return }
        let missing = floor - level
        let (gain, isMore) = passed.milliseconds.multipliedReportingOverflow(by: Self.token)
        level += isMore ? missing : min(missing, gain / max(refill.milliseconds, 1))
    }
}

/// The budgets of one instance, by tenant and provider. In memory: a bound on storms, no quota.
package struct RetryBudgets: Sendable {
    private struct Key: Hashable {
        let tenant: Tenant.ID
        let provider: String
    }

    private let settings: RetryBudget.Settings
    private var tenants: [Key: RetryBudget] = [:]
    private var providers: [String: RetryBudget] = [:]

    package init(_ settings: RetryBudget.Settings = RetryBudget.Settings()) {
        self.settings = settings
    }

    package mutating func noteFirstTry(
        of tenant: Tenant.ID, at provider: String, now: MonotonicInstant
    ) {
        guard settings.isOn else { return }
        makeRoom()
        let (ofTenant, ofProvider) = fresh(at: now)
        tenants[Key(tenant: tenant, provider: provider), default: ofTenant].noteFirstTry(at: now)
        providers[provider, default: ofProvider].noteFirstTry(at: now)
    }

    /// Takes a token from both, or from none.
    package mutating func take(
        for tenant: Tenant.ID, at provider: String, now: MonotonicInstant
    ) -> Bool {
        guard settings.isOn else { return true }
        makeRoom()
        let key = Key(tenant: tenant, provider: provider)
        let (ofTenant, ofProvider) = fresh(at: now)
        guard tenants[key, default: ofTenant].take(at: now) else { return false }
        guard providers[provider, default: ofProvider].take(at: now) else {
            tenants[key]?.giveBack()
            return false
        }
        return true
    }

    package mutating func giveBack(for tenant: Tenant.ID, at provider: String) {
        guard settings.isOn else { return }
        tenants[Key(tenant: tenant, provider: provider)]?.giveBack()
        providers[provider]?.giveBack()
    }

    private func fresh(at now: MonotonicInstant) -> (tenant: RetryBudget, provider: RetryBudget) {
        (
            RetryBudget(
                percent: settings.tenantPercent, floor: settings.tenantFloor, settings, at: now),
            RetryBudget(
                percent: settings.providerPercent, floor: settings.providerFloor, settings, at: now)
        )
    }

    /// At the bound those at rest are forgotten, and if there are none, all: better a storm of a
    /// moment than memory without end.
    private mutating func makeRoom() {
        if tenants.count >= settings.maxTenants {
            tenants = tenants.filter { !$0.value.isAtRest }
            if tenants.count >= settings.maxTenants { tenants = [:] }
        }
        if providers.count >= settings.maxTenants {
            providers = providers.filter { !$0.value.isAtRest }
            if providers.count >= settings.maxTenants { providers = [:] }
        }
    }
}
