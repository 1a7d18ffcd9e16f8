import ControlPlane
import Postgres
import ServiceSupport
import TestSupport
import Testing

/// The obviously right ledger: every unit with the time that was stored for it, counted one by one.
private struct BruteForce {
    private var rows: [String: [(at: Timestamp, units: Int64)]] = [:]

    /// A key's time never goes back and never stands still, whatever the clock does.
    private func effectiveTime(_ key: String, _ now: Timestamp) -> Timestamp {
        guard let last = rows[key]?.last else { return now }
        return max(now, Timestamp(microseconds: last.at.microseconds + 1))
    }

    func count(_ key: String, window: Duration, at time: Timestamp) -> Int64 {
        rows[key, default: []].reduce(0) { $0 + ($1.at > time - window ? $1.units : 0) }
    }

    func checked(_ key: String, window: Duration, now: Timestamp) -> Int64 {
        count(key, window: window, at: max(now, rows[key]?.last?.at ?? now))
    }

    mutating func decide(
        _ key: String, cost: Int64, limit: Int64?, window: Duration, now: Timestamp
    ) -> (isAdmitted: Bool, count: Int64, retryAt: Timestamp?, at: Timestamp) {
        let time = effectiveTime(key, now)
        let used = count(key, window: window, at: time)
        if let limit, used + cost > limit {
            var freed: Int64 = 0
            for row in rows[key, default: []] where row.at > time - window {
                freed += row.units
                if used - freed + cost <= limit { return (false, used, row.at + window, time) }
            }
            return (false, used, nil, time)
        }
        rows[key, default: []].append((time, cost))
        return (true, used + cost, nil, time)
    }
}

/// Repeatable random numbers (SplitMix64).
struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }
}

@Suite(.serialized) struct `The ledger's count` {
    private static let noon = Timestamp("2026-03-01T12:00:00Z") ?? .now

    /// Bursts at the window's edge, equal times, costs, a clock that stands or steps back.
    private func step(_ random: inout Seeded) -> Duration {
        switch Int.random(in: 0..<10, using: &random) {
        case 0...3: .zero
        case 4: .microseconds(1)
        case 5: .seconds(-Int.random(in: 1...30, using: &random))
        case 6: .seconds(3600)
        case 7: .seconds(3600) - .microseconds(1)
        default: .milliseconds(Int.random(in: 1...900_000, using: &random))
        }
    }

    @Test(.proves("E1", "E2", "E5"), arguments: 1...12)
    func `equals a brute-force count over random traces`(seed: Int) async throws {
        let clock = TestClock(Self.noon)
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            var random = Seeded(state: UInt64(seed))
            var model = BruteForce()
            for turn in 0..<150 {
                clock.move(by: self.step(&random))
                let key = ["a", "b", "c"].randomElement(using: &random) ?? "a"
                let cost = Int64.random(in: 1...4, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0:
                    let got = try await plane.ledger.record(key, cost: Int32(cost), for: tenant)
                    let want = model.decide(
                        key, cost: cost, limit: nil, window: .seconds(3600), now: clock.now)
                    #expect(got.count == want.count && got.at == want.at, "turn \(turn)")
                case 1:
                    let got = try await plane.ledger.count(key, for: tenant)
                    let want = model.checked(key, window: .seconds(3600), now: clock.now)
                    #expect(got == want, "turn \(turn)")
                default:
                    let window = [60, 3600].randomElement(using: &random) ?? 60
                    let limit = Int64.random(in: 4...12, using: &random)
                    let got = try await plane.ledger.acquire(
                        key, cost: Int32(cost), limit: limit, window: Int32(window), for: tenant)
                    let want = model.decide(
                        key, cost: cost, limit: limit, window: .seconds(window), now: clock.now)
                    switch got {
                    case .admitted(let count, let at, _):
                        #expect(want.isAdmitted && want.count == count && want.at == at, "\(turn)")
                    case .denied(let count, let retryAfter, _):
                        #expect(!want.isAdmitted && want.count == count, "turn \(turn)")
                        #expect(retryAfter == want.retryAt.map { $0 - want.at }, "turn \(turn)")
                    case .outdated: Issue.record("turn \(turn)")
                    }
                }
            }
        }
    }

    @Test(.proves("E2"))
    func `lets no rolling hour hold more than the limit around any instant`() async throws {
        let clock = TestClock(Self.noon)
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            clock.move(by: .seconds(3600) - .microseconds(1))
            let before = try await Self.acquire(plane, tenant, 100)
            clock.move(by: .microseconds(2))
            let after = try await Self.acquire(plane, tenant, 100)
            #expect(before == 100)
            #expect(after == 0)
        }
    }

    @Test(.proves("E2"))
    func `refuses no burst that is legal`() async throws {
        let clock = TestClock(Self.noon)
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            let first = try await Self.acquire(plane, tenant, 100)
            clock.move(by: .seconds(3600) - .microseconds(1))
            let tooEarly = try await Self.acquire(plane, tenant, 1)
            // The first batch has one time: all of its room is free at once, an hour later.
            clock.move(by: .microseconds(101))
            let second = try await Self.acquire(plane, tenant, 100)
            #expect(first == 100)
            #expect(tooEarly == 0)
            #expect(second == 100)
        }
    }

    @Test(.proves("E5"))
    func `is admitted exactly at the time that the denial named`() async throws {
        let clock = TestClock(Self.noon)
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            for _ in 0..<5 {
                _ = try await plane.ledger.acquire("op", cost: 2, limit: 10, for: tenant)
                clock.move(by: .seconds(7))
            }
            let denial = try await plane.ledger.acquire("op", cost: 3, limit: 10, for: tenant)
            guard case .denied(10, let wait?, _) = denial else {
                Issue.record("\(denial)")
                return
            }
            clock.move(by: wait - .microseconds(1))
            let early = try await plane.ledger.acquire("op", cost: 3, limit: 10, for: tenant)
            clock.move(by: .microseconds(1))
            let inTime = try await plane.ledger.acquire("op", cost: 3, limit: 10, for: tenant)
            if case .admitted = early { Issue.record("admitted a microsecond early") }
            if case .denied = inTime { Issue.record("denied at the time that was named") }
        }
    }

    /// How many of `count` calls at once were admitted under a limit of 100 an hour.
    private static func acquire(_ plane: Plane, _ tenant: Tenant.ID, _ count: Int) async throws
        -> Int
    {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<count {
                group.addTask(executorPreference: plane.loop) {
                    let decision = try await plane.ledger.acquire(
                        "op", cost: 1, limit: 100, for: tenant)
                    if case .admitted = decision { return true }
                    return false
                }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
    }
}

