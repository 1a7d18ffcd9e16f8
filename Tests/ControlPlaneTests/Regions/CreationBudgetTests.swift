import ControlPlane
import IO
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite(.serialized) struct `The creation budget of an account` {
    private static let start = Timestamp(microseconds: 1_800_000_000_000_000)

    @Test func `costs no statement where there are no limits`() async throws {
        try await Plane.with { plane in
            let account = try await plane.account(ProviderAccount.Limits())
            for _ in 0..<100 {
                let lease = UUID.v7()
                let answer = try await plane.budget.take(account, lease: lease, for: .seconds(60))
                #expect(answer == .granted)
                try await plane.budget.keep(account, lease: lease, for: .seconds(60))
                await plane.budget.release(account, lease: lease)
            }
            let counters = await plane.budget.counters
            #expect(counters.batches == 0 && counters.granted == 100)
        }
    }

    /// Two instances ask all the time, at times that nobody chose.
    @Test(arguments: [0.5, 1, 5, 7.3, 250])
    func `lets no more than its rate through in any second, by two instances together`(
        _ rate: Double
    ) async throws {
        let clock = TestClock(Self.start)
        let seconds = rate < 1 ? 30 : 4
        try await Plane.with(clock: clock) { one in
            let account = try await one.account(ProviderAccount.Limits(createsPerSecond: rate))
            try await Plane.with(url: one.url, clock: clock) { two in
                var random = Seeded(state: 42)
                var granted: [Int64] = []
                let end = Self.start + .seconds(seconds)
                while clock.now < end {
                    let mostMs = rate < 1 ? 200 : rate < 100 ? 30 : 4
                    let step = Int64.random(in: 1...Int64(1000 * mostMs), using: &random)
                    clock.move(by: .microseconds(step))
                    for plane in [one, two] {
                        granted += try await plane.takes(
                            3, account, at: clock.now.microseconds)
                    }
                }
                let whole = max(1, Int(rate))
                let window = rate < 1 ? Int64(1_000_000 / rate) : 1_000_000
                for (index, time) in granted.enumerated() {
                    // Half-open: one counts while it is younger than the window.
                    let count = granted[...index].reversed().prefix { $0 > time - window }.count
                    #expect(count <= whole, "\(count) in the window before \(time)")
                }
                // And what it lets through is used.
                let wanted = Double(seconds) * (rate < 1 ? rate : Double(whole))
                #expect(Double(granted.count) >= 0.85 * wanted, "\(granted.count) of \(wanted)")
            }
        }
    }

    @Test
    func `gives each of its places once, however many instances ask, and again when it is free`()
        async throws
    {
        let clock = TestClock(Self.start)
        try await Plane.with(clock: clock) { one in
            let account = try await one.account(ProviderAccount.Limits(concurrency: 7))
            let (kept, again) = (UUID.v7(), UUID.v7())
            try await Plane.with(url: one.url, clock: clock) { two in
                let first = try await takeAll(40, account, [one, two])
                #expect(first.count == 7)
                #expect(try await Regions(one.reads, one.secrets).leases(of: "main") == 7)
                await two.budget.release(account, lease: first[0])
                await one.budget.release(account, lease: first[0])
                #expect(
                    try await one.budget.take(account, lease: again, for: .seconds(60)) == .granted)
                // The same creation asks again: its first answer was lost.
                #expect(
                    try await two.budget.take(account, lease: again, for: .seconds(60)) == .granted)
                let full = try await two.budget.take(account, lease: kept, for: .seconds(60))
                #expect(full == .wait(.seconds(1), .concurrency))
                try await two.budget.keep(account, lease: again, for: .seconds(600))
            }
            // The second instance is gone with its places, which end by themselves; not the one that
            // was kept.
            clock.move(by: .seconds(61))
            let later = try await takeAll(40, account, [one])
            #expect(later.count == 6)
            clock.move(by: .seconds(600))
            #expect(try await takeAll(40, account, [one]).count == 7)
        }
    }

    /// The same function without its lock admits too many: the test above would see it.
    @Test func `would give more places than it has if its row were not held`() async throws {
        try await Plane.with { plane in
            let account = try await plane.account(ProviderAccount.Limits(concurrency: 7))
            let session = try Session(Conninfo(url: plane.url))
            let source = try session.execute(
                "SELECT pg_get_functiondef('bw_creation_budget'::regproc)"
            ).only().text(0)
            let unlocked = source.replacing(" FOR UPDATE;", with: ";").replacing(
                "RETURN NEXT;", with: "PERFORM pg_sleep(0.002); RETURN NEXT;")
            #expect(unlocked.contains("pg_sleep") && !unlocked.contains("FOR UPDATE"))
            try session.run(unlocked)
            // Its row is there: making it would be a lock, too.
            let lease = UUID.v7()
            _ = try await plane.budget.take(account, lease: lease, for: .seconds(60))
            await plane.budget.release(account, lease: lease)
            try await Plane.with(url: plane.url) { other in
                let granted = try await takeAll(60, account, [plane, other])
                #expect(granted.count > 7)
            }
        }
    }

    @Test
    func
        `stops all instances when the provider says 429, at no statement where there are no limits`()
        async throws
    {
        try await Plane.with { one in
            let account = try await one.account(ProviderAccount.Limits())
            try await Plane.with(url: one.url) { two in
                // It uses the account's regions: so it hears of changes.
                _ = try await two.regions.regions(of: try await one.tenant(of: "main"))
                await one.budget.throttled(account, retryAfter: .seconds(120))
                let own = try await one.budget.take(account, lease: .v7(), for: .seconds(60))
                #expect(own.isWait(.throttled, in: 110...120))
                var other = CreationBudget.Answer.granted
                try await eventually {
                    other = try await two.budget.take(account, lease: .v7(), for: .seconds(60))
                    return other != .granted
                }
                #expect(other.isWait(.throttled, in: 110...120))
                #expect(await two.budget.counters.batches == 0)
                // Sooner than what is known changes nothing; a provider has no say over hours.
                await two.budget.throttled(account, retryAfter: .seconds(1))
                #expect(
                    try await two.budget.take(account, lease: .v7(), for: .seconds(60))
                        .isWait(.throttled, in: 110...120))
                await one.budget.throttled(account, retryAfter: .seconds(1_000_000))
                #expect(
                    try await one.budget.take(account, lease: .v7(), for: .seconds(60))
                        .isWait(.throttled, in: 3590...3600))
            }
        }
    }

    @Test func `goes on at half of its rate after a 429, which grows back`() async throws {
        let clock = TestClock(Self.start)
        try await Plane.with(clock: clock) { plane in
            let account = try await plane.account(ProviderAccount.Limits(createsPerSecond: 20))
            #expect(try await plane.takes(30, account, at: 0).count == 20)
            clock.move(by: .seconds(10))
            // Those that were under way together say it together.
            for _ in 0..<10 { await plane.budget.throttled(account, retryAfter: nil) }
            #expect(try await plane.takes(1, account, at: 0).isEmpty)
            clock.move(by: .seconds(5))
            // A half, and a twentieth since.
            #expect(try await plane.takes(30, account, at: 0).count == 11)
            clock.move(by: .seconds(20))
            #expect(try await plane.takes(30, account, at: 0).count == 15)
            clock.move(by: .seconds(25))
            #expect(try await plane.takes(30, account, at: 0).count == 20)
        }
    }

    @Test func `makes nobody wait for a clock that went back`() async throws {
        let clock = TestClock(Self.start)
        try await Plane.with(clock: clock) { plane in
            let account = try await plane.account(ProviderAccount.Limits(createsPerSecond: 2))
            #expect(try await plane.takes(5, account, at: 0).count == 2)
            clock.move(by: .seconds(-3600))
            // The database's clock: that of an instance does not go back.
            try await Plane.with(url: plane.url, clock: clock) { other in
                let wait = try await other.budget.take(account, lease: .v7(), for: .seconds(60))
                #expect(wait.isWait(.rate, in: 0...1))
                clock.move(by: .seconds(1))
                #expect(try await other.takes(5, account, at: 0).count == 2)
            }
        }
    }

    @Test func `keeps to limits that were changed, whatever an instance remembers`() async throws {
        try await Plane.with { plane in
            let before = try await plane.account(ProviderAccount.Limits(concurrency: 2))
            #expect(try await takeAll(5, before, [plane]).count == 2)
            let after = try await plane.account(ProviderAccount.Limits(concurrency: 3))
            #expect(after.limits.concurrency == 3)
            #expect(try await takeAll(5, before, [plane]).count == 1)
        }
    }
}

