internal import IO
package import Postgres

/// Recent calls of a breaker in a window mode: entries in order of time.
package struct BreakerWindow: Hashable, Sendable {
    /// Calls that came together. In a count window all of one kind, so that it can be cut exactly.
    struct Entry: Hashable, Sendable {
        /// The bucket of a time window: microseconds since 1970 divided by its length; else 0.
        var bucket: Int64
        var calls: Int
        var failed: Int
        var slow: Int
    }

    private(set) var entries: [Entry] = []

    init(_ entries: [Entry] = []) { self.entries = entries }

    static let buckets = 10

    mutating func add(_ run: OutcomeRun, at now: Timestamp, _ policy: BreakerPolicy) {
        let isTimed = policy.mode == .timeWindow
        let length = max(policy.window.nanoseconds / 1_000 / Int64(Self.buckets), 1)
        let bucket = isTimed ? now.microseconds / length : 0
        let entry = Entry(
            bucket: bucket, calls: run.count, failed: run.isFailure ? run.count : 0,
            slow: run.isSlow ? run.count : 0)
        if isTimed {
            if let last = entries.last, last.bucket == bucket {
                entries[entries.count - 1].merge(entry)
            } else {
                entries.append(entry)
            }
            entries.removeAll { $0.bucket <= bucket - Int64(Self.buckets) }
        } else {
            if let last = entries.last, last.isLike(entry) {
                entries[entries.count - 1].merge(entry)
            } else {
                entries.append(entry)
            }
            trim(to: policy.windowCalls)
        }
    }

    private mutating func trim(to size: Int) {
        var excess = entries.reduce(0) { $0 + $1.calls } - size
        while excess > 0, let first = entries.first {
            if first.calls <= excess {
                entries.removeFirst()
                excess -= first.calls
            } else {
                entries[0].calls -= excess
                entries[0].failed = max(entries[0].failed - excess, 0)
                entries[0].slow = max(entries[0].slow - excess, 0)
                excess = 0
            }
        }
    }

    /// Whether the shares of failed or slow calls are too high.
    func isTripped(_ policy: BreakerPolicy) -> Bool {
        let sum = entries.reduce(into: Entry(bucket: 0, calls: 0, failed: 0, slow: 0)) {
            $0.merge($1)
        }
        guard sum.calls >= max(policy.minimumCalls, 1) else { return false }
        let calls = Double(sum.calls)
        if Double(sum.failed) / calls >= policy.failureRate { return true }
        return policy.slowCall != nil && Double(sum.slow) / calls >= policy.slowRate
    }
}

extension BreakerWindow.Entry {
    fileprivate mutating func merge(_ other: Self) {
        calls += other.calls
        failed += other.failed
        slow += other.slow
    }

    /// Whether both hold calls of one same kind.
    fileprivate func isLike(_ other: Self) -> Bool {
        (failed == 0) == (other.failed == 0) && (slow == 0) == (other.slow == 0)
    }
}

/// Outcomes of one kind in a row, as an instance saw them.
package struct OutcomeRun: Hashable, Sendable {
    package let isFailure: Bool
    package let isSlow: Bool
    package var count: Int
    /// Whose; a parent hears of several.
    package let tenant: Tenant.ID
    /// When the last of them ended, in the database's time as the instance knows it. A success breaks
    /// a run of failures only if it ended after the run began: it may have waited to be told.
    package var endedAt: Timestamp

    package init(
        isFailure: Bool, isSlow: Bool = false, count: Int = 1, tenant: Tenant.ID,
        endedAt: Timestamp
    ) {
        self.isFailure = isFailure
        self.isSlow = isSlow
        self.count = count
        self.tenant = tenant
        self.endedAt = endedAt
    }
}
