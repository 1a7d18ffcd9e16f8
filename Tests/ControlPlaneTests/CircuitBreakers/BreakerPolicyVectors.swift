import ControlPlane
import IO
import Postgres
import TestSupport
import Testing

@Suite struct `A breaker's policy` {
    @Test(.proves("C6")) func `makes open times grow to a cap, and start anew once closed`() {
        var bench = BreakerBench()
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
        var bench = BreakerBench()
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
        var bench = BreakerBench()
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
        var bench = BreakerBench()
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
        var bench = BreakerBench()
        bench.policy.mode = .timeWindow
        bench.policy.minimumCalls = 10
        bench.report(9, failed: true)
        bench.report(failed: false)
        #expect(bench.machine.state == .closed)
        bench.report(failed: true)
        #expect(bench.machine.state == .open)
    }

    @Test(.proves("C6")) func `lets a part through while it ramps, and opens on two failures`() {
        var bench = BreakerBench()
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
        var bench = BreakerBench()
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
        var bench = BreakerBench()
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
        var bench = BreakerBench()
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
        var bench = BreakerBench()
        bench.apply(.lay(.metricsOnly, until: nil))
        bench.open()
        #expect(bench.machine.state == .open)
        #expect(bench.admission() == .admitted(generation: 2))
        bench.pass(.seconds(60))
        if let token = bench.probe() { bench.settle(token, .succeeded) }
        #expect(bench.machine.state == .closed)
    }
}
