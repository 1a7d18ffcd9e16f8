import Synchronization

/// What one tenant has in hand on this instance, over all its loops: one atomic counter, which a
/// request finds beside its key, so that the hot path takes no lock and looks nothing up.
package final class TenantLoad: Sendable {
    private let count = Atomic<Int>(0)

    package init() {}

    package var inFlight: Int { count.load(ordering: .relaxed) }

    /// Takes a place if fewer than `limit` are taken; true if it did.
    package func enter(limit: Int) -> Bool {
        if count.add(1, ordering: .relaxed).newValue <= limit { return true }
        leave()
        return false
    }

    /// Takes `places` more, for a call that has a place and turned out to be many.
    package func add(_ places: Int) { count.add(places, ordering: .relaxed) }

    package func leave(_ places: Int = 1) { count.subtract(places, ordering: .relaxed) }
}

/// The counters of one instance. Asked when a key is looked up; a counter lives as long as some loop
/// knows a key of its tenant, or a request of it is in hand.
package final class TenantLoads: Sendable {
    private struct Held { weak var load: TenantLoad? }
    private struct State {
        var loads: [Tenant.ID: Held] = [:]
        /// How many there may be before those that are gone are looked for.
        var threshold = 1024
    }
    private let state = Mutex(State())

    package init() {}

    package func load(of tenant: Tenant.ID) -> TenantLoad {
        state.withLock { state in
            if let load = state.loads[tenant]?.load { return load }
            if state.loads.count >= state.threshold {
                state.loads = state.loads.filter { $0.value.load != nil }
                state.threshold = max(1024, 2 * state.loads.count)
            }
            let load = TenantLoad()
            state.loads[tenant] = Held(load: load)
            return load
        }
    }
}
