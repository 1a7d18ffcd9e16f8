import ControlPlane
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The reconciler` {
    private static func addStranger(
        _ fleet: Fleet, _ metadata: [(String, String)] = []
    ) async throws -> String {
        let members = metadata.map { "\"\($0.0)\":\"\($0.1)\"" }.joined(separator: ",")
        let made = try await fleet.ask(
            "POST", "/v2/sandboxes",
            #"{"templateID":"base","timeout":600,"metadata":{\#(members)}}"#)
        return try #require(made["sandboxID"]?.string)
    }

    private static func tags(
        _ fleet: Fleet, _ id: UUID, deployment: String? = nil
    ) async throws -> [(String, String)] {
        let ours = try await fleet.creations.loadedDeployment()
        return [
            (SandboxTag.deployment, deployment ?? ours),
            (SandboxTag.tenant, fleet.tenant.description), (SandboxTag.sandbox, id.description),
        ]
    }

    @Test(.proves("D3")) func `never touches what has not our tags`() async throws {
        try await Fleet.with { fleet in
            _ = try await Self.addStranger(fleet)
            _ = try await Self.addStranger(fleet, [("who", "somebody")])
            _ = try await Self.addStranger(
                fleet, Self.tags(fleet, .v7(), deployment: UUID.v7().description))
            for _ in 0..<3 { _ = try await fleet.pass() }
            #expect(try await fleet.settle())
            #expect(try await fleet.live().count == 3)
        }
    }

    @Test(.proves("D3")) func `kills one of ours without a row, after its grace`() async throws {
        var settings = Reconciler.Settings.quick
        settings.orphanGrace = .seconds(300)
        try await Fleet.with(reconciler: settings) { fleet in
            _ = try await Self.addStranger(fleet, Self.tags(fleet, .v7()))
            #expect(try await fleet.pass().killed == 0)
            _ = try await fleet.ask("POST", "/_sim/clock", #"{"advanceMs":301000}"#)
            #expect(try await fleet.live().count == 1)
        }
        try await Fleet.with { fleet in
            let id = try await Self.addStranger(fleet, Self.tags(fleet, .v7()))
            #expect(try await fleet.pass().killed == 1)
            #expect(try await fleet.settle())
            #expect(try await fleet.live().isEmpty)
            let row = try await fleet.creations.store.sandbox(providerID: id, of: fleet.tenant)
            #expect(row.state == .stopped && row.reason == .leaked)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D3")) func `goes on while the kill of a leaked one fails`() async throws {
        let faults =
            #"[{"operations": ["kill"], "limit": 3, "effects": [{"effect": "error", "status": 500}]}]"#
        try await Fleet.with(faults: faults) { fleet in
            _ = try await Self.addStranger(fleet, Self.tags(fleet, .v7()))
            #expect(try await fleet.pass().killed == 1)
            await fleet.tasks.round()
            // It is shown still, and its row stands already.
            #expect(try await fleet.pass().killed == 0)
            #expect(try await fleet.settle())
            #expect(try await fleet.live().isEmpty)
            #expect(try await fleet.rows().filter { $0.reason == .leaked }.count == 1)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D3")) func `kills the second one under one id of ours, never the bound one`()
        async throws
    {
        try await Fleet.with { fleet in
            let made = try await fleet.create()
            _ = try await Self.addStranger(fleet, Self.tags(fleet, made.sandbox.id))
            #expect(try await fleet.pass().killed == 1)
            #expect(try await fleet.settle())
            #expect(try await fleet.live().map { $0["sandboxID"]?.string } == [made.answer.id])
        }
    }

    @Test(.proves("D3")) func `kills nothing when there is suddenly much of it`() async throws {
        // A restored backup: the provider has them, the rows are gone.
        try await Fleet.with { fleet in
            for _ in 0..<8 { _ = try await fleet.create() }
            let session = try Session(Conninfo(url: fleet.plane.url))
            for table in ["sandbox_event", "sandbox", "sandbox_request"] {
                try session.execute("DELETE FROM \(table)")
            }
            for _ in 0..<3 {
                let report = try await fleet.pass()
                #expect(report.killed == 0 && report.overBudget == 8)
                await fleet.tasks.round()
            }
            #expect(try await fleet.live().count == 8)
        }
    }

    @Test(.proves("D3")) func `kills nothing while it is switched off`() async throws {
        try await Fleet.with { fleet in
            _ = try await fleet.killing.set(isOn: false, reason: "in doubt", by: .system)
            _ = try await Self.addStranger(fleet, Self.tags(fleet, .v7()))
            #expect(try await fleet.pass().killed == 0)
            await fleet.tasks.round()
            #expect(try await fleet.live().count == 1)
        }
    }

    @Test(.proves("D3", "H6"))
    func `settles what an instance had in hand that is gone, and nobody else's`() async throws {
        try await Fleet.with { fleet in
            let store = fleet.creations.store
            let plan = SandboxPlan(
                tenant: fleet.tenant, way: .api, template: "base", region: "us",
                life: .seconds(60), deadline: .seconds(60))
            _ = try await store.plan(PlannedTry(plan))
            let session = try Session(Conninfo(url: fleet.plane.url))
            func state(
                startedAgo: Int, seenAgo: Int
            ) async throws -> SandboxRequestState {
                try session.execute(
                    """
                    INSERT INTO instance (name, started_at, seen_at, beats_from)
                    SELECT holder, now() - interval '\(startedAgo) s', now() - interval '\(seenAgo) s', now()
                    FROM   sandbox_request WHERE holder IS NOT NULL
                    ON CONFLICT (name) DO UPDATE
                    SET    started_at = excluded.started_at, seen_at = excluded.seen_at
                    """)
                _ = try await fleet.sweep.run(fleet.plane.reads)
                return try await store.request(plan.request, of: fleet.tenant).state
            }
            // Not known at all: a release before has no such row.
            _ = try await fleet.sweep.run(fleet.plane.reads)
            #expect(try await store.request(plan.request, of: fleet.tenant).state == .dispatching)
            #expect(try await state(startedAgo: 900, seenAgo: 5) == .dispatching)
            // It was not heard, but has just taken it.
            #expect(try await state(startedAgo: 900, seenAgo: 20) == .dispatching)
            try session.execute("UPDATE sandbox_request SET created_at = now() - interval '20 s'")
            // Nobody was heard: the database was away.
            #expect(try await state(startedAgo: 900, seenAgo: 20) == .dispatching)
            try session.execute(
                "INSERT INTO instance VALUES ('other', now() - interval '1 h', now(), now() - interval '16 s')"
            )
            #expect(try await state(startedAgo: 900, seenAgo: 20) == .expired)
            #expect(try await fleet.rows().map(\.state) == [.createUnknown])
            #expect(try await fleet.settle())
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D3", "F2")) func `says which region it could not look at`() async throws {
        let faults = #"[{"operations": ["list"], "effects": [{"effect": "error", "status": 500}]}]"#
        try await Fleet.with(faults: faults) { fleet in
            let detail = try await fleet.reconciler.run(fleet.plane.reads)
            #expect(
                detail.contains("us of tenant \(fleet.tenant) gives no complete list"), "\(detail)")
        }
    }

    @Test(.proves("D3")) func `has what it lost back when the provider shows it again`()
        async throws
    {
        try await Fleet.with { fleet in
            let made = try await fleet.create()
            let store = fleet.creations.store
            _ = try await store.move(
                made.sandbox.id, of: fleet.tenant, to: .lost, why: .missing, from: [.running])
            #expect(try await fleet.pass().killed == 0)
            let row = try await store.sandbox(made.sandbox.id, of: fleet.tenant)
            #expect(row.state == .running && row.endedAt == nil)
            // It was paused past the end of its first life, lost, and woken.
            _ = try await store.move(
                row.id, of: fleet.tenant, to: .lost, why: .missing, from: [.running])
            try Session(Conninfo(url: fleet.plane.url)).execute(
                "UPDATE sandbox SET ends_at = now() - interval '1 hour'")
            #expect(try await fleet.pass().killed == 0)
            _ = try await fleet.sweep.run(fleet.plane.reads)
            let woken = try await store.sandbox(row.id, of: fleet.tenant)
            #expect(woken.state == .running && woken.endsAt ?? .distantPast > .now)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D3")) func `calls lost what two lists and a direct look do not show`()
        async throws
    {
        try await Fleet.with { fleet in
            let made = try await fleet.create()
            _ = try await fleet.ask("DELETE", "/sandboxes/\(made.answer.id)")
            #expect(try await fleet.pass().lost == 0)
            #expect(try await fleet.pass().lost == 1)
            let row = try await fleet.creations.store.sandbox(made.sandbox.id, of: fleet.tenant)
            #expect(row.state == .lost && row.reason == .missing)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D3")) func `calls nothing lost for being late in a list`() async throws {
        let faults = #"[{"effects": [{"effect": "lateInList", "delayS": 60}]}]"#
        try await Fleet.with(faults: faults) { fleet in
            let made = try await fleet.create()
            for _ in 0..<4 { #expect(try await fleet.pass().lost == 0) }
            let row = try await fleet.creations.store.sandbox(made.sandbox.id, of: fleet.tenant)
            #expect(row.state == .running)
        }
    }

    @Test(.proves("D3")) func `concludes nothing from a list that is not complete`() async throws {
        try await Fleet.with { fleet in
            var ids: [String] = []
            for _ in 0..<101 { ids.append(try await fleet.create().answer.id) }
            for id in ids { _ = try await fleet.ask("DELETE", "/sandboxes/\(id)") }
            _ = try await fleet.create()
            try await fleet.setFaults(
                #"[{"operations": ["list"], "effects": [{"effect": "error", "status": 500}]}]"#)
            for _ in 0..<3 {
                await #expect(throws: ControlPlaneError.self) { try await fleet.pass() }
            }
            #expect(try await fleet.rows().allSatisfy { $0.state == .running && $0.misses == 0 })
        }
    }

    @Test(.proves("D3")) func `kills nothing by a list of which a page is missing`() async throws {
        try await Fleet.with { fleet in
            // More than one page of strangers, and one of ours without a row among them.
            for _ in 0..<3 { _ = try await Self.addStranger(fleet, Self.tags(fleet, .v7())) }
            for _ in 0..<101 {
                _ = try await Self.addStranger(
                    fleet, Self.tags(fleet, .v7(), deployment: UUID.v7().description))
            }
            var ids: [UUID] = []
            for _ in 0..<101 { ids.append(try await fleet.create().sandbox.id) }
            try await fleet.setFaults(
                #"[{"operations": ["list"], "skip": 1, "effects": [{"effect": "error", "status": 503}]}]"#
            )
            // The first page comes, the second does not.
            await #expect(throws: ControlPlaneError.self) { try await fleet.pass() }
            await fleet.tasks.round()
            #expect(try await fleet.live().count == 205)
            #expect(try await fleet.rows().allSatisfy { $0.state == .running && $0.misses == 0 })
        }
    }

    @Test(.proves("D3"))
    func `touches nothing of the deployment that a backup was taken from`() async throws {
        // A copy of the database that is made a deployment of its own: same rows, another tag.
        try await Fleet.with { fleet in
            let made = try await fleet.create()
            for _ in 0..<3 { _ = try await Self.addStranger(fleet, Self.tags(fleet, .v7())) }
            try Session(Conninfo(url: fleet.plane.url)).run(
                "UPDATE deployment SET id = gen_random_uuid()")
            try await fleet.beside { copy in
                for _ in 0..<4 {
                    let report = try await copy.pass()
                    #expect(report.killed == 0 && report.lost == 0 && report.overBudget == 0)
                    await copy.tasks.round()
                }
                #expect(try await copy.live().count == 4)
                #expect(
                    try await copy.creations.store.sandbox(made.sandbox.id, of: copy.tenant).state
                        == .running)
            }
        }
    }

    @Test(.proves("D3")) func `kills up to its budget, and one more none`() async throws {
        for (count, killed) in [(5, 5), (6, 0)] {
            try await Fleet.with { fleet in
                for _ in 0..<count {
                    _ = try await Self.addStranger(fleet, Self.tags(fleet, .v7()))
                }
                let report = try await fleet.pass()
                #expect(report.killed == killed && report.overBudget == count - killed)
                #expect(try await fleet.settle())
                #expect(try await fleet.live().count == count - killed)
            }
        }
        // Of many the share: 6 of 120.
        try await Fleet.with { fleet in
            for _ in 0..<120 { _ = try await fleet.create() }
            for _ in 0..<6 { _ = try await Self.addStranger(fleet, Self.tags(fleet, .v7())) }
            #expect(try await fleet.pass().killed == 6)
        }
    }

    @Test(.proves("D3")) func `kills what it sees again after its end`() async throws {
        try await Fleet.with { fleet in
            let made = try await fleet.create()
            _ = try await fleet.creations.store.move(
                made.sandbox.id, of: fleet.tenant, to: .stopped, why: .expired)
            #expect(try await fleet.pass().killed == 1)
            #expect(try await fleet.settle())
            #expect(try await fleet.live().isEmpty)
            try fleet.checkInvariants()
        }
    }
}

@Suite struct `A sandbox's states` {
    @Test(.proves("D3"), arguments: SandboxState.allCases)
    func `may be left for a stop, whichever it is`(state: SandboxState) {
        #expect(state == .stopping || SandboxState.stopping.sources.contains(state))
    }

    @Test(.proves("D3")) func `follow no other way than the table's`() async throws {
        try await Fleet.with { fleet in
            let store = fleet.creations.store
            for from in SandboxState.allCases where from != .creating {
                for to in SandboxState.allCases where to != .orphan && to != .creating {
                    let row = try await Self.put(fleet, from)
                    let moved = try await store.move(row, of: fleet.tenant, to: to, why: nil)
                    #expect((moved != nil) == to.sources.contains(from), "\(from) to \(to)")
                    _ = try await store.move(
                        row, of: fleet.tenant, to: .stopping, why: .killed)
                }
            }
            try fleet.checkInvariants()
        }
    }

    /// A row that went the shortest way to a state.
    private static func put(_ fleet: Fleet, _ state: SandboxState) async throws -> UUID {
        let plan = SandboxPlan(
            tenant: fleet.tenant, way: .api, template: "base", region: "us", life: .seconds(60),
            deadline: .seconds(60))
        let id = try await fleet.creations.store.plan(PlannedTry(plan)).id
        var facts = SandboxFacts()
        facts.providerID = "i\(id.description.prefix(8))\(UInt32.random(in: 0...UInt32.max))"
        let ways: [SandboxState: [SandboxState]] = [
            .createUnknown: [.createUnknown], .booting: [.booting], .running: [.running],
            .paused: [.running, .paused], .stopping: [.stopping],
            .stopped: [.running, .stopped], .failed: [.failed], .lost: [.running, .lost],
        ]
        for step in ways[state] ?? [] {
            let moved = try await fleet.creations.store.move(
                id, of: fleet.tenant, to: step, why: nil, facts)
            #expect(moved?.state == step)
        }
        if state == .orphan {
            let session = try Session(Conninfo(url: fleet.plane.url))
            try session.execute(
                "UPDATE sandbox SET state = 'orphan', provider_id = $2 WHERE id = $1", .uuid(id),
                .text(facts.providerID))
            try session.execute(
                "UPDATE sandbox_event SET to_state = 'orphan' WHERE sandbox_id = $1", .uuid(id))
        }
        return id
    }

    @Test(.proves("D4", "D3")) func `end with the life that was promised`() async throws {
        try await Fleet.with { fleet in
            let made = try await fleet.creations.create(fleet.order(life: .seconds(1))).get()
            #expect(made.sandbox.state == .running)
            for _ in 0..<100 where try await fleet.rows().first?.state == .running {
                _ = try await fleet.sweep.run(fleet.plane.reads)
                try await Task.sleep(for: .milliseconds(20))
            }
            #expect(try await fleet.settle())
            let row = try await fleet.creations.store.sandbox(made.sandbox.id, of: fleet.tenant)
            #expect(row.state == .stopped && row.reason == .expired)
            #expect(try await fleet.live().isEmpty)
        }
    }

    @Test(.proves("D3", "H6"))
    func `get the wanted life from another, where the first could not give it`() async throws {
        let faults =
            #"[{"operations": ["timeout"], "limit": 1, "effects": [{"effect": "error", "status": 500}]}]"#
        try await Fleet.with(faults: faults) { fleet in
            let made = try await fleet.create()
            let row = try await fleet.creations.store.sandbox(made.sandbox.id, of: fleet.tenant)
            #expect(row.providerEndsAt != row.endsAt)
            try await fleet.beside { other in
                for _ in 0..<300 {
                    await other.tasks.round()
                    let row = try await other.creations.store.sandbox(
                        made.sandbox.id, of: other.tenant)
                    if row.providerEndsAt == row.endsAt { return }
                    try await Task.sleep(for: .milliseconds(20))
                }
                Issue.record("it was never given")
            }
        }
    }
}
