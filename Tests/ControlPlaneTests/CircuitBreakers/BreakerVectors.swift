import ControlPlane
import IO
import JSON
import Postgres
import TestSupport
import Testing

/// A machine moved by hand: what happens, and when.
struct BreakerBench {
    var machine = BreakerMachine()
    var policy = BreakerPolicy()
    var now = Timestamp("2026-03-01T12:00:00Z") ?? .now
    var moves: [BreakerMove] = []
    let tenant = Tenant.ID(UUID.v7())

    mutating func pass(_ duration: Duration) { now = now + duration }

    @discardableResult
    mutating func apply(_ input: BreakerInput) -> BreakerAnswer {
        machine.apply(input, at: now, policy, random: 0, moves: &moves)
    }

    /// Outcomes of one kind, of calls of the generation in force or another.
    @discardableResult
    mutating func report(
        _ count: Int = 1, failed: Bool, slow: Bool = false, of tenant: Tenant.ID? = nil,
        generation: Int64? = nil
    ) -> BreakerAnswer {
        let run = OutcomeRun(
            isFailure: failed, isSlow: slow, count: count, tenant: tenant ?? self.tenant,
            endedAt: now)
        return apply(.outcomes([run], generation: generation ?? machine.generation))
    }

    /// Takes a probe; its token, or nil when refused.
    mutating func probe(lease: Duration = .seconds(60)) -> UUID? {
        let token = UUID.v7()
        let answer = apply(.probe(token: token, holder: "test", lease: lease))
        if case .probing = answer { return token }
        return nil
    }

    @discardableResult
    mutating func settle(_ token: UUID, _ outcome: BreakerInput.ProbeOutcome) -> BreakerAnswer {
        apply(.settle(token: token, generation: machine.generation, outcome))
    }

    mutating func open() { report(policy.failureThreshold, failed: true) }

    func admission(random: Double = 0) -> BreakerMachine.Admission {
        machine.admission(at: now, policy, random: random)
    }
}

@Suite struct `A circuit breaker with the original's settings` {
    @Test(.proves("C1", "F8")) func `opens at five failures in a row and tests after 60 s`() {
        var bench = BreakerBench()
        for _ in 0..<4 { bench.report(failed: true) }
        bench.report(failed: false)
        for _ in 0..<4 { bench.report(failed: true) }
        #expect(bench.machine.state == .closed)
        bench.report(failed: true)
        #expect(bench.machine.state == .open)
        #expect(bench.admission() == .refused(retryAfter: .seconds(60)))
        bench.pass(.milliseconds(59_999))
        #expect(bench.admission() == .refused(retryAfter: .seconds(1)))
        bench.pass(.milliseconds(1))
        #expect(bench.admission() == .due)
        #expect(bench.probe() != nil)
        #expect(bench.machine.state == .halfOpen)
        #expect(bench.moves.map(\.to) == ["OPEN", "HALF_OPEN"])
        #expect(bench.moves.map(\.generation) == [1, 2])
    }

    @Test(.proves("C3")) func `lets one probe through, which closes or opens it`() {
        var bench = BreakerBench()
        bench.open()
        bench.pass(.seconds(60))
        let first = bench.probe()
        #expect(bench.probe() == nil)
        #expect(bench.admission() == .refused(retryAfter: .seconds(1)))
        if let first { bench.settle(first, .failed) }
        #expect(bench.machine.state == .open)
        #expect(bench.admission() == .refused(retryAfter: .seconds(60)))
        bench.pass(.seconds(60))
        if let second = bench.probe() { bench.settle(second, .succeeded) }
        #expect(bench.machine.state == .closed)
        #expect(bench.admission() == .admitted(generation: 5))
        #expect(bench.machine.openings == 0)
    }

    @Test(.proves("C2")) func `says the original's text`() {
        let key = BreakerKey(.fleet, provider: "e2b", region: "default", .create)
        let refusal = BreakerRefusal(key: key, retryAfter: .milliseconds(44_001))
        #expect(
            refusal.message
                == "Circuit breaker is OPEN - E2B service unavailable. Retry in 45s.")
        #expect(BreakerRefusal(key: key, retryAfter: .zero).retryAfterSeconds == 1)
    }
}

