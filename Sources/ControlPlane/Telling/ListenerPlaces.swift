internal import Synchronization

/// How many may follow events at a time: of all tenants on this instance, and of each.
package final class ListenerPlaces: Sendable {
    package enum Full: Error, Hashable, Sendable { case instance, tenant }

    /// Given back when it is let go.
    package final class Place: Sendable {
        private let places: ListenerPlaces
        private let tenant: Tenant.ID

        fileprivate init(_ places: ListenerPlaces, _ tenant: Tenant.ID) {
            self.places = places
            self.tenant = tenant
        }

        deinit { places.giveBack(tenant) }
    }

    private struct State {
        var total = 0
        var byTenant: [Tenant.ID: Int] = [:]
    }

    package let limit: Int
    package let perTenant: Int
    private let state = Mutex(State())

    package init(_ limit: Int, perTenant: Int) {
        self.limit = limit
        self.perTenant = perTenant
    }

    package func take(for tenant: Tenant.ID) throws(Full) -> Place {
        let full: Full? = state.withLock { state in
            if state.byTenant[tenant, default: 0] >= perTenant { return .tenant }
            if state.total >= limit { return .instance }
            state.total += 1
            state.byTenant[tenant, default: 0] += 1
            return nil
        }
        if let full { throw full }
        return Place(self, tenant)
    }

    private func giveBack(_ tenant: Tenant.ID) {
        state.withLock { state in
            state.total -= 1
            let count = state.byTenant[tenant, default: 1] - 1
            state.byTenant[tenant] = count == 0 ? nil : count
        }
    }
}
