import ControlPlane
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `A create whose answer is lost` {
    @Test(
        .proves("B2", "D3"),
        arguments: [
            #"{"effect": "reset", "applied": true}"#, #"{"effect": "close", "applied": true}"#,
            #"{"effect": "resetInBody"}"#, #"{"effect": "malformed"}"#,
            #"{"effect": "missingField"}"#,
            #"{"effect": "error", "status": 504, "format": "html", "applied": true}"#,
            #"{"effect": "placementTimeout", "applied": true}"#,
        ])
    func `leaves nothing behind`(effect: String) async throws {
        try await Fleet.with(faults: #"[{"limit": 1, "effects": [\#(effect)]}]"#) { fleet in
            let made = try await fleet.create()
            #expect(made.attempts == 2)
            #expect(try await fleet.live().count == 2)
            #expect(try await fleet.rows().contains { $0.state == .createUnknown })
            #expect(try await fleet.settle())
            let live = try await fleet.live()
            #expect(live.count == 1 && live[0]["sandboxID"]?.string == made.answer.id, "\(live)")
            let loser = try #require(try await fleet.rows().first { $0.id != made.sandbox.id })
            #expect(loser.state == .stopped && loser.reason == .superseded)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("B2", "D3"))
    func `that was not carried out is proven absent, no sooner than the settle window`()
        async throws
    {
        var settings = Reconciler.Settings.quick
        settings.settle = .seconds(60)
        let faults = #"[{"limit": 1, "effects": [{"effect": "reset"}]}]"#
        try await Fleet.with(faults: faults, reconciler: settings) { fleet in
            _ = try await fleet.create()
            for _ in 0..<3 { _ = try await fleet.pass() }
            #expect(try await fleet.rows().contains { $0.state == .createUnknown })
        }
        try await Fleet.with(faults: faults) { fleet in
            _ = try await fleet.create()
            #expect(try await fleet.settle())
            #expect(try await fleet.rows().contains { $0.reason == .provenAbsent })
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D3")) func `is adopted while its request waits`() async throws {
        // Another instance finds it before the one that asked has tried again.
        let faults = #"[{"limit": 1, "effects": [{"effect": "reset", "applied": true}]}]"#
        var retries = RetryPolicy.Settings.quick
        retries.transient = [9000]
        retries.jitterPercent = 0
        try await Fleet.with(faults: faults, retries: retries) { fleet in
            let asking = Task(executorPreference: fleet.plane.loop) {
                await fleet.creations.create(fleet.order())
            }
            for _ in 0..<200 where try await fleet.rows().first?.state != .createUnknown {
                try await Task.sleep(for: .milliseconds(5))
            }
            #expect(try await fleet.pass().adopted == 1)
            let row = try #require(try await fleet.rows().first)
            #expect(row.state == .running && row.reason == .adopted)
            // And its caller gets it, since no other can be bound to the request.
            let made = try await asking.value.get()
            #expect(made.sandbox.id == row.id && made.answer.id == row.providerID)
            #expect(made.answer.accessToken != nil)
            #expect(try await fleet.settle())
            #expect(try await fleet.live().map { $0["sandboxID"]?.string } == [row.providerID])
            let until = try #require(try await fleet.live().first?["endAtMs"]?.integer)
            #expect(until > 1_700_000, "it has the life that was asked for: \(until)")
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("B2", "D3"))
    func `of an instance that died is settled by another`() async throws {
        try await Fleet.with { fleet in
            // The intent is committed, the sandbox made, and the instance gone before it could say so.
            let plan = SandboxPlan(
                tenant: fleet.tenant, way: .api, template: "base", region: "us",
                life: .seconds(60), deadline: .milliseconds(-20_000))
            let row = try await fleet.creations.store.plan(PlannedTry(plan))
            let deployment = try await fleet.creations.loadedDeployment()
            let body = """
                {"templateID":"base","timeout":60,"metadata":{"\(SandboxTag.deployment)":"\(deployment)",
                "\(SandboxTag.tenant)":"\(fleet.tenant)","\(SandboxTag.sandbox)":"\(row.id)"}}
                """
            _ = try await fleet.ask("POST", "/v2/sandboxes", body)
            #expect(try await fleet.settle())
            #expect(try await fleet.live().isEmpty)
            let ended = try await fleet.creations.store.request(plan.request, of: fleet.tenant)
            #expect(ended.state == .expired)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("B2", "D3"))
    func `whose end could not be written is settled though its request is over`() async throws {
        try await Fleet.with { fleet in
            // The database was away when the first try ended, and back when its request did.
            let plan = SandboxPlan(
                tenant: fleet.tenant, way: .api, template: "base", region: "us",
                life: .seconds(60), deadline: .seconds(20))
            let row = try await fleet.creations.store.plan(PlannedTry(plan))
            let tags = try await Self.tags(fleet, row.id)
            _ = try await fleet.ask(
                "POST", "/v2/sandboxes", #"{"templateID":"base","timeout":60,"metadata":{\#(tags)}}"#)
            #expect(try await fleet.creations.store.end(plan.request, of: fleet.tenant, as: .dead))
            #expect(try await fleet.settle())
            #expect(try await fleet.live().isEmpty)
            let settled = try await fleet.creations.store.sandbox(row.id, of: fleet.tenant)
            #expect(settled.state == .stopped && settled.reason == .abandoned, "\(settled)")
            try fleet.checkInvariants()
        }
    }

    private static func tags(_ fleet: Fleet, _ id: UUID) async throws -> String {
        """
        "\(SandboxTag.deployment)":"\(try await fleet.creations.loadedDeployment())",\
        "\(SandboxTag.tenant)":"\(fleet.tenant)","\(SandboxTag.sandbox)":"\(id)"
        """
    }

    /// `BREAKWATER_LOST_ANSWERS` says how many; `make soak` runs the full count.
    @Test(.proves("B2", "D3")) func `never leaks and never doubles, many at once`() async throws {
        let count = environmentNumber("BREAKWATER_LOST_ANSWERS") ?? 60
        let faults = """
            [{"rate": 0.3, "effects": [
              {"effect": "reset", "applied": true}, {"effect": "reset"},
              {"effect": "close", "applied": true}, {"effect": "malformed"}, {"effect": "resetInBody"},
              {"effect": "error", "status": 504, "format": "html", "applied": true},
              {"effect": "error", "status": 500}, {"effect": "capacity"}]},
             {"operations": ["kill", "list", "timeout", "get"], "rate": 0.2, "effects": [
              {"effect": "error", "status": 500}, {"effect": "reset", "applied": true}]}]
            """
        var breakers = Breakers.Settings()
        breakers.policy.failureThreshold = 10_000
        try await Fleet.with(faults: faults, breakers: breakers) { fleet in
            let made = await withTaskGroup(of: CreatedSandbox?.self) { group in
                for _ in 0..<count {
                    group.addTask { try? await fleet.creations.create(fleet.order()).get() }
                }
                return await group.reduce(into: [CreatedSandbox]()) {
                    if let made = $1 { $0.append(made) }
                }
            }
            #expect(made.count > count / 2, "\(made.count)")
            try fleet.checkInvariants()
            // Every second one is not wanted any more, while lists and kills fail.
            for (index, one) in made.enumerated() where index % 2 == 0 {
                _ = try await fleet.creations.store.move(
                    one.sandbox.id, of: fleet.tenant, to: .stopping, why: .killed)
            }
            #expect(try await fleet.settle())
            let wanted = Set(
                made.enumerated().filter { $0.offset % 2 == 1 }.map(\.element.answer.id))
            let live = Set(try await fleet.live().compactMap { $0["sandboxID"]?.string })
            #expect(live == wanted)
            let bound = Set(
                try await fleet.rows().filter(\.state.isBound).compactMap(\.providerID))
            #expect(bound == wanted)
            try fleet.checkInvariants()
        }
    }
}