@Suite struct `Results that come late, twice or never` {
    @Test(.proves("C1")) func `of an older generation change nothing`() {
        var bench = BreakerBench()
        bench.open()
        bench.pass(.seconds(60))
        let token = bench.probe()
        // Calls begun while it was closed end now: they are not the probe.
        #expect(bench.report(failed: false, generation: 0) == .stale)
        #expect(bench.report(9, failed: true, generation: 0) == .stale)
        #expect(bench.machine.state == .halfOpen && bench.machine.leases.count == 1)
        if let token { #expect(bench.settle(token, .succeeded) == .applied) }
        #expect(bench.report(9, failed: true, generation: 0) == .stale)
        #expect(bench.machine.state == .closed && bench.machine.run == 0)
    }

    @Test(.proves("C3")) func `leave the probe's place to another once its lease is over`() {
        var bench = BreakerBench()
        bench.open()
        bench.pass(.seconds(60))
        let lost = bench.probe(lease: .seconds(10))
        bench.pass(.seconds(9))
        #expect(bench.probe() == nil)
        bench.pass(.seconds(1))
        let next = bench.probe(lease: .seconds(10))
        #expect(next != nil && bench.machine.lostProbes == 1)
        // The first one's result comes after all, twice.
        for _ in 0..<2 { if let lost { #expect(bench.settle(lost, .succeeded) == .stale) } }
        #expect(bench.machine.state == .halfOpen)
        if let next { #expect(bench.settle(next, .succeeded) == .applied) }
        if let next { #expect(bench.settle(next, .failed) == .stale) }
        #expect(bench.machine.state == .closed)
    }

    @Test(.proves("C3")) func `open it again when three probes are lost`() {
        var bench = BreakerBench()
        bench.open()
        bench.pass(.seconds(60))
        for _ in 0..<3 {
            #expect(bench.probe(lease: .seconds(1)) != nil)
            bench.pass(.seconds(1))
        }
        #expect(bench.probe() == nil)
        #expect(bench.machine.state == .open && bench.moves.last?.cause == .probesLost)
    }

    @Test(.proves("C4")) func `do not undo a reset that came while a probe was out`() {
        var bench = BreakerBench()
        bench.open()
        bench.pass(.seconds(60))
        let token = bench.probe()
        bench.apply(.reset)
        #expect(bench.machine.state == .closed)
        if let token {
            #expect(
                bench.apply(.settle(token: token, generation: 2, .failed)) == .stale)
        }
        #expect(bench.machine.state == .closed && bench.machine.run == 0)
        #expect(bench.moves.last?.from == "HALF_OPEN" && bench.moves.last?.to == "CLOSED")
    }

    @Test(.proves("C1")) func `break no run that began after a success ended`() {
        var bench = BreakerBench()
        let success = OutcomeRun(isFailure: false, tenant: bench.tenant, endedAt: bench.now)
        bench.pass(.seconds(1))
        for _ in 0..<4 { bench.report(failed: true) }
        bench.apply(.outcomes([success], generation: 0))
        #expect(bench.machine.run == 4)
        bench.report(failed: false)
        #expect(bench.machine.run == 0)
    }
}

@Suite struct `A breaker's probe` {
    @Test(.proves("C3")) func `that is neither success nor failure frees its place`() {
        var bench = BreakerBench()
        bench.open()
        bench.pass(.seconds(60))
        for _ in 0..<5 {
            guard let token = bench.probe() else { Issue.record("no place"); return }
            #expect(bench.settle(token, .ignored) == .applied)
        }
        #expect(bench.machine.state == .halfOpen && bench.machine.lostProbes == 0)
    }

    @Test(.proves("C6")) func `that meets a rate limit opens for as long as asked, and no longer run`() {
        var bench = BreakerBench()
        bench.policy.openBase = .seconds(5)
        bench.policy.openGrowth = 2
        bench.open()
        bench.pass(.seconds(5))
        if let token = bench.probe() {
            bench.settle(token, .rateLimited(retryAfter: .seconds(30)))
        }
        #expect(bench.machine.openings == 1)
        #expect(bench.admission() == .refused(retryAfter: .seconds(30)))
    }

    @Test(.proves("C3", "C6")) func `is one of several where the policy says so`() {
        var bench = BreakerBench()
        bench.policy.probes = 3
        bench.policy.probeSuccesses = 2
        bench.open()
        bench.pass(.seconds(60))
        let tokens = (0..<4).map { _ in bench.probe() }
        #expect(tokens.map { $0 != nil } == [true, true, true, false])
        if let token = tokens[0] { bench.settle(token, .failed) }
        #expect(bench.machine.state == .halfOpen)
        if let token = tokens[1] { bench.settle(token, .succeeded) }
        #expect(bench.probe() == nil, "the round is full")
        if let token = tokens[2] { bench.settle(token, .succeeded) }
        #expect(bench.machine.state == .closed)
    }
}

@Suite struct `A breaker's clock` {
    @Test(.proves("C1")) func `stands still when it goes back a little`() {
        var bench = BreakerBench()
        bench.open()
        bench.pass(.seconds(-4))
        bench.apply(.look)
        bench.pass(.seconds(64))
        #expect(bench.admission() == .due)
    }

    @Test(.proves("C1")) func `keeps what remains when it steps far back`() {
        var bench = BreakerBench()
        bench.open()
        bench.pass(.seconds(20))
        bench.apply(.look)
        bench.pass(.seconds(-3600))
        bench.apply(.look)
        #expect(bench.admission() == .refused(retryAfter: .seconds(40)))
        bench.pass(.seconds(40))
        #expect(bench.probe() != nil)
    }
}

@Suite struct `A breaker's row` {
    @Test(.proves("C6")) func `holds all of it, and reads what a newer instance wrote`() throws {
        var bench = BreakerBench()
        bench.policy.mode = .timeWindow
        bench.policy.distinctTenants = 2
        bench.report(3, failed: true)
        #expect(try Self.readBack(bench.machine) == bench.machine)
        bench.policy = BreakerPolicy()
        bench.open()
        bench.pass(.seconds(60))
        _ = bench.probe()
        #expect(try Self.readBack(bench.machine) == bench.machine)
        bench.apply(.lay(.forcedOpen, until: bench.now + .seconds(9)))
        #expect(try Self.readBack(bench.machine) == bench.machine)
    }

    private static func readBack(_ machine: BreakerMachine) throws -> BreakerMachine {
        var text = String(decoding: machine.encoded(), as: UTF8.self)
        text.removeLast()
        text += #","unknown":[1,{"a":2}]}"#
        return try JSONReader.decode(BreakerMachine.self, from: Array(text.utf8))
    }
}
