package import Postgres

/// What a caller asks of the ledger: record this, or record it if the limits let it.
package struct Ask: Hashable, Sendable {
    package let operation: String
    /// Units, 1 to `Ledger.Settings.maxCost`.
    package let cost: Int32
    /// A limit of the call's own beside the policies; it can only tighten.
    package let maxPerHour: Int64?
    /// False records whatever the limits say.
    package let isLimited: Bool
    package let identity: Identity?

    /// What makes a request one that can be told from others.
    package struct Identity: Hashable, Sendable {
        package let id: UUID
        /// A JSON object of texts.
        package let labels: String?
        package let idempotency: Idempotency?

        package init(id: UUID = .v7(), labels: String? = nil, idempotency: Idempotency? = nil) {
            self.id = id
            self.labels = labels
            self.idempotency = idempotency
        }
    }

    package init(
        _ operation: String, cost: Int32 = 1, maxPerHour: Int64? = nil, isLimited: Bool = true,
        identity: Identity? = nil
    ) {
        self.operation = operation
        self.cost = cost
        self.maxPerHour = maxPerHour
        self.isLimited = isLimited
        self.identity = identity
    }
}

/// A limit with what its window holds.
package struct LimitState: Hashable, Sendable {
    package let applied: AppliedLimit
    /// Units in the window, an admitted call's own among them.
    package let count: Int64
    /// Until the oldest of them leaves; nil: there is none.
    package let nextFreeIn: Duration?

    package var limit: Int64 { applied.limit.limit }
    package var remaining: Int64 { max(0, limit - count) }
    package var isExceeded: Bool { count >= limit }
    /// From `warnAt` of the limit on.
    package var isWarning: Bool { Double(count) >= applied.limit.warnAt * Double(limit) }

    package init(_ applied: AppliedLimit, count: Int64, nextFreeIn: Duration?) {
        self.applied = applied
        self.count = count
        self.nextFreeIn = nextFreeIn
    }
}

/// What the ledger decided.
package struct Verdict: Hashable, Sendable {
    package enum Outcome: Hashable, Sendable {
        /// Recorded at that time.
        case admitted(at: Timestamp)
        /// Nothing was recorded; when the call would fit, exact unless a refund or a changed policy
        /// makes room earlier. Nil: never.
        case denied(retryAfter: Duration?)
        /// The database is away, and the policy wants calls admitted then. Nothing was recorded.
        case admittedUnrecorded
    }

    package let outcome: Outcome
    package let limits: [LimitState]
    /// Of `limits`, the one that denied.
    let decider: Int?
    /// The record's, if it asked for one.
    package let id: UUID?
    /// An earlier call with the same idempotency key was answered so.
    package let isReplay: Bool

    init(
        _ outcome: Outcome, limits: [LimitState], decider: Int? = nil, id: UUID? = nil,
        isReplay: Bool = false
    ) {
        self.outcome = outcome
        self.limits = limits
        self.decider = decider
        self.id = id
        self.isReplay = isReplay
    }

    package var isAdmitted: Bool { if case .denied = outcome { false } else { true } }

    package var admittedAt: Timestamp? { if case .admitted(let at) = outcome { at } else { nil } }

    /// The limit that an answer names: the one that denied, else the enforced one with the least
    /// room, else the first. Nil where none applies.
    package var deciding: LimitState? {
        if let decider, limits.indices.contains(decider) { return limits[decider] }
        return limits.filter(\.applied.isEnforced).min { $0.remaining < $1.remaining }
            ?? limits.first
    }
}
