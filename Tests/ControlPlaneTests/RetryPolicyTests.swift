import ControlPlane
import IO
import TestSupport
import Testing

/// Always the same, and the least of a range for 0: what draws would refuse a true 0 for ever.
struct Fixed: RandomNumberGenerator {
    var bits: UInt64
    mutating func next() -> UInt64 { max(bits, 1 << 40) }
}

extension RetryPolicy.Settings {
    /// The original's behaviour by settings alone.
    static var original: RetryPolicy.Settings {
        var settings = RetryPolicy.Settings()
        settings.jitterPercent = 0
        settings.capacity = settings.transient
        settings.minTry = .zero
        settings.maxWait = .seconds(3600)
        return settings
    }
}

func classification(
    status: Int? = nil, message: String = "", retryAfter: Duration? = nil
) -> Classification {
    var facts = ErrorFacts()
    facts.status = status
    facts.message = message
    facts.retryAfter = retryAfter
    return Classifier().classify(facts)
}

private func waits(
    _ error: Classification, _ settings: RetryPolicy.Settings, _ attempts: Int = 6
) -> [Int64] {
    let policy = RetryPolicy(settings)
    var random = SystemRandomNumberGenerator()
    var waits: [Int64] = []
    for attempt in 1..<attempts {
        guard
            case .retry(let wait) = policy.verdict(
                on: error, attempt: attempt, maxAttempts: attempts, remaining: nil, using: &random)
        else { break }
        waits.append(wait.milliseconds)
    }
    return waits
}

@Suite struct `The original's retry, by settings alone` {
    @Test(.proves("B1", "F8"))
    func `waits 1, 2, 4, 10 s after transient errors, the last again and again`() {
        for status in [502, 503, 504] {
            #expect(
                waits(classification(status: status), .original) == [
                    1000, 2000, 4000, 10_000, 10_000,
                ])
        }
        #expect(
            waits(classification(message: "ECONNRESET"), .original)
                == [1000, 2000, 4000, 10_000, 10_000])
        #expect(waits(classification(status: 500), .original, 3) == [1000, 2000])
    }

    @Test(.proves("B1", "F8")) func `waits 2, 4, 8, 15 s after unknown errors`() {
        #expect(
            waits(classification(message: "what?"), .original) == [
                2000, 4000, 8000, 15_000, 15_000,
            ])
    }

    @Test(.proves("B1", "F8")) func `waits 30 s after a rate limit`() {
        #expect(
            waits(classification(message: "Rate limit exceeded"), .original, 4)
                == [30_000, 30_000, 30_000])
    }

    @Test(.proves("A1", "B1", "F8")) func `never tries again after a permanent error`() {
        for error in [
            classification(status: 401), classification(status: 403), classification(status: 404),
            classification(message: "Quota exceeded"),
        ] {
            #expect(waits(error, .original) == [])
        }
    }

    @Test(.proves("B1", "F8")) func `tries 3 times in all`() {
        var random = SystemRandomNumberGenerator()
        let policy = RetryPolicy(.original)
        let error = classification(status: 503)
        #expect(
            policy.verdict(on: error, attempt: 2, remaining: nil, using: &random)
                == .retry(after: .seconds(2)))
        #expect(
            policy.verdict(on: error, attempt: 3, remaining: nil, using: &random)
                == .stop(.attempts, retryAfter: .seconds(4)))
    }
}

@Suite struct `The retry policy` {
    let policy = RetryPolicy()

    @Test(.proves("B1"), arguments: [0, UInt64.max, UInt64.max / 2])
    func `spreads waits by 20 in 100, rate limits upwards only`(bits: UInt64) {
        var random = Fixed(bits: bits)
        let transient = policy.verdict(
            on: classification(status: 503), attempt: 1, remaining: nil, using: &random)
        let limited = policy.verdict(
            on: classification(status: 429), attempt: 1, remaining: nil, using: &random)
        guard case .retry(let short) = transient, case .retry(let long) = limited else {
            Issue.record("no retry")
            return
        }
        #expect((800...1200).contains(short.milliseconds))
        #expect((30_000...36_000).contains(long.milliseconds))
    }