/// Leases that were granted, of `count` asked for at once from each.
private func takeAll(
    _ count: Int, _ account: ProviderAccount, _ planes: [Plane]
) async throws -> [UUID] {
    try await withThrowingTaskGroup(of: UUID?.self) { group in
        for plane in planes {
            for _ in 0..<count {
                group.addTask(executorPreference: plane.loop) {
                    let lease = UUID.v7()
                    let answer = try await plane.budget.take(
                        account, lease: lease, for: .seconds(60))
                    return answer == .granted ? lease : nil
                }
            }
        }
        return try await group.reduce(into: []) { if let lease = $1 { $0.append(lease) } }
    }
}

extension Plane {
    /// The account `main` with these limits, through a region of a tenant of its own.
    fileprivate func account(
        _ limits: ProviderAccount.Limits
    ) async throws -> ProviderAccount {
        let regions = Regions(reads, secrets)
        let (region, _) = try await regions.put(
            "eu",
            Regions.Draft(
                account: "main", limits: limits, apiURL: "https://api.example",
                domain: "a.example", apiKey: "secret"), of: try await makeTenant(), if: .none,
            by: .system)
        return region.account
    }

    /// Who has a region of that account.
    fileprivate func tenant(of account: String) async throws -> Tenant.ID {
        let rows = try Session(Conninfo(url: url)).execute(
            "SELECT tenant_id FROM region WHERE account = $1", .text(account))
        return Tenant.ID(try rows.only().uuid(0))
    }

    /// One `time` for each of `count` creations asked for at once that was granted.
    fileprivate func takes(
        _ count: Int, _ account: ProviderAccount, at time: Int64
    ) async throws -> [Int64] {
        try await takeAll(count, account, [self]).map { _ in time }
    }
}

extension Regions {
    fileprivate func leases(of account: String) async throws -> Int? {
        try await accounts(after: nil, limit: 10).first { $0.account.id == account }?.leases
    }
}

extension CreationBudget.Answer {
    fileprivate func isWait(_ reason: CreationBudget.Reason, in seconds: ClosedRange<Int>) -> Bool {
        guard case .wait(let time, reason) = self else { return false }
        return time >= .seconds(seconds.lowerBound) && time <= .seconds(seconds.upperBound)
    }
}
