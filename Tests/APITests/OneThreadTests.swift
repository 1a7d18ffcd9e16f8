import ControlPlane
import IO
import ServiceSupport
import TestSupport
import Testing

@Suite struct `A call and its answer from the database` {
    @Test(.proves("H5"))
    func `stay on the thread of their loop`() async throws {
        try await Served.with { served in
            let (plane, calls, clients) = (served.plane, 50, 32)
            let (tenant, _) = try await served.tenant()
            _ = try await plane.ledger.record("op", cost: 1, for: tenant)
            let before = plane.loop.foreignWakeups
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<clients {
                    group.addTask(executorPreference: plane.loop) {
                        for _ in 0..<calls {
                            _ = try await plane.ledger.record("op", cost: 1, for: tenant)
                            _ = try await plane.ledger.count("op", for: tenant)
                        }
                    }
                }
                try await group.waitForAll()
            }
            // Starting and ending the tasks comes from this test's own threads.
            let wakeups = plane.loop.foreignWakeups - before
            #expect(wakeups < 3 * clients, "\(wakeups) wake-ups in \(2 * calls * clients) calls")
        }
    }
}
