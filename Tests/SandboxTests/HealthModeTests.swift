import ControlPlane
import IO
import JSON
import Postgres
import ServiceSupport
import Simulator
import TestSupport
import Testing

@Suite struct `A creation with a health check` {
    private static func names(_ fleet: Fleet) -> [String] { fleet.told.events.map(\.name) }

    @Test(.proves("D2")) func `asks nothing of a sandbox with off`() async throws {
        try await Fleet.with(faults: `A health check`.zombie(.portClosed)) { fleet in
            let made = try await fleet.creations.create(fleet.order(healthCheck: .off)).get()
            #expect(made.sandbox.health == .unknown)
            #expect(!Self.names(fleet).contains("sandbox_health_check_failed"))
        }
    }

    @Test(.proves("D2", "F1", "F8"))
    func `warns with warn, and blocks nobody`() async throws {
        // It would hang for the whole limit.
        try await Fleet.with(
            faults: `A health check`.zombie(.commandsHang), settings: .checking(within: .seconds(2))
        ) { fleet in
            let made = try await fleet.creations.create(fleet.order(healthCheck: .warn)).get()
            #expect(!Self.names(fleet).contains("sandbox_health_check_failed"))
            #expect(made.sandbox.state == .running && made.sandbox.health == .unknown)
            try await eventually {
                try await fleet.creations.store.sandbox(made.sandbox.id, of: fleet.tenant).health
                    == .zombie
            }
            let told = try #require(
                fleet.told.events.last { $0.name == "sandbox_health_check_failed" })
            #expect(told.message.contains("[E2B_METRICS]"))
            #expect(told.message.contains("Sandbox health check failed"))
            #expect(told.level == .warning)
            let moves = try await fleet.creations.store.history(
                of: made.sandbox.id, tenant: fleet.tenant)
            #expect(moves.map(\.to) == ["creating", "running", "running"])
            #expect(moves.last?.reason == "health_check")
            #expect(moves.last?.detail?.hasPrefix("zombie in ") == true)
            #expect(try await fleet.live().count == 1)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D2")) func `accuses none that its tenant ended meanwhile`() async throws {
        try await Fleet.with(
            faults: `A health check`.zombie(.commandsHang), settings: .checking(within: .seconds(1))
        ) { fleet in
            let ended = try await fleet.creations.create(fleet.order(healthCheck: .warn)).get()
            let store = fleet.creations.store
            _ = try await store.move(
                ended.sandbox.id, of: fleet.tenant, to: .stopping, why: .killed, from: [.running])
            // This one began to be looked at after it.
            let other = try await fleet.creations.create(fleet.order(healthCheck: .warn)).get()
            try await eventually {
                try await store.sandbox(other.sandbox.id, of: fleet.tenant).health == .zombie
            }
            try await Task.sleep(for: .milliseconds(200))
            #expect(Self.names(fleet).count { $0 == "sandbox_health_check_failed" } == 1)
            let row = try await store.sandbox(ended.sandbox.id, of: fleet.tenant)
            #expect(row.health == .unknown)
            let moves = try await store.history(of: row.id, tenant: fleet.tenant)
            #expect(!moves.contains { $0.reason == "health_check" })
        }
    }

