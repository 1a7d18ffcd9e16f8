package import Postgres

/// What callers ask: with all limits that apply, in one atomic decision.
extension Ledger {
    /// Records, or checks and records, under the tenant's policies and the call's own limit.
    ///
    /// Throws `.tooManyOperations`, `.costExceedsLimit` where it can never fit, `.idempotencyMismatch`,
    /// `.postgres`.
    package func decide(
        _ ask: Ask, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Verdict {
        do throws(ControlPlaneError) {
            let verdict = try await decideRecorded(ask, for: tenant)
            if !ask.isLimited {
                counted.recorded += 1
            } else if verdict.isAdmitted {
                counted.admitted += 1
            } else {
                counted.denied += 1
            }
            return verdict
        } catch .postgres(let error) {
            guard ask.isLimited, ask.identity == nil, error.isOutage,
                policySet(of: tenant).admitsOnOutage(ask.operation)
            else { throw .postgres(error) }
            return Verdict(.admittedUnrecorded, limits: [])
        }
    }

    private func decideRecorded(
        _ ask: Ask, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Verdict {
        for _ in 0..<Self.maxReloads {
            let set = policySet(of: tenant)
            let limits =
                ask.isLimited
                ? set.limits(
                    for: ask.operation, maxPerHour: ask.maxPerHour,
                    standard: settings.defaultMaxPerHour)
                : []
            if let limit = limits.first(where: { $0.isEnforced && $0.limit.limit < ask.cost }) {
                // What is known here may be outdated, and a wider limit be in force.
                if limit.source != .call, try await refresh(set, of: tenant) { continue }
                throw .costExceedsLimit(limit)
            }
            let logs = set.logs(for: ask.operation)
            if ask.identity == nil, logs == 0, let only = onlyLimit(limits) {
                if let verdict = try await decidePlain(
                    ask, only, all: limits, version: set.version, for: tenant)
                {
                    return verdict
                }
                continue
            }
            let shown = limits.isEmpty ? [Self.hour] : limits
            let key = try await key(ask.operation, of: tenant)
            let call = DetailedCall(
                key: key, cost: ask.cost, version: set.version, logs: logs, limits: shown,
                identity: ask.identity)
            if let verdict = try await decideOnce(call) { return verdict }
        }
        throw .postgres(.serialization)
    }

    /// Reads the tenant's policies anew; whether they have changed.
    private func refresh(
        _ known: PolicySet, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Bool {
        try await reloadPolicies(of: tenant)
        return policySet(of: tenant).version != known.version
    }

    /// The count of the hour, for answers that name no limit.
    private static let hour = AppliedLimit(.count, Limit(limit: 0, window: 3600))

    /// The one limit that decides, if one alone does and the plain way can count it: several of one
    /// window over the operation's own units come down to the least.
    private func onlyLimit(_ limits: [AppliedLimit]) -> AppliedLimit? {
        guard let first = limits.first else { return Self.hour }
        var least = first
        for limit in limits {
            guard limit.isEnforced, !limit.isWide, !limit.limit.isLong,
                limit.limit.window == first.limit.window
            else { return nil }
            if limit.limit.limit <= least.limit.limit { least = limit }
        }
        return least
    }

    /// Nil when the policies were outdated.
    ///
    /// - Parameter limits: all that apply; they count the same units, `only` is the least.
    private func decidePlain(
        _ ask: Ask, _ only: AppliedLimit, all limits: [AppliedLimit], version: Int64,
        for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Verdict? {
        let shown = limits.isEmpty ? [only] : limits
        let decider = shown.lastIndex(of: only)
        let decision = try await acquireOnce(
            ask.operation, cost: ask.cost, limit: only.isEnforced ? only.limit.limit : nil,
            window: only.limit.window, version: version, for: tenant)
        switch decision {
        case .admitted(let count, let at, let nextFreeIn):
            return Verdict(
                .admitted(at: at),
                limits: shown.map { LimitState($0, count: count, nextFreeIn: nextFreeIn) },
                decider: decider)
        case .denied(let count, let retryAfter, let nextFreeIn):
            return Verdict(
                .denied(retryAfter: retryAfter),
                limits: shown.map { LimitState($0, count: count, nextFreeIn: nextFreeIn) },
                decider: decider)
        case .outdated: return nil
        }
    }

    /// Records `cost` units, whatever the limits. Throws `.tooManyOperations`, `.postgres`.
    package func record(
        _ operation: String, cost: Int32, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> (count: Int64, at: Timestamp) {
        let verdict = try await decide(Ask(operation, cost: cost, isLimited: false), for: tenant)
        guard case .admitted(let at) = verdict.outcome, let count = verdict.limits.first?.count
        else { throw .postgres(.decode("an unlimited record was denied")) }
        return (count, at)
    }

    // MARK: Reading

    /// Every limit that would apply to a call, with what its window holds now. A name that was never
    /// recorded counts 0 and makes no row.
    ///
    /// - Parameter operation: nil asks for the limits over all operations together alone.
    package func states(
        of operation: String?, maxPerHour: Int64? = nil, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> [LimitState] {
        for _ in 0..<Self.maxReloads {
            let set = policySet(of: tenant)
            let limits = set.limits(
                for: operation ?? "*", maxPerHour: maxPerHour, standard: settings.defaultMaxPerHour
            ).filter { operation != nil || $0.isWide }
            var number: Int16?
            if let operation {
                number = try await self.number(operation, of: tenant, create: false)
            }
            // Without a limit the hour is counted, which tells whether the policies are still these.
            let counted = try await countOnce(
                (limits.isEmpty ? [Self.hour] : limits).map { limit in
                    // No operation has number -1: its windows are empty.
                    CountCall(
                        key: UsageKey(tenant: tenant, operation: limit.isWide ? 0 : number ?? -1),
                        window: limit.limit.window, version: set.version)
                }, of: tenant)
            guard let counted else { continue }
            self.counted.checked += 1
            return zip(limits, counted).map { limit, counted in
                LimitState(limit, count: counted.units ?? 0, nextFreeIn: counted.nextFreeIn)
            }
        }
        throw .postgres(.serialization)
    }

    /// The operations that have a policy, `*` among them, sorted.
    package func limitedOperations(
        of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> [String] {
        try await reloadPolicies(of: tenant)
        return policySet(of: tenant).operations
    }

    /// The exact count of the window. A name that was never recorded counts 0 and makes no row.
    package func count(
        _ operation: String, for tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Int64 {
        try await states(of: operation, maxPerHour: 0, for: tenant).last?.count ?? 0
    }
}
