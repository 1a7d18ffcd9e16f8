import ControlPlane
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `A request that can be told apart` {
    private static func key(_ name: String, _ body: String = "{}") -> Idempotency {
        Idempotency(key: name, route: "POST /v1/requests", body: Array(body.utf8))
    }

    private static func ask(
        _ operation: String = "op", cost: Int32 = 1, limit: Int64? = nil, key: Idempotency? = nil
    ) -> Ask {
        Ask(
            operation, cost: cost, maxPerHour: limit, identity: Ask.Identity(idempotency: key))
    }

    @Test(.proves("E5"))
    func `is decided once, whatever the instance, and answered the same again`() async throws {
        try await Plane.with { plane in
            try await Plane.with(url: plane.url) { other in
                let tenant = try await plane.makeTenant()
                let first = try await plane.ledger.decide(
                    Self.ask(cost: 3, limit: 10, key: Self.key("a")), for: tenant)
                let again = try await other.ledger.decide(
                    Self.ask(cost: 3, limit: 10, key: Self.key("a")), for: tenant)
                #expect(first.isAdmitted && !first.isReplay)
                #expect(again.isReplay && again.id == first.id && again.outcome == first.outcome)
                #expect(again.deciding?.count == 3 && again.deciding?.limit == 10)
                #expect(try await plane.ledger.count("op", for: tenant) == 3)
                await #expect(throws: ControlPlaneError.idempotencyMismatch) {
                    try await other.ledger.decide(
                        Self.ask(key: Self.key("a", "[]")), for: tenant)
                }
                // Another tenant's key of that name is another key.
                let stranger = try await plane.makeTenant()
                let own = try await plane.ledger.decide(
                    Self.ask(cost: 3, limit: 10, key: Self.key("a")), for: stranger)
                #expect(!own.isReplay && own.deciding?.count == 3)
            }
        }
    }

    @Test(.proves("E5"))
    func `has twins that wait for it, on two instances at once`() async throws {
        try await Plane.with { plane in
            try await Plane.with(url: plane.url) { other in
                let tenant = try await plane.makeTenant()
                for turn in 0..<20 {
                    let verdicts = try await withThrowingTaskGroup(of: Verdict.self) { group in
                        for client in 0..<8 {
                            let one = client % 2 == 0 ? plane : other
                            group.addTask(executorPreference: one.loop) {
                                try await one.ledger.decide(
                                    Self.ask(key: Self.key("twin \(turn)")), for: tenant)
                            }
                        }
                        return try await group.reduce(into: []) { $0.append($1) }
                    }
                    #expect(verdicts.filter { !$0.isReplay }.count == 1)
                    #expect(Set(verdicts.map(\.id)).count == 1)
                }
                #expect(try await plane.ledger.count("op", for: tenant) == 20)
            }
        }
    }

    @Test(.proves("E5"))
    func `that was denied may try again with its key`() async throws {
        let clock = TestClock(.now)
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            _ = try await plane.ledger.record("op", cost: 1, for: tenant)
            let ask = Self.ask(limit: 1, key: Self.key("later"))
            #expect(try await !plane.ledger.decide(ask, for: tenant).isAdmitted)
            clock.move(by: .seconds(3601))
            let verdict = try await plane.ledger.decide(ask, for: tenant)
            #expect(verdict.isAdmitted && !verdict.isReplay)
        }
    }

    @Test(.proves("E5"))
    func `is refunded once, at most what it cost, while it counts`() async throws {
        let clock = TestClock(.now)
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            let refunds = Refunds(plane.reads)
            let id = try #require(
                try await plane.ledger.decide(Self.ask(cost: 5, limit: 10), for: tenant).id)
            clock.move(by: .seconds(60))
            _ = try await plane.ledger.record("op", cost: 4, for: tenant)
            await #expect(
                throws: ControlPlaneError.invalid(field: "/cost", reason: "the request cost 5")
            ) {
                try await refunds.refund(id, units: 6, of: tenant)
            }
            let stranger = try await plane.makeTenant()
            await #expect(throws: ControlPlaneError.notFound("request")) {
                try await refunds.refund(id, units: 1, of: stranger)
            }
            let refund = try await refunds.refund(id, units: 3, of: tenant)
            #expect(refund.units == 3 && refund.operation == "op")
            #expect(try await plane.ledger.count("op", for: tenant) == 6)
            #expect(try await plane.ledger.stats(window: 3600, for: tenant).first?.units == 6)
            await #expect(throws: ControlPlaneError.conflict("the request was refunded already")) {
                try await refunds.refund(id, units: 1, of: tenant)
            }
            clock.move(by: .seconds(1))
            // 6 of 10 are used: 4 fit, 5 do not, until the original leaves with what is left of it.
            let denial = try await plane.ledger.acquire("op", cost: 5, limit: 10, for: tenant)
            guard case .denied(6, let wait?, _) = denial else {
                Issue.record("\(denial)")
                return
            }
            #expect(wait == .seconds(3539))
            clock.move(by: wait - .microseconds(1))
            if case .admitted = try await plane.ledger.acquire(
                "op", cost: 5, limit: 10, for: tenant)
            {
                Issue.record("early")
            }
            clock.move(by: .microseconds(1))
            // Now the original is gone, and its refund with it: 4 are used, not 1.
            #expect(try await plane.ledger.count("op", for: tenant) == 4)
            if case .denied = try await plane.ledger.acquire(
                "op", cost: 6, limit: 10, for: tenant)
            {
                Issue.record("late")
            }
            if case .admitted = try await plane.ledger.acquire(
                "op", cost: 1, limit: 10, for: tenant)
            {
                Issue.record("over the limit")
            }
        }
    }

    @Test(.proves("E5"))
    func `may be refunded after it left the window, to no effect`() async throws {
        let clock = TestClock(.now - .seconds(7200))
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            let id = try #require(
                try await plane.ledger.decide(Self.ask(cost: 5), for: tenant).id)
            clock.move(by: .seconds(3601))
            _ = try await plane.ledger.record("op", cost: 2, for: tenant)
            let refund = try await Refunds(plane.reads).refund(
                id, units: nil, of: tenant, idempotency: Self.key("r"))
            #expect(refund.units == 5 && !refund.isReplay)
            let again = try await Refunds(plane.reads).refund(
                id, units: nil, of: tenant, idempotency: Self.key("r"))
            #expect(again.isReplay && again.units == 5)
            #expect(try await plane.ledger.count("op", for: tenant) == 2)
        }
    }
}
