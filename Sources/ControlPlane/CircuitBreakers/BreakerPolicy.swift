internal import IO

/// When a breaker opens, for how long, and how it closes again.
package struct BreakerPolicy: Hashable, Sendable {
    package enum Mode: String, Hashable, Sendable, CaseIterable {
        /// So many failures in a row (the original).
        case consecutive
        /// A share of the last so many calls.
        case countWindow
        /// A share of the calls of the last so many seconds.
        case timeWindow
    }

    package var mode = Mode.consecutive
    /// Failures in a row that open it, in the mode `consecutive` (the original's value).
    package var failureThreshold = 5
    /// Calls of a count window.
    package var windowCalls = 100
    /// Length of a time window; kept in ten buckets.
    package var window: Duration = .seconds(30)
    /// Calls that a window must hold before its share means something.
    package var minimumCalls = 20
    /// The share of failures, over 0 to 1, that opens it in the window modes.
    package var failureRate = 0.5
    /// A call that took longer is slow, in the window modes; nil: none is.
    package var slowCall: Duration?
    /// The share of slow calls, over 0 to 1, that opens it.
    package var slowRate = 1.0

    /// How long it is open the first time (the original's 60 s).
    package var openBase: Duration = .seconds(60)
    /// By how much each opening in a row is longer, at least 1 (the original's: 1).
    package var openGrowth = 1.0
    /// How long it is open at most.
    package var openCap: Duration = .seconds(60)
    /// By what share at most an open time is longer at random, fixed when it opens.
    package var openJitter = 0.0

    /// Probes at a time, and how many a round may have in all.
    package var probes = 1
    /// Probes of a round that must succeed to close it; not above `probes`.
    package var probeSuccesses = 1
    /// How long a probe may be out before its place is another's. Longer than an operation takes.
    package var probeLease: Duration = .seconds(60)
    /// Probes lost in a round that open it again.
    package var maxLostProbes = 3
    /// How long it lets only a part through after it closed: a quarter in the first third, half in the
    /// second. 0 (the original's): everything at once.
    package var ramp: Duration = .zero
    /// Failures during the ramp that open it again.
    package var rampFailures = 2

    /// Distinct tenants whose failures must be in a run or window before it opens: of a parent, which
    /// one sick tenant must not open for all.
    package var distinctTenants = 1

    package init() {}

    /// What the n-th opening in a row lasts, n from 1: min(base × growth^(n-1), cap), plus jitter.
    ///
    /// - Parameter random: 0 to 1.
    package func openPeriod(opening: Int, random: Double) -> Duration {
        var seconds = openBase.seconds
        var left = opening - 1
        while left > 0, seconds < openCap.seconds, openGrowth > 1 {
            seconds *= openGrowth
            left -= 1
        }
        seconds = min(seconds, openCap.seconds) * (1 + openJitter * random)
        return .milliseconds(Int64(seconds * 1000))
    }

    /// The share of calls that is let through at a time after it closed.
    func rampShare(after elapsed: Duration) -> Double {
        guard ramp > .zero, elapsed < ramp else { return 1 }
        return elapsed * 3 < ramp ? 0.25 : elapsed * 3 < ramp * 2 ? 0.5 : 1
    }

    /// What can never work, in words; nil if all is well.
    package var fault: String? {
        if mode == .countWindow, minimumCalls > windowCalls {
            return "minimumCalls is above windowCalls: it could never open"
        }
        if probeSuccesses > probes { return "probeSuccesses is above probes: it could never close" }
        if openCap < openBase { return "openCap is below openBase" }
        return nil
    }
}