    @Test(.proves("B1")) func `waits as long as the provider asks, if that is longer`() {
        var settings = RetryPolicy.Settings()
        settings.jitterPercent = 0
        #expect(
            waits(classification(status: 429, retryAfter: .seconds(45)), settings, 2) == [45_000])
        #expect(
            waits(classification(status: 429, retryAfter: .seconds(5)), settings, 2) == [30_000])
        #expect(waits(classification(status: 503, retryAfter: .seconds(7)), settings, 2) == [7000])
        #expect(waits(classification(status: 503, retryAfter: .seconds(-7)), settings, 2) == [1000])
    }

    @Test func `does not sleep for longer than it may, and says how long it would be`() {
        var random = Fixed(bits: 0)
        #expect(
            policy.verdict(
                on: classification(status: 429, retryAfter: .seconds(3600)), attempt: 1,
                remaining: nil, using: &random)
                == .stop(.tooLong, retryAfter: .seconds(3600)))
    }

    @Test(.proves("B2")) func `does not begin a wait that would overrun the deadline`() {
        var settings = RetryPolicy.Settings()
        settings.jitterPercent = 0
        let policy = RetryPolicy(settings)
        var random = Fixed(bits: 0)
        let error = classification(status: 503)
        #expect(
            policy.verdict(on: error, attempt: 1, remaining: .milliseconds(1999), using: &random)
                == .stop(.deadline, retryAfter: .seconds(1)))
        #expect(
            policy.verdict(on: error, attempt: 1, remaining: .seconds(2), using: &random)
                == .retry(after: .seconds(1)))
    }

    @Test func `takes its own list where the provider lacks machines`() {
        var settings = RetryPolicy.Settings()
        settings.jitterPercent = 0
        let error = classification(
            status: 503,
            message: "Failed to place sandbox: not enough capacity, please retry shortly")
        #expect(error.kind == .unavailable)
        #expect(waits(error, settings) == [2000, 4000, 8000, 15_000, 15_000])
    }

    @Test func `stays whole and in bounds whatever it is given`() {
        var settings = RetryPolicy.Settings()
        settings.transient = [Int.max, -5]
        settings.jitterPercent = 100
        let policy = RetryPolicy(settings)
        for bits in [0, UInt64.max] {
            var random = Fixed(bits: bits)
            for attempt in [1, 2, Int.max] {
                let verdict = policy.verdict(
                    on: classification(status: 503, retryAfter: .seconds(Int64.max)),
                    attempt: attempt, maxAttempts: Int.max, remaining: .seconds(Int64.max),
                    using: &random)
                guard case .stop(_, let wait?) = verdict else {
                    Issue.record("\(verdict)")
                    continue
                }
                #expect(wait >= .zero && wait <= .seconds(7200))
                for remaining in [Duration.seconds(Int64.min), .milliseconds(-1), .zero] {
                    let verdict = policy.verdict(
                        on: classification(status: 429), attempt: 1, maxAttempts: Int.max,
                        remaining: remaining, using: &random)
                    guard case .stop(.deadline, _) = verdict else {
                        Issue.record("\(verdict)")
                        continue
                    }
                }
            }
        }
    }
}

/// What any caller, setting and provider may bring, drawn from a seed.
private struct Case: CustomStringConvertible {
    var settings = RetryPolicy.Settings()
    let schedule: RetrySchedule
    let error: Classification
    let attempt: Int
    let remaining: Duration?
    let seed: UInt64

    init(_ seed: UInt64) {
        var draws = Sequence64(state: seed)
        let edges = [0, 1, 999, 1000, 8000, 30_000, 120_000, RetryPolicy.longestWait]
        func length() -> Int {
            Bool.random(using: &draws)
                ? edges.randomElement(using: &draws) ?? 0 : Int.random(in: 0...90_000, using: &draws)
        }
        settings.transient = (0..<3).map { _ in length() }
        settings.unknown = [length()]
        settings.rateLimit = [length(), length()]
        settings.capacity = [length()]
        settings.jitterPercent = Int.random(in: 0...100, using: &draws)
        settings.maxWait = .milliseconds(max(length(), 1000))
        settings.minTry = .milliseconds(Int.random(in: 0...2000, using: &draws))
        let asked: Duration? =
            Bool.random(using: &draws) ? nil : .milliseconds(length() - (length() / 8))
        error =
            [
                classification(status: 429, retryAfter: asked),
                classification(status: 500, retryAfter: asked),
                classification(message: "what?", retryAfter: asked),
                classification(
                    status: 503, message: "not enough capacity, please retry shortly",
                    retryAfter: asked),
            ].randomElement(using: &draws) ?? classification(status: 500)
        schedule = error.schedule
        attempt = Int.random(in: 1...4, using: &draws)
        // To the microsecond, and past the deadline too.
        remaining =
            Int.random(in: 0..<5, using: &draws) == 0
            ? nil : .milliseconds(length()) - .microseconds(Int.random(in: 0..<2_000_000, using: &draws))
        self.seed = draws.next()
    }

    var description: String {
        "\(settings), \(error), try \(attempt), \(remaining.map { "\($0)" } ?? "no deadline")"
    }

