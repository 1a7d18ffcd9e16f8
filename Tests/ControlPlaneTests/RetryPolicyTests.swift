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
            }
        }
    }
}

@Suite struct `A retry budget` {
    let tenant = Tenant.ID.fleet
    let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    @Test(.proves("B2")) func `bounds retries to a share of the calls in a storm`() {
        var budgets = RetryBudgets(.fifth)
        var retries = 0
        for _ in 0..<1000 {
            budgets.noteFirstTry(of: tenant, at: "e2b", now: start)
            for _ in 0..<2 where budgets.take(for: tenant, at: "e2b", now: start) { retries += 1 }
        }
        // 10 in 100 of the provider's calls, and what its floor holds.
        #expect(retries == 130)
    }

    @Test func `bounds each tenant by itself`() throws {
        var budgets = RetryBudgets(.fifth)
        #expect(take(5, from: &budgets, at: start) == 3)
        let other = try #require(Tenant.ID("0192f0c1-0000-7000-8000-000000000001"))
        let isOtherServed = budgets.take(for: other, at: "e2b", now: start)
        #expect(isOtherServed)
    }

    @Test func `comes back with time up to its floor and no further`() {
        var budgets = RetryBudgets(.fifth)
        #expect(take(4, from: &budgets, at: start) == 3)
        #expect(take(1, from: &budgets, at: start.advanced(by: .seconds(9))) == 0)
        #expect(take(2, from: &budgets, at: start.advanced(by: .seconds(19))) == 1)
        #expect(take(9, from: &budgets, at: start.advanced(by: .seconds(86_400))) == 3)
    }

    @Test func `gets a token back for a retry that was dropped, up to its top`() {
        var budgets = RetryBudgets(.fifth)
        #expect(take(4, from: &budgets, at: start) == 3)
        budgets.giveBack(for: tenant, at: "e2b")
        #expect(take(2, from: &budgets, at: start) == 1)
        for _ in 0..<1000 { budgets.giveBack(for: tenant, at: "e2b") }
        #expect(take(1000, from: &budgets, at: start) == 100)
    }

    @Test func `costs nothing when it is off`() {
        var settings = RetryBudget.Settings()
        settings.isOn = false
        var budgets = RetryBudgets(settings)
        #expect(take(1000, from: &budgets, at: start) == 1000)
    }

    /// How many of `count` retries are granted.
    private func take(
        _ count: Int, from budgets: inout RetryBudgets, at now: MonotonicInstant
    ) -> Int {
        var granted = 0
        for _ in 0..<count where budgets.take(for: tenant, at: "e2b", now: now) { granted += 1 }
        return granted
    }
}

extension RetryBudget.Settings {
    /// Of a tenant's calls a fifth, of all tenants' a tenth.
    static var fifth: RetryBudget.Settings {
        var settings = RetryBudget.Settings()
        settings.tenantPercent = 20
        settings.providerPercent = 10
        return settings
    }
}
