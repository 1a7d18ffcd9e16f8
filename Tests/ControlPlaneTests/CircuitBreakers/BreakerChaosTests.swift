import ControlPlane
import IO
import Postgres
import ServiceSupport
import Synchronization
import TestSupport
import Testing

/// A probe as it was granted, by the row that granted it.
private struct Grant: Sendable {
    let token: UUID
    let generation: Int64
    let expiresAt: Timestamp
    let grantedAt: Timestamp
}

private final class Grants: Sendable {
    let all = Mutex<[Grant]>([])
}

@Suite struct `Many callers on one breaker on a real database` {
    private static let lease: Duration = .milliseconds(25)

    private static var policy: BreakerPolicy {
        var policy = BreakerPolicy()
        policy.failureThreshold = 3
        policy.openBase = .milliseconds(40)
        policy.openCap = .milliseconds(40)
        policy.maxLostProbes = 3
        return policy
    }

    /// One connection that asks and reports late, twice or never, and now and then resets.
    private static func disturb(
        _ store: BreakerStore, _ key: BreakerKey, until end: MonotonicInstant,
        _ grants: Grants
    ) async {
        func apply(_ input: BreakerInput) async -> BreakerChanged? {
            let change = BreakerChange(key: key, input: input, policy: policy)
            return try? await store.apply([change])[0].get()
        }
        while MonotonicInstant.now < end {
            let token = UUID.v7()
            let probe = BreakerInput.probe(token: token, holder: "chaos", lease: lease)
            guard let asked = await apply(probe) else { continue }
            switch asked.answer {
            case .admitted(let generation):
                let failed = Int.random(in: 0..<3) > 0
                let run = OutcomeRun(isFailure: failed, tenant: key.tenant, endedAt: .now)
                if Int.random(in: 0..<4) == 0 { try? await Task.sleep(for: .milliseconds(30)) }
                for _ in 0..<Int.random(in: 0...2) {
                    _ = await apply(.outcomes([run], generation: generation))
                }
            case .probing(let generation):
                if let lease = asked.snapshot.machine.leases.first(where: { $0.token == token }) {
                    grants.all.withLock {
                        $0.append(
                            Grant(
                                token: token, generation: generation, expiresAt: lease.expiresAt,
                                grantedAt: lease.expiresAt - Self.lease))
                    }
                }
                if Int.random(in: 0..<3) == 0 { try? await Task.sleep(for: .milliseconds(40)) }
                let outcome: BreakerInput.ProbeOutcome =
                    Int.random(in: 0..<3) == 0 ? .succeeded : .failed
                for _ in 0..<Int.random(in: 0...2) {
                    _ = await apply(
                        .settle(token: token, generation: generation, outcome))
                }
            default:
                if Int.random(in: 0..<400) == 0 { _ = await apply(.reset) }
                try? await Task.sleep(for: .milliseconds(1))
            }
        }
    }

    @Test(.proves("C1", "C3", "C4"))
    func `leave a history without a hole or an overlap or an early probe`() async throws {
        try await Plane.with { plane in
            let key = BreakerKey(
                try await plane.makeTenant(), provider: "e2b", region: "eu", .create)
            let grants = Grants()
            let end = MonotonicInstant.now.advanced(by: .seconds(6))
            var wanted = Pipeline.Settings(url: try TestDatabase.direct(plane.url))
            wanted.role = "bw_app"
            wanted.connectWait = .seconds(10)
            let pipelines = (0..<16).map { _ in Pipeline(on: plane.loop, wanted) }
            await withTaskGroup(of: Void.self) { group in
                for pipeline in pipelines {
                    group.addTask(executorPreference: plane.loop) { await pipeline.run() }
                }
                await withTaskGroup(of: Void.self) { callers in
                    for pipeline in pipelines {
                        callers.addTask(executorPreference: plane.loop) {
                            await Self.disturb(
                                BreakerStore(pipeline, instance: "chaos"), key, until: end, grants)
                        }
                    }
                }
                group.cancelAll()
            }
            let granted = grants.all.withLock { $0 }
            try Self.audit(Session(Conninfo(url: plane.url)), granted)
        }
    }

    private static func audit(_ session: Session, _ grants: [Grant]) throws {
        let history = try session.execute(
            """
            SELECT count(*), max(generation),
                   count(*) FILTER (WHERE generation <> previous + 1),
                   count(*) FILTER (WHERE from_state <> previous_state),
                   count(*) FILTER (WHERE cause = 'probe_due' AND at < previous_until),
                   count(*) FILTER (WHERE at < previous_at),
                   count(*) FILTER (WHERE cause = 'reset')
            FROM  (SELECT *, lag(generation, 1, 0::bigint) OVER w AS previous,
                          lag(to_state, 1, 'CLOSED') OVER w AS previous_state,
                          lag(open_until) OVER w AS previous_until, lag(at) OVER w AS previous_at
                   FROM breaker_event WINDOW w AS (ORDER BY generation)) AS e
            """
        ).only()
        let moves = try history.int64(0)
        #expect(moves > 50, "too little happened")
        #expect(try history.int64(1) == moves, "a generation is missing")
        #expect(try history.int64(2) == 0, "a hole")
        #expect(try history.int64(3) == 0, "a move from another state than the one before led to")
        #expect(try history.int64(4) == 0, "a probe before the open time was over")
        #expect(try history.int64(5) == 0, "time went back")
        // At most one probe at a time, whoever grants: each begins when the one before has ended.
        var overlaps = 0
        let rounds = Dictionary(grouping: grants, by: \.generation)
        for round in rounds.values {
            let inOrder = round.sorted { $0.grantedAt < $1.grantedAt }
            for (earlier, later) in zip(inOrder, inOrder.dropFirst())
            where later.grantedAt < earlier.expiresAt { overlaps += 1 }
        }
        #expect(grants.count > 20 && overlaps == 0)
        print("breaker chaos: \(moves) moves, \(grants.count) probes, \(try history.int64(6)) resets")
    }
}
