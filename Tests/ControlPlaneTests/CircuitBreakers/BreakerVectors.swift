import ControlPlane
import IO
import JSON
import Postgres
import TestSupport
import Testing

/// A machine moved by hand: what happens, and when.
struct Bench {
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
        var bench = Bench()
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
        var bench = Bench()
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
        var bench = Bench()
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
        var bench = Bench()
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
        var bench = Bench()
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
        var bench = Bench()
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
        var bench = Bench()
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
        var bench = Bench()
        bench.open()
        bench.pass(.seconds(60))
        for _ in 0..<5 {
            guard let token = bench.probe() else { Issue.record("no place"); return }
            #expect(bench.settle(token, .ignored) == .applied)
        }
        #expect(bench.machine.state == .halfOpen && bench.machine.lostProbes == 0)
    }

    @Test(.proves("C6")) func `that meets a rate limit opens for as long as asked, and no longer run`() {
        var bench = Bench()
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
        var bench = Bench()
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

@Suite struct `A breaker's policy` {
    @Test(.proves("C6")) func `makes open times grow to a cap, and start anew once closed`() {
        var bench = Bench()
        bench.policy.openBase = .seconds(5)
        bench.policy.openGrowth = 2
        bench.open()
        for seconds in [5, 10, 20, 40, 60, 60] {
            #expect(bench.admission() == .refused(retryAfter: .seconds(seconds)))
            bench.pass(.seconds(seconds))
            if let token = bench.probe() { bench.settle(token, .failed) }
        }
        bench.pass(.seconds(60))
        if let token = bench.probe() { bench.settle(token, .succeeded) }
        bench.open()
        #expect(bench.admission() == .refused(retryAfter: .seconds(5)))
    }

    @Test(.proves("C6")) func `opens on a share of the last calls`() {
        var bench = Bench()
        bench.policy.mode = .countWindow
        bench.policy.windowCalls = 10
        bench.policy.minimumCalls = 10
        for _ in 0..<4 { bench.report(failed: true) }
        bench.report(5, failed: false)
        #expect(bench.machine.state == .closed, "nine calls are too few")
        bench.report(failed: false)
        bench.report(failed: true)
        // Of the last ten, one failure fell out as one came in: 4 of 10.
        #expect(bench.machine.state == .closed && bench.machine.failureCount == 4)
        bench.report(failed: true)
        #expect(bench.machine.state == .closed && bench.machine.failureCount == 4)
        bench.report(2, failed: true)
        #expect(bench.machine.state == .closed && bench.machine.failureCount == 4)
        bench.report(failed: true)
        #expect(bench.machine.state == .open && bench.moves.last?.cause == .failureRate)
    }

    @Test(.proves("C6")) func `opens on a share of the last seconds, and forgets what is older`() {
        var bench = Bench()
        bench.policy.mode = .timeWindow
        bench.policy.window = .seconds(10)
        bench.policy.minimumCalls = 4
        bench.report(3, failed: true)
        bench.pass(.seconds(11))
        bench.report(2, failed: false)
        bench.report(failed: true)
        #expect(bench.machine.state == .closed && bench.machine.failureCount == 1)
        bench.report(failed: true)
        #expect(bench.machine.state == .open)
    }

    @Test(.proves("C6")) func `opens on slow calls, though they succeed`() {
        var bench = Bench()
        bench.policy.mode = .timeWindow
        bench.policy.minimumCalls = 4
        bench.policy.slowCall = .seconds(10)
        bench.policy.slowRate = 0.5
        bench.report(2, failed: false)
        bench.report(failed: false, slow: true)
        #expect(bench.machine.state == .closed)
        bench.report(failed: false, slow: true)
        #expect(bench.machine.state == .open && bench.moves.last?.cause == .slowRate)
    }

    @Test(.proves("C6")) func `never opens on a success, whatever the window holds`() {
        var bench = Bench()
        bench.policy.mode = .timeWindow
        bench.policy.minimumCalls = 10
        bench.report(9, failed: true)
        bench.report(failed: false)
        #expect(bench.machine.state == .closed)
        bench.report(failed: true)
        #expect(bench.machine.state == .open)
    }

    @Test(.proves("C6")) func `lets a part through while it ramps, and opens on two failures`() {
        var bench = Bench()
        bench.policy.ramp = .seconds(30)
        bench.open()
        bench.pass(.seconds(60))
        if let token = bench.probe() { bench.settle(token, .succeeded) }
        #expect(bench.admission(random: 0.24) == .admitted(generation: 3))
        #expect(bench.admission(random: 0.26) == .refused(retryAfter: .seconds(1)))
        bench.pass(.seconds(10))
        #expect(bench.admission(random: 0.49) == .admitted(generation: 3))
        bench.report(failed: true)
        #expect(bench.machine.state == .closed)
        bench.report(failed: true)
        #expect(bench.machine.state == .open && bench.moves.last?.cause == .failuresInRamp)
        bench.pass(.seconds(60))
        if let token = bench.probe() { bench.settle(token, .succeeded) }
        bench.pass(.seconds(30))
        #expect(bench.admission(random: 0.99) == .admitted(generation: 6))
    }

    @Test(.proves("C1")) func `of the breaker over all needs failures of several tenants`() {
        var bench = Bench()
        bench.policy.distinctTenants = 3
        let (second, third) = (Tenant.ID(UUID.v7()), Tenant.ID(UUID.v7()))
        bench.report(50, failed: true)
        bench.report(failed: true, of: second)
        #expect(bench.machine.state == .closed)
        bench.report(failed: true, of: third)
        #expect(bench.machine.state == .open)
    }

    @Test(.proves("C6")) func `that could never open or close is found`() {
        #expect(BreakerPolicy().fault == nil)
        var policy = BreakerPolicy()
        policy.probeSuccesses = 2
        #expect(policy.fault?.contains("never close") == true)
        policy = BreakerPolicy()
        policy.mode = .countWindow
        policy.minimumCalls = 101
        #expect(policy.fault?.contains("never open") == true)
    }
}

@Suite struct `An operator's act on a breaker` {
    @Test(.proves("C4")) func `forces it open, disables it, and ends`() {
        var bench = Bench()
        bench.apply(.lay(.forcedOpen, until: nil))
        #expect(bench.admission() == .refused(retryAfter: .seconds(60)))
        #expect(bench.report(failed: false) == .stale)
        bench.apply(.lay(.disabled, until: nil))
        #expect(bench.admission() == .admitted(generation: 2))
        #expect(bench.report(50, failed: true) == .stale)
        bench.apply(.enable)
        #expect(bench.admission() == .admitted(generation: 3))
        bench.apply(.enable)
        #expect(bench.machine.generation == 3, "there was nothing to end")
        #expect(bench.moves.map(\.from) == ["CLOSED", "FORCED_OPEN", "DISABLED"])
        #expect(bench.moves.map(\.to) == ["FORCED_OPEN", "DISABLED", "CLOSED"])
    }

    @Test(.proves("C4")) func `ends by itself at its time`() {
        var bench = Bench()
        bench.apply(.lay(.forcedOpen, until: bench.now + .seconds(30)))
        bench.pass(.seconds(10))
        #expect(bench.admission() == .refused(retryAfter: .seconds(20)))
        bench.pass(.seconds(20))
        #expect(bench.admission() == .due)
        #expect(
            bench.apply(.probe(token: UUID.v7(), holder: "", lease: .seconds(1)))
                == .admitted(generation: 2))
        #expect(bench.moves.last?.cause == .overrideEnded)
    }

    @Test(.proves("C6")) func `can let it count and move without refusing anybody`() {
        var bench = Bench()
        bench.apply(.lay(.metricsOnly, until: nil))
        bench.open()
        #expect(bench.machine.state == .open)
        #expect(bench.admission() == .admitted(generation: 2))
        bench.pass(.seconds(60))
        if let token = bench.probe() { bench.settle(token, .succeeded) }
        #expect(bench.machine.state == .closed)
    }
}

@Suite struct `A breaker's clock` {
    @Test(.proves("C1")) func `stands still when it goes back a little`() {
        var bench = Bench()
        bench.open()
        bench.pass(.seconds(-4))
        bench.apply(.look)
        bench.pass(.seconds(64))
        #expect(bench.admission() == .due)
    }

    @Test(.proves("C1")) func `keeps what remains when it steps far back`() {
        var bench = Bench()
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
        var bench = Bench()
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
