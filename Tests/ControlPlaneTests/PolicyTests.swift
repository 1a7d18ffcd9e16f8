import ControlPlane
import IO
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `A tenant's policies` {
    /// Without denials from memory, which would hide for a moment that a limit has grown.
    private static var settings: Ledger.Settings {
        var settings = Ledger.Settings()
        settings.denialMemory = .zero
        return settings
    }

    @Test(.proves("E5"))
    func `leave equal calls denied from memory, for a while and until their time`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            _ = try await plane.ledger.acquire("op", cost: 1, limit: 1, window: 2, for: tenant)
            // On the ledger's loop: the shared pool may be busy with other tests.
            let denied = try await Task(executorPreference: plane.loop) {
                let start = MonotonicInstant.now
                var denied = 0
                var asked = start
                var slowest = Duration.zero
                while case .denied(1, let wait?, _) = try await plane.ledger.acquire(
                    "op", cost: 1, limit: 1, window: 2, for: tenant)
                {
                    denied += 1
                    // Too long by no more than the database's answer was under way.
                    slowest = max(slowest, asked.duration(to: .now))
                    #expect(wait <= .seconds(2) - start.duration(to: asked) + slowest)
                    asked = .now
                }
                let took = start.duration(to: .now)
                #expect(took > .milliseconds(1500) && took < .seconds(4))
                return denied
            }.value
            let batches = await plane.ledger.counters.batches
            #expect(denied > 1000 && batches < 20, "\(denied) denials, \(batches) batches")
        }
    }

    private static func put(
        _ plane: Plane, _ operation: String, _ limits: [Limit], for tenant: Tenant.ID,
        if precondition: Precondition = .isNew, onOutage admits: Bool = false
    ) async throws {
        _ = try await Policies(plane.reads).put(
            operation, limits: limits, admitsOnOutage: admits, of: tenant, if: precondition,
            by: .system)
    }

    /// How many of `count` calls of 1 unit are admitted, one after the other.
    private static func admitted(
        _ count: Int, _ operation: String, _ plane: Plane, _ tenant: Tenant.ID,
        maxPerHour: Int64? = nil
    ) async throws -> Int {
        var admitted = 0
        for _ in 0..<count {
            let verdict = try await plane.ledger.decide(
                Ask(operation, maxPerHour: maxPerHour), for: tenant)
            if verdict.isAdmitted { admitted += 1 }
        }
        return admitted
    }

    @Test(.proves("E5"))
    func `limit an operation without the caller's saying so, and a caller can only tighten`()
        async throws
    {
        try await Plane.with(settings: Self.settings) { plane in
            let tenant = try await plane.makeTenant()
            #expect(try await Self.admitted(5, "op", plane, tenant) == 5)
            try await Self.put(plane, "op", [Limit(limit: 8, window: 3600)], for: tenant)
            #expect(try await Self.admitted(2, "op", plane, tenant, maxPerHour: 6) == 1)
            #expect(try await Self.admitted(9, "op", plane, tenant, maxPerHour: 100) == 2)
            let denial = try await plane.ledger.decide(Ask("op"), for: tenant)
            #expect(!denial.isAdmitted && denial.deciding?.applied.source == .operation)
            #expect(denial.deciding?.count == 8)
        }
    }

    @Test(.proves("E5"))
    func `are in force on a second instance when the change is answered`() async throws {
        try await Plane.with(settings: Self.settings) { plane in
            try await Plane.with(url: plane.url, settings: Self.settings) { other in
                let tenant = try await plane.makeTenant()
                #expect(try await Self.admitted(3, "op", other, tenant) == 3)
                try await Self.put(plane, "op", [Limit(limit: 4, window: 3600)], for: tenant)
                #expect(try await Self.admitted(3, "op", other, tenant) == 1)
                try await Self.put(
                    plane, "op", [Limit(limit: 6, window: 3600)], for: tenant, if: .exists)
                #expect(try await Self.admitted(1, "op", plane, tenant) == 1)
                #expect(try await Self.admitted(3, "op", other, tenant) == 1)
                try await Policies(plane.reads).delete("op", of: tenant, if: .exists, by: .system)
                #expect(try await Self.admitted(3, "op", other, tenant) == 3)
            }
        }
    }

    @Test(.proves("E5"))
    func `decide on several limits at once, and charge all or none`() async throws {
        let clock = TestClock(.now)
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            try await Self.put(
                plane, "op", [Limit(limit: 10, window: 3600), Limit(limit: 3, window: 60)],
                for: tenant)
            #expect(try await Self.admitted(5, "op", plane, tenant) == 3)
            clock.move(by: .seconds(30))
            let denial = try await plane.ledger.decide(Ask("op"), for: tenant)
            guard case .denied(let wait?) = denial.outcome else {
                Issue.record("\(denial)")
                return
            }
            #expect(denial.deciding?.applied.limit.window == 60)
            clock.move(by: wait - .microseconds(1))
            #expect(try await Self.admitted(1, "op", plane, tenant) == 0)
            clock.move(by: .microseconds(1))
            #expect(try await Self.admitted(1, "op", plane, tenant) == 1)
            for _ in 0..<4 {
                clock.move(by: .seconds(61))
                _ = try await Self.admitted(3, "op", plane, tenant)
            }
            let last = try await plane.ledger.decide(Ask("op"), for: tenant)
            #expect(last.limits.map(\.count) == [10, 0] || last.limits.map(\.count).first == 10)
            #expect(!last.isAdmitted && last.deciding?.applied.limit.window == 3600)
        }
    }

    @Test(.proves("E5"))
    func `limit all operations together, counting what was there before`() async throws {
        try await Plane.with(settings: Self.settings) { plane in
            let tenant = try await plane.makeTenant()
            _ = try await plane.ledger.record("a", cost: 2, for: tenant)
            _ = try await plane.ledger.record("b", cost: 3, for: tenant)
            try await Self.put(plane, "*", [Limit(limit: 8, window: 3600)], for: tenant)
            #expect(try await Self.admitted(2, "c", plane, tenant) == 2)
            #expect(try await Self.admitted(4, "a", plane, tenant) == 1)
            let denial = try await plane.ledger.decide(Ask("b"), for: tenant)
            #expect(denial.deciding?.applied.source == .tenant && denial.deciding?.count == 8)
            let stats = try await plane.ledger.stats(window: 3600, for: tenant)
            #expect(stats.reduce(0) { $0 + $1.units } == 8)
            // Records count, over the limit or not.
            _ = try await plane.ledger.record("a", cost: 5, for: tenant)
            let states = try await plane.ledger.states(of: nil, for: tenant)
            #expect(states.map(\.count) == [13])
        }
    }

    @Test(.proves("E5"))
    func `in shadow only tell`() async throws {
        try await Plane.with(settings: Self.settings) { plane in
            let tenant = try await plane.makeTenant()
            try await Self.put(
                plane, "op", [Limit(limit: 2, window: 3600, mode: .shadow)], for: tenant)
            #expect(try await Self.admitted(5, "op", plane, tenant) == 5)
            let verdict = try await plane.ledger.decide(Ask("op"), for: tenant)
            #expect(verdict.isAdmitted && verdict.limits.first?.isExceeded == true)
        }
    }

    @Test(.proves("E5"))
    func `give operations without one the default`() async throws {
        try await Plane.with(settings: Self.settings) { plane in
            let tenant = try await plane.makeTenant()
            let settings = TenantSettingsStore(plane.reads)
            _ = try await settings.change(
                [.init(.defaultMaxPerHour(2))], of: tenant, if: .none, by: .system)
            #expect(try await Self.admitted(4, "op", plane, tenant) == 2)
            try await Self.put(plane, "op", [Limit(limit: 3, window: 3600)], for: tenant)
            #expect(try await Self.admitted(4, "op", plane, tenant) == 1)
            _ = try await settings.change(
                [.init(.defaultMaxPerHour(nil))], of: tenant, if: .none, by: .system)
            #expect(try await Self.admitted(4, "other", plane, tenant) == 4)
        }
        var settings = Self.settings
        settings.defaultMaxPerHour = 1
        try await Plane.with(settings: settings) { plane in
            let tenant = try await plane.makeTenant()
            #expect(try await Self.admitted(4, "op", plane, tenant) == 1)
        }
    }

    /// Creations use what is known for a moment without asking; a change answers when that is over.
    @Test func `come with settings that hold everywhere when they are changed`() async throws {
        try await Plane.with(settings: Self.settings) { plane in
            let tenant = try await plane.makeTenant()
            let settings = TenantSettingsStore(plane.reads)
            try await Plane.with(url: plane.url, settings: Self.settings) { other in
                for attempts in [3, 5, 7] {
                    // Known there, and in use.
                    for _ in 0..<3 { _ = try await other.ledger.settings(of: tenant) }
                    _ = try await settings.change(
                        [.init(.sandboxes(.maxAttempts, .number(attempts)))], of: tenant, if: .none,
                        by: .system)
                    for ledger in [plane.ledger, other.ledger] {
                        #expect(
                            try await ledger.settings(of: tenant)[.maxAttempts] == .number(attempts))
                    }
                }
            }
        }
    }

    @Test(.proves("E5"))
    func `stand back for an override until it ends`() async throws {
        try await Plane.with(settings: Self.settings) { plane in
            let tenant = try await plane.makeTenant()
            try await Self.put(plane, "op", [Limit(limit: 1, window: 3600)], for: tenant)
            #expect(try await Self.admitted(2, "op", plane, tenant) == 1)
            let ends = Timestamp.now + .milliseconds(1500)
            _ = try await Policies(plane.reads).override(
                "op",
                with: Policy.Override(
                    limits: [Limit(limit: 4, window: 3600)], expiresAt: ends, reason: "launch",
                    author: "test"), of: tenant, if: .none, by: .system)
            #expect(try await Self.admitted(2, "op", plane, tenant) == 2)
            try await Task.sleep(for: .milliseconds(1600))
            #expect(try await Self.admitted(2, "op", plane, tenant) == 0)
        }
    }

    @Test(.proves("E5"))
    func `reach 31 days back where they ask for it`() async throws {
        let clock = TestClock(.now - .seconds(20 * 86_400))
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            try await Self.put(
                plane, "op", [Limit(limit: 5, window: 2_678_400), Limit(limit: 3, window: 60)],
                for: tenant)
            try await Self.put(plane, "*", [Limit(limit: 6, window: 1_000_000)], for: tenant)
            #expect(try await Self.admitted(4, "op", plane, tenant) == 3)
            clock.move(by: .seconds(19 * 86_400))
            // The hot log may lose what the long one keeps.
            _ = try await CleanupJob().run(plane.reads)
            #expect(try await Self.admitted(4, "op", plane, tenant) == 2)
            let denial = try await plane.ledger.decide(Ask("op"), for: tenant)
            #expect(denial.deciding?.applied.limit.window == 2_678_400)
            #expect(denial.deciding?.count == 5)
            let states = try await plane.ledger.states(of: "op", for: tenant)
            #expect(states.map(\.count) == [5, 2, 2])
        }
    }

    @Test(.proves("E5"))
    func `are changed by who knows them only`() async throws {
        try await Plane.with(settings: Self.settings) { plane in
            let tenant = try await plane.makeTenant()
            let policies = Policies(plane.reads)
            let limits = [Limit(limit: 1, window: 3600)]
            try await Self.put(plane, "op", limits, for: tenant)
            let version = try await policies.policy(for: "op", of: tenant).version
            await #expect(throws: ControlPlaneError.versionNeeded) {
                try await Self.put(plane, "op", limits, for: tenant, if: .none)
            }
            await #expect(throws: ControlPlaneError.outdated) {
                try await Self.put(plane, "op", limits, for: tenant, if: .isNew)
            }
            await #expect(throws: ControlPlaneError.outdated) {
                try await Self.put(plane, "op", limits, for: tenant, if: .version(version + 1))
            }
            try await Self.put(plane, "op", limits, for: tenant, if: .version(version))
            await #expect(throws: ControlPlaneError.outdated) {
                try await policies.delete("op", of: tenant, if: .version(version), by: .system)
            }
            try await policies.delete("op", of: tenant, if: .exists, by: .system)
            try await Self.put(plane, "op", limits, for: tenant)
            #expect(try await policies.policy(for: "op", of: tenant).version > version + 1)
        }
    }

    @Test(.proves("E5"))
    func `that change under load never let more through than the new limit`() async throws {
        try await Plane.with(settings: Self.settings) { plane in
            try await Plane.with(url: plane.url, settings: Self.settings) { other in
                let tenant = try await plane.makeTenant()
                try await Self.put(
                    plane, "op", [Limit(limit: 1_000_000, window: 3600)], for: tenant)
                let started = try await plane.ledger.decide(Ask("op"), for: tenant)
                #expect(started.isAdmitted)
                let after = try await withThrowingTaskGroup(of: Void.self) { group in
                    for client in 0..<16 {
                        let one = client % 2 == 0 ? plane : other
                        // Each asks until the change has reached it, and some more.
                        group.addTask(executorPreference: one.loop) {
                            var denied = 0
                            while denied < 20 {
                                let verdict = try await one.ledger.decide(Ask("op"), for: tenant)
                                denied += verdict.isAdmitted ? 0 : 1
                            }
                        }
                    }
                    try await Self.put(
                        plane, "op", [Limit(limit: 1, window: 3600)], for: tenant, if: .exists)
                    // Nothing is admitted any more, on either instance.
                    let count = try await plane.ledger.count("op", for: tenant)
                    try await group.waitForAll()
                    return (count, try await plane.ledger.count("op", for: tenant))
                }
                #expect(after.0 == after.1)
            }
        }
    }
}
