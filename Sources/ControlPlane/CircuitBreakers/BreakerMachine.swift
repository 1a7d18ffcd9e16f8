package import Postgres

/// One circuit breaker, as its row holds it. Pure: what happens is applied with the time at which it
/// does, so that the database's row, a test and an instance without its database all run this code.
///
/// **Generation.** It rises by one at every move, resets and overrides included. A call carries the
/// generation in which it was admitted; what it reports in another one changes nothing. That one rule
/// keeps late, doubled and overhanging results from doing harm.
package struct BreakerMachine: Hashable, Sendable {
    package enum State: String, Hashable, Sendable, CaseIterable {
        case closed = "CLOSED"
        case open = "OPEN"
        case halfOpen = "HALF_OPEN"
    }

    /// What an operator laid over the automatic state.
    package enum Override: String, Hashable, Sendable, CaseIterable {
        case forcedOpen = "FORCED_OPEN"
        /// Lets everything through and counts nothing.
        case disabled = "DISABLED"
        /// Lets everything through and goes on counting and moving.
        case metricsOnly = "METRICS_ONLY"
    }

    /// A probe that is out.
    package struct Lease: Hashable, Sendable {
        package let token: UUID
        /// The instance that has it, for people.
        package let holder: String
        package let expiresAt: Timestamp
    }

    package internal(set) var generation: Int64 = 0
    package internal(set) var state = State.closed
    package internal(set) var override: Override?
    /// When the override ends by itself; nil: when somebody ends it.
    package internal(set) var overrideUntil: Timestamp?

    /// Failures in a row; while it is not closed, those that opened it.
    package internal(set) var run = 0
    var runStartedAt: Timestamp?
    /// Tenants whose failures are in the run or window; no more than `distinctTenants` asks for.
    var failing: [Tenant.ID] = []
    var window = BreakerWindow()

    /// Openings since it was last closed.
    package internal(set) var openings = 0
    package internal(set) var openedAt: Timestamp?
    package internal(set) var openUntil: Timestamp?
    /// Since when it has not been closed, however often it moved meanwhile.
    package internal(set) var unclosedSince: Timestamp?
    package internal(set) var closedAt: Timestamp?
    var failuresInRamp = 0

    /// Probes that are out, and how those of this round ended.
    package internal(set) var leases: [Lease] = []
    package internal(set) var succeededProbes = 0
    package internal(set) var failedProbes = 0
    package internal(set) var lostProbes = 0

    /// The latest time that was applied.
    var seenAt = Timestamp.distantPast

    package init() {}

    /// What the operator sees: the override where there is one.
    package var label: String { override?.rawValue ?? state.rawValue }

    /// As callers meet it, whatever lies over it.
    package var effectiveState: State {
        switch override {
        case .forcedOpen: .open
        case .disabled: .closed
        case .metricsOnly, nil: state
        }
    }

    /// Nothing is known of it that a breaker without a row would not have.
    package var isDefault: Bool {
        state == .closed && override == nil && run == 0 && window.entries.isEmpty
    }
}

/// A move from one state or override to another; its row is the history.
package struct BreakerMove: Hashable, Sendable {
    package enum Cause: String, Hashable, Sendable {
        case failures, failureRate = "failure_rate", slowRate = "slow_rate"
        case failuresInRamp = "failures_in_ramp"
        case probeDue = "probe_due", probeSucceeded = "probe_succeeded"
        case probeFailed = "probe_failed", probeRateLimited = "probe_rate_limited"
        case probesLost = "probes_lost"
        case reset, forced = "force_open", disabled = "disable", metricsOnly = "metrics_only"
        case enabled = "enable", overrideEnded = "override_ended"
    }

    /// The one that it began.
    package let generation: Int64
    package let from: String
    package let to: String
    package let cause: Cause
    package let at: Timestamp
    /// Failures in a row, or in the window, when it moved.
    package let failureCount: Int
    package let openUntil: Timestamp?

    /// What it is to callers now: an override stands for the state that it works as.
    var effectiveState: BreakerMachine.State {
        switch BreakerMachine.Override(rawValue: to) {
        case .forcedOpen: .open
        case .disabled, .metricsOnly: .closed
        case nil: BreakerMachine.State(rawValue: to) ?? .closed
        }
    }
}

/// Something that happens to a breaker.
package enum BreakerInput: Hashable, Sendable {
    /// What calls admitted in `generation` came to, in order.
    case outcomes([OutcomeRun], generation: Int64)
    /// A caller wants the probe that seems to be due.
    case probe(token: UUID, holder: String, lease: Duration)
    /// A probe's end.
    case settle(token: UUID, generation: Int64, ProbeOutcome)
    /// An operator's act; `until` ends an override by itself.
    case reset
    case lay(BreakerMachine.Override, until: Timestamp?)
    case enable
    /// Nothing but the time.
    case look

    package enum ProbeOutcome: Hashable, Sendable {
        case succeeded
        case failed
        /// The provider limits rates: it lives, and is not to be asked for so long.
        case rateLimited(retryAfter: Duration)
        /// Neither: the place is free again.
        case ignored
    }
}

/// What a breaker answers to an input.
package enum BreakerAnswer: Hashable, Sendable {
    /// Goes through, as any call of this generation.
    case admitted(generation: Int64)
    /// Goes through as a probe.
    case probing(generation: Int64)
    /// Does not go through; come back after so long.
    case refused(retryAfter: Duration)
    /// The outcome was counted, or the act done.
    case applied
    /// The outcome belongs to another generation, or to a probe that has expired: nothing changed.
    case stale
}
