package import IO

/// Creations that were refused before they began, added up: while a breaker is open there may be any
/// number a second.
package struct RefusalEvent: Hashable, Sendable {
    package enum Reason: String, Hashable, Sendable, CaseIterable {
        case breakerOpen = "breaker_open"
        case quotaExceeded = "quota_exceeded"
        /// The provider's account lets no creation through.
        case throttled
        /// Too many are in hand.
        case overloaded
    }

    package let tenant: Tenant.ID
    package let region: String
    package let reason: Reason
    package let breaker: BreakerMachine.State
    package let count: Int

    package init(
        tenant: Tenant.ID, region: String, reason: Reason, breaker: BreakerMachine.State,
        count: Int
    ) {
        self.tenant = tenant
        self.region = region
        self.reason = reason
        self.breaker = breaker
        self.count = count
    }

    var fields: [(name: String, value: Event.Value)] {
        [
            ("event", .text("sandbox_create_refused")), ("reason", .text(reason.rawValue)),
            ("count", .integer(Int64(count))), ("circuitBreakerState", .text(breaker.rawValue)),
            ("tenant", .text(tenant.description)), ("region", .text(region)),
        ]
    }
}

/// Adds refusals up and tells of each kind of them once a second, while there are any.
package actor Refusals: LoopBound {
    private struct Kind: Hashable {
        let tenant: Tenant.ID
        let region: String
        let reason: RefusalEvent.Reason
        let breaker: BreakerMachine.State
    }

    package nonisolated let loop: EventLoop
    private let interval: Duration
    private let tell: Tell
    private var counts: [Kind: Int] = [:]
    /// Kinds that are told apart; past it further ones are not told of.
    private static let capacity = 10_000

    package init(
        on loop: EventLoop, interval: Duration = .seconds(1), tell: @escaping Tell = { _ in }
    ) {
        self.loop = loop
        self.interval = interval
        self.tell = tell
    }

    func note(_ key: BreakerKey, _ reason: RefusalEvent.Reason, _ breaker: BreakerMachine.State) {
        guard key.operationClass == .create else { return }
        let kind = Kind(
            tenant: key.tenant, region: key.region, reason: reason, breaker: breaker)
        guard counts.count < Self.capacity || counts[kind] != nil else { return }
        counts[kind, default: 0] += 1
    }

    /// Works until cancelled.
    package func run() async {
        while !Task.isCancelled {
            do throws(IOError) { try await loop.sleep(for: interval) } catch { break }
            flush()
        }
        flush()
    }

    package func flush() {
        guard !counts.isEmpty else { return }
        let told = counts
        counts = [:]
        for (kind, count) in told {
            tell(
                .creationsRefused(
                    RefusalEvent(
                        tenant: kind.tenant, region: kind.region, reason: kind.reason,
                        breaker: kind.breaker, count: count)))
        }
    }
}
