import ControlPlane
import IO

/// What one run counted.
struct Tally: Hashable, Sendable {
    /// How long users wait for a sandbox; a later one is late.
    static let patience: Duration = .seconds(30)
    /// How long a sandbox lives whose id nobody has, minutes.
    static let life = 30

    private(set) var requests = 0
    private(set) var failures = 0
    /// Failures whose status is 500.
    private(set) var failed500 = 0
    /// Failures that the provider was not asked for.
    private(set) var refused = 0
    private(set) var late = 0
    private(set) var calls = 0
    private(set) var leaked = 0
    /// Of requests that failed, from the first to the last moment.
    private(set) var held: Duration = .zero
    /// The longest time past a deadline.
    private(set) var overrun: Duration = .zero
    /// While no call of anybody can succeed.
    private(set) var outageRequests = 0
    private(set) var outageCalls = 0
    /// Milliseconds to a sandbox.
    private(set) var median = 0
    private(set) var p99 = 0
    /// Seconds from a bad time's start to the first refusal in it, and from its end to the last one
    /// after it, of those that had any.
    private(set) var openings: [Double] = []
    private(set) var closings: [Double] = []
    private(set) var failuresByMinute: [Int]
    private(set) var callsByMinute: [Int]

    private struct BadTime: Hashable, Sendable {
        let start: Double
        let end: Double
        var firstRefusal: Double?
        var lastRefusal: Double?
    }

    private var times: [Int] = []
    private var badTimes: [BadTime]
    /// The bad time that is now or was last; -1: there was none.
    private var current = -1

    init(badTimes: [(start: Double, end: Double)], seconds: Double) {
        self.badTimes = badTimes.map { BadTime(start: $0.start, end: $0.end) }
        failuresByMinute = [Int](repeating: 0, count: Int(seconds / 60) + 10)
        callsByMinute = failuresByMinute
    }

    mutating func begin(at seconds: Double, isOutage: Bool) {
        requests += 1
        if isOutage { outageRequests += 1 }
    }

    mutating func call(at seconds: Double, isOutage: Bool) {
        calls += 1
        if isOutage { outageCalls += 1 }
        Self.count(seconds, in: &callsByMinute)
    }

    mutating func leak() { leaked += 1 }

    mutating func refuse(at seconds: Double) {
        refused += 1
        failures += 1
        Self.count(seconds, in: &failuresByMinute)
        while current + 1 < badTimes.count, badTimes[current + 1].start <= seconds { current += 1 }
        guard current >= 0 else { return }
        if seconds < badTimes[current].end, badTimes[current].firstRefusal == nil {
            badTimes[current].firstRefusal = seconds
        }
        badTimes[current].lastRefusal = seconds
    }

    mutating func succeed(after time: Duration) {
        times.append(Int(time.milliseconds))
        if time > Self.patience { late += 1 }
    }

    mutating func fail(_ kind: ErrorKind?, after time: Duration, at seconds: Double) {
        failures += 1
        if kind == .internal { failed500 += 1 }
        held += time
        Self.count(seconds, in: &failuresByMinute)
    }

    mutating func noteEnd(after deadline: Duration) { overrun = max(overrun, deadline) }

    /// When no more comes.
    mutating func close() {
        times.sort()
        if !times.isEmpty {
            median = times[times.count / 2]
            p99 = times[times.count * 99 / 100]
        }
        times = []
        for time in badTimes {
            if let first = time.firstRefusal { openings.append(first - time.start) }
            if let last = time.lastRefusal { closings.append(max(last - time.end, 0)) }
        }
    }

    private static func count(_ seconds: Double, in minutes: inout [Int]) {
        let minute = Int(seconds / 60)
        if minutes.indices.contains(minute) { minutes[minute] += 1 }
    }
}

extension Conditions {
    /// Nobody's call can succeed.
    var isOutage: Bool { failing >= 1 && tenant == nil }
}
