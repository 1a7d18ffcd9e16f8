import ControlPlane
import IO
import JSON
import Postgres
import ServiceSupport
import Simulator
import TestSupport
import Testing

@Suite struct `The switch of all killing` {
    private static func hasKilled(_ fleet: Fleet) async throws -> Bool {
        try await fleet.ask("GET", "/_sim")["byRegion"]?["us"]?["kill"] != nil
    }

    /// Something of each kind that is killed: a leak, a loser, one that does not work, one whose life is
    /// over, one that its tenant ends. Answers how many sandboxes there are then.
    private static func fill(_ fleet: Fleet) async throws -> Int {
        let deployment = try await fleet.creations.loadedDeployment()
        let metadata = [
            (SandboxTag.deployment, deployment), (SandboxTag.tenant, fleet.tenant.description),
            (SandboxTag.sandbox, UUID.v7().description),
        ].map { "\"\($0.0)\":\"\($0.1)\"" }.joined(separator: ",")
        _ = try await fleet.ask(
            "POST", "/v2/sandboxes",
            #"{"templateID":"base","timeout":600,"metadata":{\#(metadata)}}"#)
        let store = fleet.creations.store
        let over = try await fleet.create()
        try Session(Conninfo(url: fleet.plane.url)).execute(
            "UPDATE sandbox SET ends_at = now() - interval '1 s' WHERE id = $1",
            .uuid(over.sandbox.id))
        let ended = try await fleet.create()
        _ = try await store.move(
            ended.sandbox.id, of: fleet.tenant, to: .stopping, why: .killed, from: [.running])
        let lost = try await fleet.create()
        _ = try await store.move(
            lost.sandbox.id, of: fleet.tenant, to: .stopping, why: .superseded, from: [.running])
        try await fleet.setFaults(`A health check`.zombie(.portClosed))
        let dead = await fleet.creations.create(fleet.order(maxAttempts: 1, healthCheck: .replace))
        guard case .failure(.notWorking) = dead else { throw Trouble(what: "\(dead)") }
        try await fleet.setFaults("[]")
        try await eventually {
            _ = try await fleet.sweep.run(fleet.plane.reads)
            return try await store.sandbox(over.sandbox.id, of: fleet.tenant).state == .stopping
        }
        return try await fleet.live().count
    }

    @Test(.proves("D3")) func `off, has nothing killed; on again, everything`() async throws {
        try await Fleet.with { fleet in
            let kept = try await fleet.create()
            _ = try await fleet.killing.set(isOn: false, reason: "restored", by: .system)
            let count = try await Self.fill(fleet)
            #expect(count == 8)
            for _ in 0..<5 {
                _ = try await fleet.pass()
                await fleet.tasks.round()
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(try await !Self.hasKilled(fleet))
            #expect(try await fleet.live().count == count)
            try fleet.checkInvariants()
            _ = try await fleet.killing.set(isOn: true, reason: nil, by: .system)
            #expect(try await fleet.settle())
            try await eventually {
                _ = try await fleet.pass()
                await fleet.tasks.round()
                return try await fleet.live().map { $0["sandboxID"]?.string } == [kept.answer.id]
            }
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D3")) func `holds on another instance at once`() async throws {
        try await Fleet.with { fleet in
            let made = try await fleet.create()
            try await fleet.beside { other in
                _ = try await other.killing.set(isOn: false, reason: nil, by: .system)
                _ = try await fleet.creations.store.move(
                    made.sandbox.id, of: fleet.tenant, to: .stopping, why: .killed)
                await fleet.tasks.round()
                await other.tasks.round()
                #expect(try await fleet.live().count == 1)
                #expect(await !fleet.killing.isOn())
                _ = try await fleet.killing.set(isOn: true, reason: nil, by: .system)
                #expect(await other.killing.isOn())
                await other.tasks.round()
                #expect(try await fleet.live().isEmpty)
            }
        }
    }

    @Test(.proves("D3")) func `stops what is under way`() async throws {
        // The tasks are taken, and then the switch is thrown: the provider is slow to answer the first.
        let faults =
            #"[{"operations": ["list"], "effects": [{"effect": "slow", "factor": 1, "addMs": 500}]}]"#
        try await Fleet.with { fleet in
            let store = fleet.creations.store
            let plan = SandboxPlan(
                tenant: fleet.tenant, way: .api, template: "base", region: "us",
                life: .seconds(60), deadline: .seconds(60))
            let id = try await store.plan(PlannedTry(plan)).id
            let tags = [
                (SandboxTag.deployment, try await fleet.creations.loadedDeployment()),
                (SandboxTag.tenant, fleet.tenant.description), (SandboxTag.sandbox, id.description),
            ].map { "\"\($0.0)\":\"\($0.1)\"" }.joined(separator: ",")
            _ = try await fleet.ask(
                "POST", "/v2/sandboxes",
                #"{"templateID":"base","timeout":600,"metadata":{\#(tags)}}"#)
            _ = try await store.move(id, of: fleet.tenant, to: .stopping, why: .abandoned)
            try await fleet.setFaults(faults)
            async let round = fleet.tasks.round()
            try await Task.sleep(for: .milliseconds(150))
            _ = try await fleet.killing.set(isOn: false, reason: nil, by: .system)
            _ = await round
            #expect(try await fleet.live().count == 1)
            #expect(try await store.sandbox(id, of: fleet.tenant).state == .stopping)
        }
    }

    @Test(.proves("D3")) func `is off for an instance whose setting says so`() async throws {
        try await Plane.with { plane in
            #expect(await KillSwitch(plane.reads).isOn())
            #expect(await !KillSwitch(plane.reads, isAllowed: false).isOn())
        }
    }
}
