import ControlPlane
import Postgres
import ServiceSupport
import TestSupport
import Testing

/// What creations write together is, for each, what it would have been alone.
@Suite struct `Creations in one batch` {
    private static func plan(of tenant: Tenant.ID) -> SandboxPlan {
        SandboxPlan(
            tenant: tenant, way: .api, template: "base", region: "us", life: .seconds(600),
            deadline: .seconds(60))
    }

    private static func facts(_ id: String) -> SandboxFacts {
        var facts = SandboxFacts()
        facts.providerID = id
        facts.endsAt = .now + .seconds(600)
        facts.providerEndsAt = .now + .seconds(90)
        return facts
    }

    private static func error<Value>(
        _ result: Result<Value, ControlPlaneError>
    ) -> ControlPlaneError? {
        if case .failure(let error) = result { error } else { nil }
    }

    @Test func `are each their own tenant's`() async throws {
        try await Fleet.with { fleet in
            let store = fleet.creations.store
            let other = try await fleet.plane.makeTenant()
            let tenants = [fleet.tenant, other, fleet.tenant, other]
            let tries = tenants.map { PlannedTry(Self.plan(of: $0)) }
            let rows = try await store.plan(tries).map { try $0.get() }
            #expect(rows.map(\.tenant) == tenants)
            #expect(rows.allSatisfy { $0.state == .creating })
            let made = try await store.made(
                rows.enumerated().map {
                    MadeSandbox($1.id, of: $1.tenant, Self.facts("made\($0)"))
                }
            ).map { try #require(try $0.get()) }
            #expect(made.map(\.id) == rows.map(\.id))
            #expect(made.map(\.providerID) == (0..<4).map { "made\($0)" })
            for row in made {
                #expect(row.state == .running)
                let request = try await store.request(row.request, of: row.tenant)
                #expect(request.state == .fulfilled && request.sandbox == row.id)
                #expect(request.attempts == 1)
                let history = try await store.history(of: row.id, tenant: row.tenant)
                #expect(history.map(\.to) == ["creating", "running"])
            }
            // Of another tenant it is not there, whoever names it.
            let stolen = try await store.made([
                MadeSandbox(rows[0].id, of: other, Self.facts("stolen"))
            ])[0].get()
            #expect(stolen == nil)
        }
    }

    @Test func `have the room that is left, and no more`() async throws {
        try await Fleet.with { fleet in
            let store = fleet.creations.store
            let plans = (0..<4).map { _ in Self.plan(of: fleet.tenant) }
            let results = await store.plan(plans.map { PlannedTry($0, most: 3) })
            #expect(results.count { (try? $0.get()) != nil } == 3)
            #expect(results.compactMap(Self.error) == [.tooManySandboxes(most: 3)])
            // One that found no room left nothing behind.
            let none = try #require(results.firstIndex { Self.error($0) != nil })
            await #expect(throws: ControlPlaneError.notFound("request")) {
                _ = try await store.request(plans[none].request, of: fleet.tenant)
            }
            // A second try needs a place of its own; without a limit there is one.
            let first = try #require(results.firstIndex { (try? $0.get()) != nil })
            let second = await store.plan([PlannedTry(plans[first], attempt: 2, most: 3)])[0]
            #expect(Self.error(second) == .tooManySandboxes(most: 3))
            let third = await store.plan([PlannedTry(plans[first], attempt: 2, template: "other")])[
                0]
            #expect(try third.get().template == "other")
            let request = try await store.request(plans[first].request, of: fleet.tenant)
            #expect(request.attempts == 2 && request.fellBack)
        }
    }

    @Test func `do one another no harm`() async throws {
        try await Fleet.with { fleet in
            let store = fleet.creations.store
            let key = Idempotency(key: "k", route: "POST /v1/sandboxes", body: [])
            let over = Self.plan(of: fleet.tenant)
            _ = try await store.plan(PlannedTry(over))
            _ = try await store.end(over.request, of: fleet.tenant, as: .failed)
            let results = await store.plan([
                PlannedTry(Self.plan(of: fleet.tenant)),
                PlannedTry(Self.plan(of: fleet.tenant), remembering: key),
                PlannedTry(over, attempt: 2),
                PlannedTry(Self.plan(of: fleet.tenant), remembering: key),
                PlannedTry(Self.plan(of: fleet.tenant)),
            ])
            #expect((try? results[0].get()) != nil && (try? results[4].get()) != nil)
            #expect(Self.error(results[2]) == .conflict("the request is over"))
            // Of two with one key one is made.
            #expect([results[1], results[3]].compactMap(Self.error).count == 1)
            // A state that none may have: that one fails, its neighbour does not.
            var broken = Self.facts("broken")
            broken.domain = "nul\u{0}"
            let rows = [try results[0].get(), try results[4].get()]
            let made = await store.made([
                MadeSandbox(rows[0].id, of: fleet.tenant, broken),
                MadeSandbox(rows[1].id, of: fleet.tenant, Self.facts("sound")),
            ])
            #expect(Self.error(made[0]) != nil)
            #expect(try made[1].get()?.state == .running)
        }
    }

