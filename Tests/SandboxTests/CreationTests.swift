import ControlPlane
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `Creating a sandbox` {
    @Test(.proves("D1", "D3", "E1")) func `binds it, tags it and gives it its life`() async throws {
        try await Fleet.with { fleet in
            let made = try await fleet.create()
            #expect(made.attempts == 1 && !made.fellBack)
            #expect(made.sandbox.state == .running && made.sandbox.domain == "us.example")
            let row = try await fleet.creations.store.sandbox(made.sandbox.id, of: fleet.tenant)
            #expect(row.providerID == made.answer.id)
            // The first life is short; the promised one was given before the answer, and is noted soon.
            let there = try await fleet.ask("GET", "/sandboxes/\(made.answer.id)")
            let endsAt = there["endAt"]?.string.flatMap { Timestamp($0) }
            let left = try #require(endsAt) - .now
            #expect(left > .seconds(1790) && left <= .seconds(1801))
            try await eventually {
                let row = try await fleet.creations.store.sandbox(row.id, of: fleet.tenant)
                return row.providerEndsAt == row.endsAt
            }
            let metadata = there["metadata"]
            #expect(metadata?["who"]?.string == "me")
            #expect(metadata?[SandboxTag.sandbox]?.string == row.id.description)
            #expect(metadata?[SandboxTag.tenant]?.string == fleet.tenant.description)
            let request = try await fleet.creations.store.request(row.request, of: fleet.tenant)
            #expect(request.state == .fulfilled && request.sandbox == row.id)
            #expect(try await fleet.plane.ledger.count("sandbox_create", for: fleet.tenant) == 1)
            let moves = try await fleet.creations.store.history(of: row.id, tenant: fleet.tenant)
            #expect(moves.map(\.to) == ["creating", "running"])
            await fleet.tasks.round()
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("B1", "B3", "C1", "E1"))
    func `tries again, each try with a row and a record of its own`() async throws {
        let faults = #"[{"limit": 2, "effects": [{"effect": "error", "status": 500}]}]"#
        try await Fleet.with(faults: faults) { fleet in
            let made = try await fleet.create()
            #expect(made.attempts == 3)
            let rows = try await fleet.rows()
            #expect(rows.map(\.attempt).sorted() == [1, 2, 3])
            #expect(
                rows.map(\.state).sorted { $0.rawValue < $1.rawValue } == [
                    .failed, .failed, .running,
                ])
            #expect(try await fleet.plane.ledger.count("sandbox_create", for: fleet.tenant) == 3)
            let key = BreakerKey(fleet.tenant, provider: "e2b", region: "us", .create)
            #expect(await fleet.plane.breakers.snapshot(of: key)?.machine.failureCount ?? 0 == 0)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("C1", "C2", "D1"))
    func `is refused after five failed operations, without a call`() async throws {
        let faults = #"[{"effects": [{"effect": "error", "status": 500}]}]"#
        try await Fleet.with(faults: faults) { fleet in
            for _ in 0..<5 {
                guard
                    case .failure(.provider(let cause, let stop, _, let attempts, let request)) =
                        await fleet.creations.create(fleet.order())
                else {
                    Issue.record("it was made")
                    return
                }
                #expect(cause.error.kind == .internal)
                // The budget of retries ends some of them before their third try.
                #expect([.attempts, .budget].contains(stop) && (1...3).contains(attempts))
                let row = try await fleet.creations.store.request(request, of: fleet.tenant)
                #expect(row.state == .dead && row.errorKind == .internal)
            }
            let calls = try await fleet.ask("GET", "/_sim")["calls"]?.integer
            guard
                case .failure(.breakerOpen(let refusal)) =
                    await fleet.creations.create(fleet.order())
            else {
                Issue.record("the sixth was let through")
                return
            }
            #expect(refusal.message.hasPrefix("Circuit breaker is OPEN - E2B service unavailable."))
            #expect(try await fleet.ask("GET", "/_sim")["calls"]?.integer == calls)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D1", "D3"))
    func `takes no sandbox that is another's`() async throws {
        try await Fleet.with { fleet in
            let first = try await fleet.create()
            // A provider that begins anew with the same ids.
            _ = try await fleet.ask("POST", "/_sim/reset")
            let second = try await fleet.create()
            #expect(second.answer.id != first.answer.id && second.attempts == 2)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D1"), arguments: [FallbackRule.templateNotFound, .anyError])
    func `falls back to the default template`(rule: FallbackRule) async throws {
        try await Fleet.with(templates: #"["zapdev"]"#) { fleet in
            let order = fleet.order("missing", fallback: "zapdev", rule: rule)
            let made = try await fleet.creations.create(order).get()
            #expect(made.fellBack && made.attempts == 2)
            #expect(made.sandbox.template == "zapdev")
            let request = try await fleet.creations.store.request(
                made.sandbox.request, of: fleet.tenant)
            #expect(request.fellBack && request.template == "missing")
        }
        let faults =
            #"[{"templates": ["base"], "effects": [{"effect": "error", "status": 500}]}]"#
        try await Fleet.with(faults: faults) { fleet in
            let outcome = await fleet.creations.create(
                fleet.order(fallback: "zapdev", rule: rule))
            #expect((try? outcome.get())?.fellBack ?? false == (rule == .anyError))
        }
    }

    @Test(.proves("E5")) func `records nothing and calls nobody past a limit`() async throws {
        try await Fleet.with { fleet in
            _ = try await Policies(fleet.plane.reads).put(
                "sandbox_create", limits: [Limit(limit: 1, window: 3600)], admitsOnOutage: false,
                of: fleet.tenant, if: .none, by: .system)
            _ = try await fleet.create()
            guard
                case .failure(.overQuota(let verdict)) =
                    await fleet.creations.create(fleet.order())
            else {
                Issue.record("it was made")
                return
            }
            #expect(verdict.deciding?.count == 1)
            #expect(try await fleet.rows().count == 1)
            #expect(try await fleet.live().count == 1)
        }
    }

    @Test func `counts what a limit refused as that, whoever waits for it`() async throws {
        try await Fleet.with { fleet in
            try await Self.limit(fleet, to: 1)
            _ = try await fleet.create()
            _ = await fleet.creations.create(fleet.order())
            guard case .failure(.overQuota) = await fleet.creations.begin(fleet.order()) else {
                Issue.record("it was begun")
                return
            }
            let counters = await fleet.creations.counters
            #expect(counters.made == 1 && counters.refused == 2 && counters.failed == 0)
        }
    }

    /// While there is room intents are written beside their records, never more than there is room for.
    @Test(.proves("E5")) func `writes no intent past a limit in a rush`() async throws {
        try await Fleet.with { fleet in
            try await Self.limit(fleet, to: 10)
            _ = try await fleet.create()
            #expect(await Self.rush(30, fleet) == 9)
            #expect(await fleet.creations.counters.withdrawn == 0)
            #expect(try await fleet.live().count == 10)
            #expect(try Self.left(fleet) == [10, 10, 10, 0])
        }
    }

    /// Another instance may have taken the room that is remembered here.
    @Test(.proves("E5")) func `leaves nothing of those that another took the room of`() async throws
    {
        try await Fleet.with { fleet in
            try await Self.limit(fleet, to: 10)
            _ = try await fleet.create()
            let taken = try await fleet.plane.ledger.decide(
                Ask("sandbox_create", cost: 7), for: fleet.tenant)
            #expect(taken.isAdmitted)
            #expect(await Self.rush(9, fleet) == 2)
            #expect(await fleet.creations.counters.withdrawn == 7)
            #expect(try await fleet.live().count == 3)
            #expect(try Self.left(fleet) == [3, 3, 3, 0])
        }
    }

    private static func limit(_ fleet: Fleet, to limit: Int64) async throws {
        _ = try await Policies(fleet.plane.reads).put(
            "sandbox_create", limits: [Limit(limit: limit, window: 3600)], admitsOnOutage: false,
            of: fleet.tenant, if: .none, by: .system)
    }

    /// Many at once; how many were made. The others were denied.
    private static func rush(_ count: Int, _ fleet: Fleet) async -> Int {
        await withTaskGroup(of: Int.self) { tasks in
            for _ in 0..<count {
                tasks.addTask {
                    switch await fleet.creations.create(fleet.order()) {
                    case .success: return 1
                    case .failure(.overQuota): return 0
                    case .failure(let failure):
                        Issue.record("\(failure)")
                        return 0
                    }
                }
            }
            return await tasks.reduce(0, +)
        }
    }

    /// Sandboxes, requests, sandboxes with a history, requests without a sandbox.
    private static func left(_ fleet: Fleet) throws -> [Int64] {
        let row = try Session(Conninfo(url: fleet.plane.url)).execute(
            """
            SELECT (SELECT count(*) FROM sandbox), (SELECT count(*) FROM sandbox_request),
                   (SELECT count(DISTINCT sandbox_id) FROM sandbox_event),
                   (SELECT count(*) FROM sandbox_request WHERE state <> 'fulfilled')
            """
        ).only()
        return try [row.int64(0), row.int64(1), row.int64(2), row.int64(3)]
    }

    @Test(.proves("B2"))
    func `ends at its deadline, and kills what comes later`() async throws {
        let faults =
            #"[{"limit": 1, "effects": [{"effect": "slow", "factor": 1, "addMs": 4000}]}]"#
        try await Fleet.with(faults: faults) { fleet in
            let start = MonotonicInstant.now
            let outcome = await fleet.creations.create(
                fleet.order(deadline: .milliseconds(500)))
            let took = start.duration(to: .now)
            guard case .failure(.provider(let cause, .deadline, _, _, let request)) = outcome else {
                Issue.record("\(outcome)")
                return
            }
            #expect(cause.error.kind == .timeout && cause.error.mayHaveBeenApplied)
            #expect(took < .milliseconds(3000), "\(took)")
            let ended = try await fleet.creations.store.request(request, of: fleet.tenant)
            #expect(ended.state == .expired)
            // The provider answers when nobody waits: found out, and killed.
            for _ in 0..<1500 where try await fleet.rows().first?.state == .creating {
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(try await fleet.settle())
            #expect(try await fleet.live().isEmpty)
            #expect(try await fleet.rows().first?.reason == .abandoned)
            try fleet.checkInvariants()
        }
    }
}

extension JSONValue {
    var integer: Int? { if case .number(let number) = self { number.int } else { nil } }
}
