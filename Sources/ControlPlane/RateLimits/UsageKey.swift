package import Postgres

/// What is counted: one operation of one tenant.
package struct UsageKey: Hashable, Sendable {
    package let tenant: Tenant.ID
    /// The tenant's number for the operation's name.
    package let operation: Int16

    package init(tenant: Tenant.ID, operation: Int16) {
        self.tenant = tenant
        self.operation = operation
    }

    /// Which of `count` the key belongs to: neighbouring operations of a tenant to different ones.
    func share(of count: Int) -> Int {
        Int((tenant.uuid.low &+ UInt64(UInt16(bitPattern: operation))) % UInt64(count))
    }
}

/// One decision to be made by the ledger. Equal calls of a batch become one element.
package struct LedgerCall: Hashable, Sendable {
    package let key: UsageKey
    /// Units, 1 to `Ledger.Settings.maxCost`.
    package let cost: Int32
    /// Units allowed in the window; nil records unconditionally.
    package let limit: Int64?
    /// The rolling window in seconds: a record counts while `recorded_at > now - window`.
    package let window: Int32
    /// Of the tenant's policies as the caller knows them; 0: it has none.
    package let version: Int64

    package init(
        key: UsageKey, cost: Int32, limit: Int64?, window: Int32, version: Int64 = 0
    ) {
        self.key = key
        self.cost = cost
        self.limit = limit
        self.window = window
        self.version = version
    }
}

/// What the ledger decided for one call.
package enum LedgerDecision: Hashable, Sendable {
    /// Recorded at `at`; `count` units are in the window, this call's among them.
    case admitted(count: Int64, at: Timestamp, nextFreeIn: Duration?)
    /// Nothing was recorded. `retryAfter` is exact unless room is freed by a refund; nil: never.
    /// `nextFreeIn` is when the oldest units leave the window.
    case denied(count: Int64, retryAfter: Duration?, nextFreeIn: Duration?)
    /// Nothing was decided: the tenant's policies have another version.
    case outdated
}

/// One window to be counted; operation 0 stands for all of the tenant together.
struct CountCall: Hashable, Sendable {
    let key: UsageKey
    let window: Int32
    let version: Int64
}

/// What a window holds; `units` is nil where the policies have another version.
struct Counted: Hashable, Sendable {
    let units: Int64?
    let nextFreeIn: Duration?
}
