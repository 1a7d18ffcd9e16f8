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

    package init(key: UsageKey, cost: Int32, limit: Int64?, window: Int32) {
        self.key = key
        self.cost = cost
        self.limit = limit
        self.window = window
    }
}

/// What the ledger decided for one call.
package enum LedgerDecision: Hashable, Sendable {
    /// Recorded at `at`; `count` units are in the window, this call's among them.
    case admitted(count: Int64, at: Timestamp)
    /// Nothing was recorded. `retryAfter` is exact unless room is freed by a refund; nil: never.
    case denied(count: Int64, retryAfter: Duration?)
}
