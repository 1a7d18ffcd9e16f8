import ControlPlane
import Foundation
import IO
import TestSupport
import Testing

@testable import ProofSimulator

private func text(_ path: String) throws -> String {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    return try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
}

private func arms() throws -> [Arm] {
    Arm.all(
        original: try PolicySettings(file: text("deploy/original.conf")),
        recommended: try PolicySettings(file: text("deploy/recommended.conf")))
}

@Suite(.timeLimit(.minutes(2))) struct `The proof in small` {
    /// Two minutes in order, ten without any success, three in order.
    private let outage = FaultModel("outage", "", length: 900) { _ in
        let phase = { (end: Double, failing: Double, isBad: Bool) in
            var conditions = Conditions()
            conditions.failing = failing
            return Phase(end: end, conditions: conditions, isBad: isBad)
        }
        return [phase(120, 0.002, false), phase(720, 1, true), phase(900, 0.002, false)]
    }
    private let shaky = FaultModel("shaky", "", length: 1200) { _ in
        var conditions = Conditions()
        conditions.failing = 0.3
        return [Phase(end: 1200, conditions: conditions)]
    }

    private func measure(_ models: [FaultModel]) async throws -> Results {
        let arms = try arms()
        return try await withLoop { loop in
            await Results.measure(models, arms, seeds: 1..<3, on: loop)
        }
    }

    @Test func `is the same to the last bit each time`() async throws {
        let (one, other) = (try await measure([outage]), try await measure([outage]))
        #expect(one.rows.map(\.tallies) == other.rows.map(\.tallies))
        #expect(one.rows[0].tallies[0] != one.rows[0].tallies[1], "every arm the same")
        #expect(Report(one).models == Report(other).models)
        #expect(Charts(one).failures == Charts(other).failures)
    }

    @Test(.proves("B2", "C6"))
    func `spares the provider in an outage, at no later end than asked for`() async throws {
        let report = Report(try await measure([outage]))
        // The end of this outage takes no time: what an open breaker refuses in the seconds after it is
        // more than tries gain before. Of 900 s it is 14 (24 seeds; docs/proof.md), never many more.
        let failures = try #require(report.standings.first?.failures.mean)
        #expect(failures < 0.025, "\(failures)")
        #expect(report.faults.filter { !$0.hasSuffix("fails more than three tries") } == [])
        let (plain, original, ours) = (
            report.outageCalls[1], report.outageCalls[2], report.outageCalls[3]
        )
        #expect(report.outageCalls[0] == 1)
        #expect(plain > 2.5 && original < plain)
        #expect(ours <= 1.2, "\(ours)")
        #expect(report.overrun <= .milliseconds(50))
    }

    @Test(.proves("B1", "B2", "C1"))
    func `fails less with more tries, where a breaker takes nothing away`() async throws {
        let row = try await measure([shaky]).rows[0]
        let share = { (arm: Int) in row.estimate(arm, \.failureShare).mean }
        #expect(abs(share(0) - 0.3) < 0.04)
        #expect(share(1) < 0.05 && share(2) == share(1))
        #expect(share(3) < 0.005 && share(3) < share(1))
        // What the provider is asked more often is what users get more.
        let calls = { (arm: Int) in row.estimate(arm, \.callsPerRequest).mean }
        #expect((calls(3) - calls(1)) / (share(1) - share(3)) < Report.price)
    }

    @Test func `counts every request once`() async throws {
        for tally in try await measure([outage]).rows[0].tallies.joined() {
            #expect(tally.requests > 700 && tally.failures <= tally.requests)
            #expect(tally.failuresByMinute.reduce(0, +) == tally.failures)
            #expect(tally.callsByMinute.reduce(0, +) == tally.calls)
            #expect(tally.refused + tally.failed500 <= tally.failures)
        }
    }
}

@Suite struct `The settings of the proof` {
    @Test func `say no to what the service would not know`() {
        for line in [
            "breaker.probes", "breaker.probe=1", "breaker.probes=two", "retry.transientMs=1,",
        ] {
            #expect(throws: PolicySettingsError.self) {
                try PolicySettings(file: "# fine\n\(line)\n")
            }
        }
    }

    @Test func `are on its page as they are in the file`() throws {
        let page = try text("docs/proof.md")
        for line in try text("deploy/recommended.conf").split(separator: "\n")
        where !line.hasPrefix("#") {
            let parts = line.split(separator: "=", maxSplits: 1)
            #expect(page.contains("| `\(parts[0])` | \(parts[1]) |"), "\(line)")
        }
    }

    @Test func `give the original five failures, 60 s, three tries and no jitter`() throws {
        let original = try arms()[2].settings
        #expect(original.breakers.policy.failureThreshold == 5)
        #expect(original.breakers.policy.openPeriod(opening: 3, random: 1) == .seconds(60))
        #expect(original.breakers.countKinds == Set(ErrorKind.allCases))
        #expect(original.retry.maxAttempts == 3 && original.retry.jitterPercent == 0)
        #expect(original.retry.transient == [1000, 2000, 4000, 10_000])
        #expect(!original.budget.isOn)
    }
}

@Suite struct `Estimates of the proof` {
    @Test func `are means with Student's interval`() {
        let estimate = Estimate(of: (1...20).map(Double.init))
        // t = 2.093, deviation 5.916
        #expect(estimate.mean == 10.5 && abs(estimate.half - 2.769) < 0.005)
    }

    @Test func `know a reduction exactly where it is the same in each seed`() throws {
        let half = try #require(Estimate(reductionTo: [1, 2, 3], from: [2, 4, 6]))
        #expect(half.mean == 0.5 && half.half == 0)
        #expect(Estimate(reductionTo: [0], from: [0]) == nil)
    }

    @Test func `are written with as many digits as asked`() {
        #expect(
            digits(-0.004, 2) == "0.00" && digits(-1.256, 2) == "-1.26"
                && digits(99.96, 1) == "100.0")
    }
}
