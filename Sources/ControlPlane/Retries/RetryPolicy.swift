internal import IO

/// When a failed call is tried again: pure, in whole milliseconds.
///
/// Wait after try n = the n-th value of the kind's list (the last one repeats), times the jitter, and
/// never less than the provider asks for. `docs/errors.md` says which kind follows which list.
package struct RetryPolicy: Hashable, Sendable {
    package struct Settings: Hashable, Sendable {
        /// Tries in all, the first one included.
        package var maxAttempts = 3
        /// Waits in milliseconds; the last one repeats. Never empty.
        package var transient = [1000, 2000, 4000, 10_000]
        package var unknown = [2000, 4000, 8000, 15_000]
        package var rateLimit = [30_000]
        package var capacity = [2000, 4000, 8000, 15_000]
        /// By how much a wait is spread, in percent: up and down, for rate limits upwards only.
        package var jitterPercent = 20
        /// A longer wait is not slept: the caller is told instead.
        package var maxWait: Duration = .seconds(120)
        /// A retry that would have less than this left is not begun.
        package var minTry: Duration = .seconds(1)
        /// From the first try on, where the request does not say: managed creation, gateway.
        package var deadline: Duration = .seconds(120)
        package var gatewayDeadline: Duration = .seconds(50)

        package init() {}
    }

    /// Longest wait of a list, an hour in milliseconds.
    package static let longestWait = 3_600_000
    /// Most tries that anyone may ask for.
    package static let mostAttempts = 20

    /// Why a call is not tried again.
    package enum Stop: String, Hashable, Sendable {
        /// It would fail again until something changes.
        case permanent
        /// All tries are used up.
        case attempts
        /// The wait would overrun the deadline.
        case deadline
        /// The wait is longer than `retry.maxWaitS`.
        case tooLong = "too_long"
        /// Too much of the tenant's or provider's traffic is retries already.
        case budget
        /// A limit of the tenant's leaves no room for another try.
        case quota
        /// The account's limits at the provider leave no room before the deadline.
        case throttled
        /// A circuit breaker is open.
        case breakerOpen = "breaker_open"
        /// The caller gave up.
        case cancelled
    }

    package enum Verdict: Hashable, Sendable {
        case retry(after: Duration)
        /// `retryAfter`: how long to wait before the whole call is worth another try, if ever.
        case stop(Stop, retryAfter: Duration?)
    }

    package let settings: Settings

    package init(_ settings: Settings = Settings()) { self.settings = settings }

    /// - Parameters:
    ///   - attempt: the number of the try that failed, from 1.
    ///   - maxAttempts: of the request, if it names any.
    ///   - remaining: until the deadline; nil: there is none.
    package func verdict(
        on error: Classification, attempt: Int, maxAttempts: Int? = nil, remaining: Duration?,
        using random: inout some RandomNumberGenerator
    ) -> Verdict {
        guard
            let wait = wait(
                error.schedule, attempt: attempt, retryAfter: error.retryAfter, using: &random)
        else { return .stop(.permanent, retryAfter: nil) }
        let most = min(maxAttempts ?? settings.maxAttempts, Self.mostAttempts)
        if attempt >= most { return .stop(.attempts, retryAfter: wait) }
        if wait > settings.maxWait { return .stop(.tooLong, retryAfter: wait) }
        if let remaining, wait + settings.minTry > remaining {
            return .stop(.deadline, retryAfter: wait)
        }
        return .retry(after: wait)
    }

    /// The wait after try `attempt`; nil: never again.
    func wait(
        _ schedule: RetrySchedule, attempt: Int, retryAfter: Duration?,
        using random: inout some RandomNumberGenerator
    ) -> Duration? {
        let waits: [Int]
        switch schedule {
        case .never: return nil
        case .transient: waits = settings.transient
        case .unknown: waits = settings.unknown
        case .rateLimit: waits = settings.rateLimit
        case .capacity: waits = settings.capacity
        }
        guard let last = waits.last else { return nil }
        let asked = min(max(retryAfter?.milliseconds ?? 0, 0), Int64(Self.longestWait))
        var wait = Int64(waits.indices.contains(attempt - 1) ? waits[attempt - 1] : last)
        wait = min(max(wait, 0), Int64(Self.longestWait))
        let spread = Int64(settings.jitterPercent)
        if schedule == .rateLimit {
            wait = max(wait, asked)
            // Who waits for the same window should not all come back in its first millisecond.
            wait += wait * Int64.random(in: 0...spread, using: &random) / 100
        } else {
            wait += wait * Int64.random(in: -spread...spread, using: &random) / 100
            wait = max(wait, asked)
        }
        return .milliseconds(wait)
    }
}
