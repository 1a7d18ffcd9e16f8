import ControlPlane
import IO
import JSON
import ServiceSupport
import TestSupport
import Testing

/// What the original's own page says to test, under its names, of the service as a whole: with its settings, a
/// real database and a provider that fails as it is told to. The pieces have tests of their own.
@Suite(.proves("F8")) struct `The original's test list` {
    private static let down = #"[{"effects": [{"effect": "error", "status": 502}]}]"#

    private static var retries: RetryPolicy.Settings {
        var settings = RetryPolicy.Settings()
        settings.jitterPercent = 0
        settings.capacity = settings.transient
        return settings
    }

    /// The times at which the provider was asked to create, in ms.
    private static func creates(_ fleet: Fleet) async throws -> [Int] {
        guard case .array(let calls)? = try await fleet.ask("GET", "/_sim/book")["calls"] else {
            return []
        }
        return calls.filter { $0["operation"]?.string == "create" }.compactMap {
            $0["atMs"]?.integer.map { Int($0) }
        }
    }

    private static func breaker(_ fleet: Fleet) async throws -> BreakerView {
        try await fleet.plane.breakers.view(
            of: BreakerKey(fleet.tenant, provider: "e2b", region: "us", .create))
    }

    /// Until the breaker has counted five operations that failed.
    private static func failFive(_ fleet: Fleet) async throws {
        for number in 1...5 {
            guard case .failure(.provider) = await fleet.creations.create(fleet.order(maxAttempts: 1))
            else {
                Issue.record("operation \(number) did not fail")
                return
            }
            let machine = try await breaker(fleet).machine
            #expect(machine.failureCount == number)
            #expect(machine.effectiveState == (number < 5 ? .closed : .open))
        }
    }

    @Test func `rate limit text is api`() {
        var facts = ErrorFacts()
        facts.message = "Rate limit exceeded"
        let found = Classifier().classify(facts)
        #expect(found.flags.isAPI && !found.flags.isTransient && !found.flags.isPermanent)
        #expect(found.kind == .rateLimit)
    }

    @Test func `transient errors are retried 3 times with its delays`() async throws {
        try await Fleet.with(faults: Self.down, retries: Self.retries) { fleet in
            guard case .failure(.provider(_, let stop, _, let attempts, _)) =
                await fleet.creations.create(fleet.order())
            else {
                Issue.record("it was made")
                return
            }
            #expect(stop == .attempts && attempts == 3)
            let at = try await Self.creates(fleet)
            try #require(at.count == 3)
            // Its 1 s and 2 s; a busy machine is late, never early.
            #expect((1000..<2000).contains(at[1] - at[0]), "\(at)")
            #expect((2000..<3000).contains(at[2] - at[1]), "\(at)")
        }
    }

    @Test func `5 failures open`() async throws {
        try await Fleet.with(faults: Self.down) { fleet in try await Self.failFive(fleet) }
    }

    @Test func `next call refused at once`() async throws {
        try await Fleet.with(faults: Self.down) { fleet in
            try await Self.failFive(fleet)
            let asked = try await Self.creates(fleet).count
            guard case .failure(.breakerOpen(let refusal)) =
                await fleet.creations.create(fleet.order())
            else {
                Issue.record("it was let through")
                return
            }
            let said = /Circuit breaker is OPEN - E2B service unavailable\. Retry in (\d+)s\./
            let wait = try #require(refusal.message.wholeMatch(of: said)?.1)
            #expect((50...60).contains(Int(wait) ?? 0))
            #expect(try await Self.creates(fleet).count == asked)
        }
    }

    @Test func `health check runs`() async throws {
        try await Fleet.with { fleet in
            let made = try await fleet.creations.create(fleet.order(healthCheck: .warn)).get()
            try await eventually {
                try await fleet.creations.store.sandbox(made.sandbox.id, of: fleet.tenant).health
                    == .healthy
            }
            #expect(fleet.told.events.map(\.name).contains("sandbox_health_check_ok"))
        }
    }

    @Test func `the events appear`() async throws {
        let faults = #"[{"limit": 1, "effects": [{"effect": "error", "status": 502}]}]"#
        try await Fleet.with(faults: faults) { fleet in
            _ = try await fleet.create()
            try await fleet.setFaults(Self.down)
            _ = await fleet.creations.create(fleet.order(maxAttempts: 1))
            let expected = [
                "sandbox_create_start", "sandbox_create_failure", "sandbox_create_success",
                "sandbox_create_start", "sandbox_create_failure",
                "sandbox_create_critical_failure",
            ]
            #expect(fleet.told.events.map(\.name) == expected)
            #expect(fleet.told.events.allSatisfy { $0.message.hasPrefix("[E2B_METRICS] ") })
        }
    }
}