    func verdict(_ remaining: Duration?, _ random: inout some RandomNumberGenerator)
        -> RetryPolicy.Verdict
    {
        RetryPolicy(settings).verdict(
            on: error, attempt: attempt, maxAttempts: 9, remaining: remaining, using: &random)
    }

    /// Without any jitter.
    var plain: RetryPolicy.Verdict {
        var steady = self
        steady.settings.jitterPercent = 0
        var random = SystemRandomNumberGenerator()
        return steady.verdict(remaining, &random)
    }
}

/// SplitMix64: the same draws for the same seed.
private struct Sequence64: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct `The jitter` {
    private let cases = (1...5000).map { Case(UInt64($0)) }

    @Test(.proves("B1", "B2")) func `never overruns the deadline nor the longest wait`() {
        var retries = 0
        for one in cases {
            var random = Sequence64(state: one.seed)
            guard case .retry(let wait) = one.verdict(one.remaining, &random) else { continue }
            retries += 1
            #expect(wait <= one.settings.maxWait, "\(one)")
            if let remaining = one.remaining {
                #expect(wait + one.settings.minTry <= remaining, "\(one)")
            }
        }
        #expect(retries > cases.count / 10)
    }

    @Test(.proves("B1")) func `never undercuts what the provider asks for`() {
        var asked = 0
        for one in cases {
            guard let wanted = one.error.retryAfter, wanted <= .seconds(3600) else { continue }
            var random = Sequence64(state: one.seed)
            switch one.verdict(one.remaining, &random) {
            case .retry(let wait), .stop(_, let wait?): #expect(wait >= wanted, "\(one)")
            case .stop(_, nil): Issue.record("\(one)")
            }
            asked += 1
        }
        #expect(asked > cases.count / 4)
    }

    @Test(.proves("B2")) func `refuses no retry whose wait would fit without it`() {
        var retries = 0
        for one in cases {
            guard case .retry = one.plain else { continue }
            retries += 1
            var random = Sequence64(state: one.seed)
            guard case .retry = one.verdict(one.remaining, &random) else {
                Issue.record("\(one)")
                continue
            }
        }
        #expect(retries > cases.count / 10)
    }

    @Test(.proves("B2")) func `decides nothing but how long the wait is`() {
        for one in cases {
            func stop(_ bits: UInt64) -> RetryPolicy.Stop? {
                var random = Fixed(bits: bits)
                guard case .stop(let stop, _) = one.verdict(one.remaining, &random) else { return nil }
                return stop
            }
            #expect(stop(0) == stop(UInt64.max), "\(one)")
        }
    }

    @Test(.proves("B1")) func `takes the whole of the room, and each wait alike`() {
        var settings = RetryPolicy.Settings()
        settings.jitterPercent = 100
        let policy = RetryPolicy(settings)
        func waits(_ error: Classification, _ remaining: Duration?) -> [Int64] {
            var random = Sequence64(state: 7)
            return (0..<20_000).map { _ in
                guard
                    case .retry(let wait) = policy.verdict(
                        on: error, attempt: 1, remaining: remaining, using: &random)
                else { return -1 }
                return wait.milliseconds
            }
        }
        let limited = classification(status: 429)
        let asked = classification(status: 429, retryAfter: .seconds(40))
        let refused = classification(status: 503)
        for (waits, range) in [
            (waits(limited, nil), 30_000...60_000),
            (waits(limited, .seconds(50)), 30_000...49_000),
            (waits(limited, .milliseconds(31_001)), 30_000...30_001),
            (waits(asked, nil), 40_000...80_000),
            (waits(asked, .seconds(50)), 40_000...49_000),
            (waits(refused, nil), 0...2000),
            (waits(refused, .milliseconds(2500)), 0...1500),
            (waits(refused, .milliseconds(1500)), 0...500),
        ] as [([Int64], ClosedRange<Int64>)] {
            let size = range.upperBound - range.lowerBound
            #expect(waits.allSatisfy { range.contains($0) }, "\(range)")
            // Of 20,000 draws the least and the most are within a thousandth of the ends ...
            #expect((waits.min() ?? 0) <= range.lowerBound + size / 1000 + 1, "\(range)")
            #expect((waits.max() ?? 0) >= range.upperBound - size / 1000 - 1, "\(range)")
            // ... and each fifth of the range gets a fifth of them, by five deviations.
            guard size > 100 else { continue }
            for part in 0..<5 {
                let share = waits.count { ($0 - range.lowerBound) * 5 / (size + 1) == Int64(part) }
                #expect((3717...4283).contains(share), "\(range), \(part)")
            }
        }
    }
}
