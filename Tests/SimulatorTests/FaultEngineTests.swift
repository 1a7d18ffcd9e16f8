import IO
import Simulator
import Testing

@Suite(.timeLimit(.minutes(2))) struct `The faults of a script` {
    private let create = FaultEngine.Call(
        .create, region: "us", key: "one", template: "base")

    private func engine(_ faults: String, seed: UInt64 = 7) throws -> FaultEngine {
        FaultEngine(try script(faults: faults).faults, seed: seed)
    }

    /// Which of `count` calls, one a second, are hit.
    private func hits(
        _ engine: inout FaultEngine, _ count: Int, every step: Duration = .seconds(1)
    ) -> [Bool] {
        (0..<count).map { !engine.decide(create, at: step * $0).names.isEmpty }
    }

    @Test func `hit as often as their rate says`() throws {
        var engine = try engine(#"[{"rate": 0.3, "effects": [{"effect": "error"}]}]"#)
        let share = Double(hits(&engine, 20_000).count { $0 }) / 20_000
        // Five standard deviations of the binomial.
        #expect(abs(share - 0.3) < 5 * (0.3 * 0.7 / 20_000).squareRoot())
    }

    @Test func `are the same for the same seed, and others for another`() throws {
        let text = #"[{"rate": 0.5, "effects": [{"effect": "error"}, {"effect": "reset"}]}]"#
        var (first, second, other) = (
            try engine(text), try engine(text), try engine(text, seed: 8)
        )
        let expected = hits(&first, 1000)
        #expect(hits(&second, 1000) == expected)
        #expect(hits(&other, 1000) != expected)
    }

    @Test func `do not depend on what another fault draws`() throws {
        let reset = #"{"name": "reset", "rate": 0.2, "effects": [{"effect": "reset"}]}"#
        let before = #"{"rate": 1, "operations": ["get"], "effects": [{"effect": "error"}]}"#
        func draws(withGets: Bool) throws -> [Bool] {
            var engine = try engine("[\(before), \(reset)]")
            return (0..<500).map { second in
                if withGets { _ = engine.decide(.init(.get, region: "us"), at: .seconds(second)) }
                return !engine.decide(create, at: .seconds(second)).names.isEmpty
            }
        }
        #expect(try draws(withGets: true) == draws(withGets: false))
    }

    @Test func `happen in their window, after those they skip, and no more than their limit`()
        throws
    {
        var window = try engine(#"[{"fromS": 10, "forS": 5, "effects": [{"effect": "error"}]}]"#)
        #expect(
            hits(&window, 30).enumerated().filter(\.element).map(\.offset) == [10, 11, 12, 13, 14])
        var counted = try engine(#"[{"skip": 3, "limit": 2, "effects": [{"effect": "error"}]}]"#)
        #expect(hits(&counted, 30).enumerated().filter(\.element).map(\.offset) == [3, 4])
    }

    @Test func `follow the phases of an outage, rising and falling`() throws {
        var engine = try engine(
            #"""
            [{"fromS": 100, "effects": [{"effect": "error"}], "phases": [
              {"forS": 1000, "rate": 0.3}, {"forS": 1000, "rate": 1},
              {"forS": 1000, "rate": 0.2, "toRate": 0}]}]
            """#)
        let all = hits(&engine, 40_000, every: .milliseconds(100))
        func share(_ from: Int, _ to: Int) -> Double {
            Double(all[(from * 10)..<(to * 10)].count { $0 }) / Double((to - from) * 10)
        }
        #expect(share(0, 100) == 0)
        #expect(abs(share(100, 1100) - 0.3) < 0.03)
        #expect(share(1100, 2100) == 1)
        #expect(abs(share(2100, 3100) - 0.1) < 0.03)
        #expect(share(2100, 2600) > share(2600, 3100))
        #expect(share(3100, 4000) == 0)
    }

    @Test func `come in bursts of the mean length, at the share of time that is bad`() throws {
        var engine = try engine(
            #"""
            [{"bursts": {"badShare": 0.1, "meanBadS": 20, "goodRate": 0, "badRate": 1},
              "effects": [{"effect": "error"}]}]
            """#)
        let all = hits(&engine, 200_000)
        let bad = all.count { $0 }
        let starts = zip(all, all.dropFirst()).count { !$0 && $1 }
        // 1,000 bursts: their mean has a standard deviation of 3 %; a look each second misses the
        // shortest, which lengthens those that it sees by about half a second.
        #expect(abs(Double(bad) / 200_000 - 0.1) < 0.015)
        #expect(abs(Double(bad) / Double(starts) - 20.5) < 3)
    }

    @Test func `have their bursts at the same times however often they are asked`() throws {
        let text =
            #"""
            [{"bursts": {"badShare": 0.3, "meanBadS": 5, "goodRate": 0, "badRate": 1},
              "effects": [{"effect": "error"}]}]
            """#
        var (often, seldom) = (try engine(text), try engine(text))
        let each = hits(&often, 10_000, every: .milliseconds(100))
        let tenth = hits(&seldom, 1000)
        #expect(tenth == (0..<1000).map { each[$0 * 10] })
    }

    @Test func `befall whom they name`() throws {
        var engine = try engine(
            #"""
            [{"name": "region", "regions": ["us"], "effects": [{"effect": "error"}]},
             {"name": "key", "keys": ["two"], "effects": [{"effect": "error"}]},
             {"name": "template", "templates": ["big"], "effects": [{"effect": "error"}]},
             {"name": "get", "operations": ["get", "list"], "effects": [{"effect": "error"}]}]
            """#)
        func names(
            _ operation: Simulator.Operation, _ region: String, _ key: String, _ template: String?
        ) -> [String] {
            engine.decide(
                .init(operation, region: region, key: key, template: template), at: .zero
            ).names
        }
        #expect(names(.create, "us", "one", "base") == ["region"])
        #expect(names(.create, "eu", "two", "base") == ["key"])
        #expect(names(.create, "eu", "one", "big") == ["template"])
        #expect(names(.list, "us", "one", nil) == ["get"])
        #expect(names(.kill, "us", "two", nil) == [])
    }

    @Test func `choose among effects by weight, and the first fault has the answer`() throws {
        var engine = try engine(
            #"""
            [{"effects": [{"effect": "reset", "weight": 3}, {"effect": "hang", "weight": 1}]},
             {"effects": [{"effect": "close"}]},
             {"effects": [{"effect": "slow", "factor": 3, "addMs": 50}]},
             {"effects": [{"effect": "slow", "factor": 2}]},
             {"effects": [{"effect": "vanish", "withinS": 60}]},
             {"effects": [{"effect": "lateInList", "delayS": 4}]},
             {"effects": [{"effect": "zombie", "mode": "noEndEvent"}]}]
            """#)
        var resets = 0
        for second in 0..<4000 {
            let injection = engine.decide(create, at: .seconds(second))
            switch injection.answer {
            case .abandon(byReset: true, applied: false)?: resets += 1
            case .hang(.seconds(120), applied: false)?: break
            default: Issue.record("\(injection)")
            }
            #expect(injection.factor == 6)
            #expect(injection.plus == .milliseconds(50))
            #expect(injection.zombie == .noEndEvent)
            #expect(injection.hiddenFor == .seconds(4))
            let vanish = try #require(injection.vanishAfter)
            #expect(vanish >= .zero && vanish < .seconds(60))
        }
        #expect(abs(Double(resets) / 4000 - 0.75) < 0.04)
        #expect(engine.hits.map(\.count) == Array(repeating: 4000, count: 7))
    }
}
