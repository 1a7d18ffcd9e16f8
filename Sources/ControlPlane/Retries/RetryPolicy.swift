internal import IO

/// When a failed call is tried again: pure, in whole milliseconds.
///
/// Wait after try n = the n-th value of the kind's list (the last one repeats) or what the provider asks
/// for, if that is longer; spread by the jitter, but not to less than was asked for, nor past the
/// deadline. `docs/errors.md` says which kind follows which list.
package struct RetryPolicy: Hashable, Sendable {
    package struct Settings: Hashable, Sendable {
        /// Tries in all, the first one included.
        package var maxAttempts = 3
        /// Waits in milliseconds; the last one repeats. Never empty.
        package var transient = [1000, 2000, 4000, 10_000]
        package var unknown = [2000, 4000, 8000, 15_000]
        package var rateLimit = [30_000]
        package var capacity = [2000, 4000, 8000, 15_000]
        /// By how much a wait is spread, in percent: up and down, for rate limits upwards only; as far
        /// as it fits before the deadline.
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
        /// Even the shortest wait would overrun the deadline.
        case deadline
        /// Even the shortest wait is longer than `retry.maxWaitS`.
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

    /// Whether there is another try is never a matter of luck: the jitter draws from those of its waits
    /// that fit before the deadline and into `retry.maxWaitS`, and only if none does it says stop.
    ///
    /// - Parameters:
    ///   - attempt: the number of the try that failed, from 1.
    ///   - maxAttempts: of the request, if it names any.
    ///   - remaining: until the deadline; nil: there is none.
    package func verdict(
        on error: Classification, attempt: Int, maxAttempts: Int? = nil, remaining: Duration?,
        using random: inout some RandomNumberGenerator
    ) -> Verdict {
        guard let waits = waits(error.schedule, attempt: attempt, retryAfter: error.retryAfter)
        else { return .stop(.permanent, retryAfter: nil) }
        let shortest = Duration.milliseconds(waits.lowerBound)
        let room = remaining.map { $0 - settings.minTry } ?? settings.maxWait
        let stop: Stop
        if attempt >= min(maxAttempts ?? settings.maxAttempts, Self.mostAttempts) {
            stop = .attempts
        } else if shortest > settings.maxWait {
            stop = .tooLong
        } else if shortest > room {
            stop = .deadline
        } else {
            let longest = min(room, settings.maxWait).milliseconds
            let fitting = waits.lowerBound...min(waits.upperBound, longest)
            return .retry(after: .milliseconds(Int64.random(in: fitting, using: &random)))
        }
        return .stop(stop, retryAfter: .milliseconds(Int64.random(in: waits, using: &random)))
    }

    /// What the jitter may make of the wait after try `attempt`, in milliseconds, whole ones, each as
    /// likely as the others; nil: never again.
    package func waits(
        _ schedule: RetrySchedule, attempt: Int, retryAfter: Duration?
    ) -> ClosedRange<Int64>? {
        let list: [Int]
        switch schedule {
        case .never: return nil
        case .transient: list = settings.transient
        case .unknown: list = settings.unknown
        case .rateLimit: list = settings.rateLimit
        case .capacity: list = settings.capacity
        }
        guard let last = list.last else { return nil }
        let longest = Int64(Self.longestWait)
        let asked = min(max(retryAfter?.milliseconds ?? 0, 0), longest)
        let own = Int64(list.indices.contains(attempt - 1) ? list[attempt - 1] : last)
        let wait = max(min(own, longest), asked)
        let spread = wait * Int64(settings.jitterPercent) / 100
        // Who waits for the same window should not all come back in its first millisecond, nor before.
        let shortest = schedule == .rateLimit ? wait : max(wait - spread, asked)
        return shortest...(wait + spread)
    }
}