@Suite struct `The original's examples` {
    @Test(
        .proves("E1", "E2"),
        arguments: [(45, false, 55), (99, false, 1), (100, true, 0), (101, true, 0)])
    func `hold for the count`(recorded: Int, exceeded: Bool, remaining: Int64) async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            _ = try await plane.ledger.record("sandbox_create", cost: Int32(recorded), for: tenant)
            let count = try await plane.ledger.count("sandbox_create", for: tenant)
            #expect(count == recorded)
            #expect((count >= 100) == exceeded)
            #expect(max(0, 100 - count) == remaining)
        }
    }

    @Test(.proves("E3"))
    func `hold for the statistics`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            _ = try await plane.ledger.record("sandbox_create", cost: 45, for: tenant)
            for _ in 0..<105 {
                _ = try await plane.ledger.record("sandbox_connect", cost: 1, for: tenant)
            }
            let stats = try await plane.ledger.stats(window: 3600, for: tenant)
            #expect(stats.map(\.operation) == ["sandbox_create", "sandbox_connect"])
            #expect(stats.map(\.units) == [45, 105])
        }
    }

    @Test(.proves("E4"))
    func `hold for the manual cleanup`() async throws {
        let clock = TestClock(Timestamp.now - .seconds(3 * 3600))
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            let other = try await plane.makeTenant()
            for _ in 0..<620 {
                clock.move(by: .milliseconds(10))
                _ = try await plane.ledger.record("op", cost: 2, for: tenant)
            }
            _ = try await plane.ledger.record("op", cost: 1, for: other)
            clock.set(.now)
            _ = try await plane.ledger.record("op", cost: 7, for: tenant)
            let settings = plane.ledger.settings
            let first = try await settings.cleanUp(tenant, on: plane.reads)
            #expect(first.deleted == 500 && first.requests == 1000 && first.batches == 5)
            #expect(first.hasMore)
            let second = try await settings.cleanUp(tenant, on: plane.reads)
            #expect(second.deleted == 120 && second.batches == 2 && !second.hasMore)
            let third = try await settings.cleanUp(tenant, on: plane.reads)
            #expect(third.deleted == 0 && third.oldestRetained != nil)
            #expect(try await plane.ledger.count("op", for: tenant) == 7)
            // The other tenant's old row was not touched until all tenants were meant.
            let all = try await settings.cleanUp(nil, on: plane.reads)
            #expect(all.deleted == 1)
        }
    }

    @Test(.proves("E5"))
    func `give a tenant at most a thousand names`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<1000 {
                    group.addTask(executorPreference: plane.loop) {
                        _ = try await plane.ledger.record("op\(index)", cost: 1, for: tenant)
                    }
                }
                try await group.waitForAll()
            }
            await #expect(throws: ControlPlaneError.tooManyOperations) {
                try await plane.ledger.record("one_more", cost: 1, for: tenant)
            }
            #expect(try await plane.ledger.count("one_more", for: tenant) == 0)
            #expect(try await plane.ledger.stats(window: 3600, for: tenant).count == 1000)
        }
    }
}