    @Test func `of one request are one that is bound and one that is killed`() async throws {
        try await Fleet.with { fleet in
            let store = fleet.creations.store
            let plan = Self.plan(of: fleet.tenant)
            let first = try await store.plan(PlannedTry(plan))
            let second = try await store.plan(PlannedTry(plan, attempt: 2))
            let made = try await store.made([
                MadeSandbox(first.id, of: fleet.tenant, Self.facts("a")),
                MadeSandbox(second.id, of: fleet.tenant, Self.facts("b")),
            ]).map { try #require(try $0.get()) }
            #expect(Set(made.map(\.state)) == [.running, .stopping])
            #expect(made.first { $0.state == .stopping }?.reason == .superseded)
            // Again: neither stands where it may be taken.
            let again = await store.made(
                made.map { MadeSandbox($0.id, of: $0.tenant, Self.facts("c")) })
            #expect(try again.allSatisfy { try $0.get() == nil })
        }
    }

    @Test func `note what checks found, each in its own history`() async throws {
        try await Fleet.with { fleet in
            let store = fleet.creations.store
            let other = try await fleet.plane.makeTenant()
            let tenants = [fleet.tenant, other, fleet.tenant]
            let rows = try await store.plan(tenants.map { PlannedTry(Self.plan(of: $0)) })
                .map { try $0.get() }
            _ = await store.made(
                rows.map { MadeSandbox($0.id, of: $0.tenant, Self.facts($0.id.description)) })
            _ = try await store.move(rows[2].id, of: fleet.tenant, to: .stopped, why: .killed)
            let fine = HealthCheck(.healthy, nil, tries: 1, took: .milliseconds(7))
            let dead = HealthCheck(.zombie, "no answer", tries: 3, took: .seconds(1))
            let noted = await store.checked([
                NotedCheck(rows[0].id, of: fleet.tenant, fine),
                NotedCheck(rows[1].id, of: other, dead, by: "me"),
                // Of another tenant, and over.
                NotedCheck(rows[0].id, of: other, dead),
                NotedCheck(rows[2].id, of: fleet.tenant, dead),
            ])
            #expect(noted.allSatisfy { (try? $0.get()) != nil })
            var found: [ControlPlane.Sandbox] = []
            for row in rows { found.append(try await store.sandbox(row.id, of: row.tenant)) }
            #expect(found.map(\.health) == [.healthy, .zombie, .unknown])
            let last = try #require(try await store.history(of: rows[1].id, tenant: other).last)
            #expect(last.version == found[1].version && last.version == 3)
            #expect(last.actor == "me" && last.detail == "zombie in 1000 ms: no answer")
            #expect(try await store.history(of: rows[2].id, tenant: fleet.tenant).count == 3)
        }
    }

    @Test func `are taken back as long as they stand where they were planned`() async throws {
        try await Fleet.with { fleet in
            let store = fleet.creations.store
            let tries = (0..<3).map { _ in PlannedTry(Self.plan(of: fleet.tenant)) }
            let rows = try await store.plan(tries).map { try $0.get() }
            _ = try await store.move(rows[1].id, of: fleet.tenant, to: .stopping, why: .killed)
            _ = try await store.made(
                MadeSandbox(rows[2].id, of: fleet.tenant, Self.facts("there")))
            var taken: [Bool] = []
            for row in rows { taken.append(try await store.withdraw(row)) }
            #expect(taken == [true, false, false])
            #expect(try await !store.withdraw(rows[0]))
            let left = try await store.list(
                of: fleet.tenant, states: [], before: nil, limit: 10)
            #expect(Set(left.map(\.id)) == Set(rows[1...].map(\.id)))
            await #expect(throws: ControlPlaneError.notFound("request")) {
                try await store.request(rows[0].request, of: fleet.tenant)
            }
            #expect(try await store.history(of: rows[0].id, tenant: fleet.tenant).isEmpty)
        }
    }

    @Test func `note the lives that were given, not those that were promised since`() async throws {
        try await Fleet.with { fleet in
            let store = fleet.creations.store
            let rows = try await store.plan(
                (0..<2).map { _ in PlannedTry(Self.plan(of: fleet.tenant)) }
            ).map { try $0.get() }
            let made = try await store.made(
                rows.map { MadeSandbox($0.id, of: $0.tenant, Self.facts($0.id.description)) }
            ).map { try #require(try $0.get()) }
            let promised = try #require(
                try await store.setLife(made[1].id, of: fleet.tenant, to: .seconds(1200)))
            let given = await store.extended(
                try made.map {
                    GivenLife(id: $0.id, tenant: $0.tenant, endsAt: try #require($0.endsAt))
                })
            #expect(given.allSatisfy { (try? $0.get()) != nil })
            let first = try await store.sandbox(made[0].id, of: fleet.tenant)
            #expect(first.providerEndsAt == first.endsAt)
            let second = try await store.sandbox(made[1].id, of: fleet.tenant)
            #expect(second.endsAt == promised.endsAt)
            #expect(second.providerEndsAt == made[1].providerEndsAt)
            let tasks = try Session(Conninfo(url: fleet.plane.url)).execute(
                "SELECT payload ->> 'sandbox' FROM task WHERE kind = 'sandbox.extend'")
            #expect(
                try tasks.map { try $0.text(0) } == [made[1].id, made[1].id].map(\.description))
        }
    }

    @Test func `end in few transactions, however many they are`() async throws {
        try await Fleet.with { fleet in
            for _ in 0..<32 { _ = try await fleet.create() }
            try Session(Conninfo(url: fleet.plane.url)).execute(
                "UPDATE sandbox SET ends_at = now() - interval '1 second'")
            let sent = await fleet.plane.reads.sent
            _ = try await fleet.sweep.run(fleet.plane.reads)
            for _ in 0..<2 { await fleet.tasks.round() }
            let spent = await fleet.plane.reads.sent - sent
            #expect(try await fleet.live().isEmpty)
            #expect(
                try await fleet.rows().allSatisfy { $0.state == .stopped && $0.reason == .expired })
            // One by one it was five each.
            #expect(spent <= 32, "\(spent)")
            try fleet.checkInvariants()
        }
    }
}
