import ControlPlane
import IO
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `Instances that share a breaker` {
    private static func settings(open: Duration = .seconds(60)) -> Breakers.Settings {
        var settings = Breakers.Settings()
        settings.policy.openBase = open
        return settings
    }

    private static func key(_ tenant: Tenant.ID) -> BreakerKey {
        BreakerKey(tenant, provider: "e2b", region: "default", .create)
    }

    /// One call through the breaker; nil when refused.
    private static func call(
        _ breakers: Breakers, _ key: BreakerKey, _ outcome: CallOutcome
    ) async -> BreakerTicket? {
        guard case .admitted(let ticket) = await breakers.admit(key) else { return nil }
        await breakers.settle(ticket, outcome, took: .zero)
        return ticket
    }

    private static func fail(_ count: Int, _ breakers: Breakers, _ key: BreakerKey) async -> Int {
        var admitted = 0
        for _ in 0..<count {
            let ticket = await call(breakers, key, .failed(.internal, retryAfter: nil))
            admitted += ticket == nil ? 0 : 1
        }
        return admitted
    }

    /// Waits until `condition` holds; how long that took, nil after 5 s.
    private static func until(_ condition: () async -> Bool) async -> Duration? {
        let start = MonotonicInstant.now
        while start.duration(to: .now) < .seconds(5) {
            if await condition() { return start.duration(to: .now) }
            try? await Task.sleep(for: .milliseconds(5))
        }
        return nil
    }

    @Test(.proves("C1", "F8"))
    func `refuse at once what another has opened, within a second`() async throws {
        try await Plane.with { first in
            try await Plane.with(url: first.url) { second in
                let key = Self.key(try await first.makeTenant())
                #expect(await Self.fail(6, first.breakers, key) == 5)
                guard case .refused(let refusal) = await first.breakers.admit(key) else {
                    Issue.record("the sixth call was let through")
                    return
                }
                #expect(refusal.key == key)
                #expect(refusal.message.hasSuffix("Retry in 60s."))
                let took = await Self.until {
                    if case .refused = await second.breakers.admit(key) { true } else { false }
                }
                #expect(try #require(took) < .seconds(1))
                // Another tenant's is its own.
                let other = Self.key(try await first.makeTenant())
                #expect(await Self.call(second.breakers, other, .succeeded) != nil)
            }
        }
    }

    @Test(.proves("C3")) func `let exactly one of 200 callers probe`() async throws {
        let settings = Self.settings(open: .seconds(3))
        try await Plane.with(breakers: settings) { first in
            try await Plane.with(url: first.url, breakers: settings) { second in
                let key = Self.key(try await first.makeTenant())
                _ = await Self.fail(5, first.breakers, key)
                let opened = await Self.until {
                    if case .refused = await second.breakers.admit(key) { true } else { false }
                }
                _ = try #require(opened)
                try await Task.sleep(for: .milliseconds(3050))
                let tickets = await withTaskGroup(of: BreakerTicket?.self) { group in
                    for client in 0..<200 {
                        let plane = client % 2 == 0 ? first : second
                        group.addTask(executorPreference: plane.loop) {
                            if case .admitted(let ticket) = await plane.breakers.admit(key) {
                                return ticket
                            }
                            return nil
                        }
                    }
                    return await group.reduce(into: [BreakerTicket]()) { tickets, ticket in
                        if let ticket { tickets.append(ticket) }
                    }
                }
                try #require(tickets.count == 1)
                #expect(tickets[0].isProbe)
                // It comes back, and both are closed.
                await first.breakers.settle(tickets[0], .succeeded, took: .zero)
                let closed = await Self.until {
                    let other = await Self.call(second.breakers, key, .succeeded)
                    return await Self.call(first.breakers, key, .succeeded) != nil && other != nil
                }
                #expect(try #require(closed) < .seconds(1))
            }
        }
    }

    @Test(.proves("C3")) func `give a lost probe's place to another`() async throws {
        let settings = Self.settings(open: .milliseconds(20))
        try await Plane.with(breakers: settings) { first in
            let key = Self.key(try await first.makeTenant())
            // This instance takes the probe and is gone.
            try await Plane.with(url: first.url, breakers: settings) { second in
                _ = await Self.fail(5, second.breakers, key)
                try await Task.sleep(for: .milliseconds(25))
                guard case .admitted(let ticket) = await second.breakers.admit(
                    key, lease: .milliseconds(500))
                else {
                    Issue.record("no probe")
                    return
                }
                #expect(ticket.isProbe)
            }
            await first.breakers.poll()
            guard case .refused = await first.breakers.admit(key) else {
                Issue.record("two probes at once")
                return
            }
            let taken = await Self.until {
                if case .admitted(let ticket) = await first.breakers.admit(key) {
                    ticket.isProbe
                } else {
                    false
                }
            }
            #expect(try #require(taken) < .seconds(1))
        }
    }

    @Test(.proves("C4", "C6")) func `keep a reset and a restart in mind`() async throws {
        try await Plane.with { first in
            let key = Self.key(try await first.makeTenant())
            _ = await Self.fail(5, first.breakers, key)
            // One that starts now knows it before its first call.
            try await Plane.with(url: first.url) { second in
                await second.breakers.poll()
                guard case .refused = await second.breakers.admit(key) else {
                    Issue.record("the restarted instance forgot it")
                    return
                }
                let reset = try await second.breakers.act(
                    key, .reset, by: Actor("key:test"), reason: "the provider is back")
                #expect(reset.machine.state == .closed && reset.machine.generation == 2)
            }
            await first.breakers.poll()
            #expect(await Self.fail(6, first.breakers, key) == 5, "it counts from nothing")
            let rows = try Session(Conninfo(url: first.url)).execute(
                """
                SELECT generation, from_state, to_state, cause, coalesce(actor, ''), coalesce(reason, '')
                FROM breaker_event ORDER BY generation
                """)
            var history: [String] = []
            for row in rows {
                history.append(
                    "\(try row.int64(0)) \(try row.text(1)) \(try row.text(2)) \(try row.text(3)) "
                        + "\(try row.text(4)) \(try row.text(5))")
            }
            #expect(
                history == [
                    "1 CLOSED OPEN failures  ",
                    "2 OPEN CLOSED reset key:test the provider is back",
                    "3 CLOSED OPEN failures  ",
                ])
        }
    }

    @Test(.proves("C5")) func `count the kinds that the settings name`() async throws {
        var all = Breakers.Settings()
        all.countKinds = Set(ErrorKind.allCases)
        try await Plane.with(breakers: all) { counting in
            try await Plane.with(url: counting.url) { standard in
                let key = Self.key(try await counting.makeTenant())
                for kind in [ErrorKind.rateLimit, .quota, .auth, .notFound, .invalidRequest] {
                    for _ in 0..<3 {
                        let outcome = CallOutcome.failed(kind, retryAfter: nil)
                        #expect(await Self.call(standard.breakers, key, outcome) != nil)
                    }
                }
                #expect(await standard.breakers.snapshot(of: key)?.machine.run ?? 0 == 0)
                for _ in 0..<5 {
                    let outcome = CallOutcome.failed(.rateLimit, retryAfter: nil)
                    #expect(await Self.call(counting.breakers, key, outcome) != nil)
                }
                #expect(await Self.call(counting.breakers, key, .succeeded) == nil)
            }
        }
    }

    @Test(.proves("C1")) func `open the one over all on several tenants' failures alone`() async throws {
        try await Plane.with { plane in
            var keys: [BreakerKey] = []
            for _ in 0..<5 { keys.append(Self.key(try await plane.makeTenant())) }
            for _ in 0..<10 { _ = await Self.fail(1, plane.breakers, keys[0]) }
            #expect(await Self.call(plane.breakers, keys[3], .succeeded) != nil)
            // That success began a new run, which now is of three.
            for tenant in [1, 1, 2, 2, 4] { _ = await Self.fail(1, plane.breakers, keys[tenant]) }
            guard case .refused(let refusal) = await plane.breakers.admit(keys[3]) else {
                Issue.record("the parent did not open")
                return
            }
            #expect(refusal.key.isParent)
            // Whose own is closed lost nothing by it.
            #expect(await plane.breakers.snapshot(of: keys[3])?.machine.isDefault ?? true)
        }
    }

    @Test(.proves("C1")) func `ask the database nothing while closed and well`() async throws {
        try await Plane.with { plane in
            let key = Self.key(try await plane.makeTenant())
            let other = Self.key(try await plane.makeTenant())
            let before = await plane.breakers.counters.batches
            for _ in 0..<1_000 {
                #expect(await Self.call(plane.breakers, key, .succeeded) != nil)
                #expect(await Self.call(plane.breakers, other, .succeeded) != nil)
            }
            try await Task.sleep(for: .milliseconds(250))
            #expect(await plane.breakers.counters.batches == before)
            _ = await Self.fail(1, plane.breakers, key)
            #expect(await plane.breakers.counters.batches > before)
        }
    }

    @Test(.proves("C1", "C6")) func `break a run of failures with another's success`() async throws {
        try await Plane.with { first in
            try await Plane.with(url: first.url) { second in
                let key = Self.key(try await first.makeTenant())
                for _ in 0..<3 {
                    _ = await Self.fail(3, first.breakers, key)
                    _ = await Self.until {
                        await second.breakers.snapshot(of: key)?.machine.run == 3
                    }
                    _ = await Self.call(second.breakers, key, .succeeded)
                    let isBroken = await Self.until {
                        await first.breakers.snapshot(of: key)?.machine.run == 0
                    }
                    #expect(isBroken != nil)
                }
                #expect(await first.breakers.snapshot(of: key)?.machine.state == .closed)
            }
        }
    }

    @Test(.proves("C1"), arguments: [true, false])
    func `hear of a move at once where they may listen`(hints: Bool) async throws {
        var settings = Self.settings()
        settings.pollInterval = .seconds(30)
        let wanted = settings
        try await Plane.with(breakers: wanted, hints: hints) { first in
            try await Plane.with(url: first.url, breakers: wanted, hints: hints) { second in
                let key = Self.key(try await first.makeTenant())
                _ = await Self.until { await second.breakers.age != nil }
                #expect(await Self.fail(5, first.breakers, key) == 5)
                // Whether its connection already listens is not known: the operator's act says it again.
                let heard = await Self.until {
                    _ = try? await first.breakers.act(key, .reset, by: .system, reason: nil)
                    return await second.breakers.snapshot(of: key) != nil
                }
                #expect((heard != nil) == hints)
            }
        }
    }

    @Test(.proves("C1")) func `go on by themselves while the database is away`() async throws {
        var settings = Self.settings(open: .seconds(1))
        settings.policy.openJitter = 0
        try await withLoop { loop in
            var nowhere = Pipeline.Settings(url: "postgresql://127.0.0.1:1/none")
            nowhere.connectWait = .milliseconds(50)
            let pipeline = Pipeline(on: loop, nowhere)
            let breakers = Breakers(
                on: loop, pipeline: pipeline, instance: "alone", settings: settings)
            let key = Self.key(Tenant.ID(UUID.v7()))
            await withTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: loop) { await pipeline.run() }
                group.addTask(executorPreference: loop) { await breakers.run() }
                // On the loop: six calls of a busy pool might outlast the open time.
                let admitted = Task(executorPreference: loop) {
                    await Self.fail(6, breakers, key)
                }
                #expect(await admitted.value == 5)
                let probed = await Self.until {
                    await Self.call(breakers, key, .succeeded)?.isProbe == true
                }
                #expect(probed != nil)
                #expect(await Self.call(breakers, key, .succeeded)?.isProbe == false)
                #expect(await breakers.counters.local > 5)
                await #expect(throws: ControlPlaneError.self) {
                    try await breakers.act(key, .reset, by: .system, reason: nil)
                }
                group.cancelAll()
            }
        }
    }
}