    @Test(.proves("D2", "F1")) func `tells of a good one with warn`() async throws {
        try await Fleet.with { fleet in
            let made = try await fleet.creations.create(fleet.order(healthCheck: .warn)).get()
            try await eventually { Self.names(fleet).contains("sandbox_health_check_ok") }
            try await eventually {
                try await fleet.creations.store.sandbox(made.sandbox.id, of: fleet.tenant).health
                    == .healthy
            }
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D2"), arguments: ZombieMode.allCases)
    func `hands out a working one with replace`(mode: ZombieMode) async throws {
        try await Fleet.with(
            faults: `A health check`.zombie(mode, limit: 1), settings: .finding(mode)
        ) { fleet in
            let made = try await fleet.creations.create(fleet.order(healthCheck: .replace)).get()
            #expect(made.replacements == 1 && made.attempts == 2)
            #expect(made.sandbox.state == .running && made.sandbox.health == .healthy)
            let row = try await fleet.creations.store.sandbox(made.sandbox.id, of: fleet.tenant)
            try await eventually {
                let row = try await fleet.creations.store.sandbox(row.id, of: fleet.tenant)
                return row.providerEndsAt == row.endsAt
            }
            let request = try await fleet.creations.store.request(row.request, of: fleet.tenant)
            #expect(request.state == .fulfilled && request.sandbox == row.id)
            #expect(try await fleet.settle())
            let dead = try #require(try await fleet.rows().first { $0.id != row.id })
            #expect(dead.state == .stopped && dead.health == .zombie)
            let moves = try await fleet.creations.store.history(of: dead.id, tenant: fleet.tenant)
            #expect(moves.map(\.to) == ["creating", "booting", "stopping", "stopped"])
            #expect(moves[2].reason == "zombie")
            #expect(try await fleet.live().map { $0["sandboxID"]?.string } == [made.answer.id])
            #expect(Self.names(fleet).count { $0 == "sandbox_create_success" } == 1)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D2", "C1"))
    func `fails with replace where none works, and leaves nothing`() async throws {
        try await Fleet.with(faults: `A health check`.zombie(.portClosed)) { fleet in
            let outcome = await fleet.creations.create(fleet.order(healthCheck: .replace))
            guard case .failure(.notWorking(let reason, let attempts, let id)) = outcome else {
                Issue.record("\(outcome)")
                return
            }
            #expect(reason.contains("port is not open") && attempts == 3)
            let request = try await fleet.creations.store.request(id, of: fleet.tenant)
            #expect(request.state == .dead && request.errorKind == .unavailable)
            #expect(Self.names(fleet).last == "sandbox_create_critical_failure")
            #expect(try await fleet.settle())
            #expect(try await fleet.live().isEmpty)
            // The check is outside of the breaker: three creations that worked.
            let key = BreakerKey(fleet.tenant, provider: "e2b", region: "us", .create)
            #expect(await fleet.plane.breakers.snapshot(of: key)?.machine.failureCount ?? 0 == 0)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D2", "B2")) func `keeps to its deadline with replace`() async throws {
        try await Fleet.with(faults: `A health check`.zombie(.commandsHang)) { fleet in
            let made = try await fleet.creations.create(
                fleet.order(deadline: .seconds(5), healthCheck: .replace)
            ).get()
            // There was no time to prove anything: what is there is handed out.
            #expect(made.sandbox.health == .unknown && made.replacements == 0)
        }
    }

    @Test(.proves("D2", "D3"))
    func `has one that was made and not handed out killed by others, if its instance dies`()
        async throws
    {
        try await Fleet.with { fleet in
            let store = fleet.creations.store
            let made = try await fleet.create()
            // As a dead instance leaves it: held back, its request's lease over.
            let plan = SandboxPlan(
                tenant: fleet.tenant, way: .api, template: "base", region: "us",
                life: .seconds(60), deadline: .seconds(60))
            let id = try await store.plan(PlannedTry(plan)).id
            var facts = SandboxFacts()
            facts.providerID = try #require(
                try await fleet.ask(
                    "POST", "/v2/sandboxes", #"{"templateID":"base","timeout":600}"#)[
                        "sandboxID"]?.string)
            let held = try await store.made(
                MadeSandbox(id, of: fleet.tenant, facts, as: .booting))
            #expect(held?.state == .booting)
            #expect(try await store.request(plan.request, of: fleet.tenant).state == .dispatching)
            try Session(Conninfo(url: fleet.plane.url)).execute(
                "UPDATE sandbox_request SET lease_until = now() - interval '1 s' WHERE id = $1",
                .uuid(plan.request))
            #expect(try await fleet.settle())
            let row = try await store.sandbox(id, of: fleet.tenant)
            #expect(row.state == .stopped && row.reason == .abandoned)
            #expect(try await fleet.live().map { $0["sandboxID"]?.string } == [made.answer.id])
            try fleet.checkInvariants()
        }
    }
}

@Suite struct `A creation whose caller leaves` {
    private static let slow =
        #"[{"effects": [{"effect": "slow", "factor": 1, "addMs": 4000}]}]"#

    private static func leave(_ fleet: Fleet, _ order: CreationOrder) async throws {
        let caller = Task(executorPreference: fleet.plane.loop) {
            await fleet.creations.create(order)
        }
        try await eventually { try await !fleet.rows().isEmpty }
        caller.cancel()
        guard case .failure(.notTried(.cancelled, _)) = await caller.value else {
            Issue.record("its caller was made to wait")
            return
        }
        try await eventually { try await fleet.rows().first?.state != .creating }
    }

    @Test(.proves("B2", "D3")) func `leaves nothing, where nobody can ask again`() async throws {
        try await Fleet.with(faults: Self.slow) { fleet in
            try await Self.leave(fleet, fleet.order())
            #expect(try await fleet.settle())
            #expect(try await fleet.live().isEmpty)
            let row = try #require(try await fleet.rows().first)
            #expect(row.state == .stopped && row.reason == .abandoned)
            #expect(
                !fleet.told.events.map(\.name).contains("sandbox_create_critical_failure"))
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("B2", "D3")) func `is finished where a key asks again`() async throws {
        try await Fleet.with(faults: Self.slow) { fleet in
            let key = Idempotency(key: "k", route: "POST /v1/sandboxes", body: [])
            try await Self.leave(fleet, fleet.order(idempotency: key))
            #expect(try await fleet.rows().first?.state == .running)
            #expect(try await fleet.live().count == 1)
            let found = try await fleet.plane.sandboxes.earlier(
                key, of: fleet.tenant, until: .now)
            #expect(found?.state == .fulfilled)
        }
    }

    @Test(.proves("B2")) func `is not tried again`() async throws {
        let faults =
            #"[{"effects": [{"effect": "slow", "factor": 1, "addMs": 4000}]}, {"effects": [{"effect": "error", "status": 500}]}]"#
        try await Fleet.with(faults: faults) { fleet in
            try await Self.leave(fleet, fleet.order())
            try await eventually {
                try await fleet.creations.store.request(
                    try #require(try await fleet.rows().first?.request), of: fleet.tenant
                ).state.isEnd
            }
            #expect(try await fleet.rows().count == 1)
        }
    }
}
