import Foundation
import JSON
import Simulator
import Testing

@Suite(.timeLimit(.minutes(2))) struct `A script` {
    /// Faults that are refused, and the member that is to blame.
    static let refused: [(faults: String, pointer: String)] = [
        (#"[{}]"#, "/faults/0"),
        (#"[{"effects": []}]"#, "/faults/0"),
        (#"[{"effects": [{"effect": "explode"}]}]"#, "/faults/0/effects/0/effect"),
        (#"[{"effects": [{}]}]"#, "/faults/0/effects/0"),
        (#"[{"effects": [{"effect": "error", "status": 200}]}]"#, "/faults/0/effects/0/status"),
        (
            #"[{"effects": [{"effect": "error", "statusCode": 500}]}]"#,
            "/faults/0/effects/0/statusCode"
        ),
        (#"[{"effects": [{"effect": "reset", "status": 500}]}]"#, "/faults/0/effects/0"),
        (#"[{"effects": [{"effect": "zombie"}]}]"#, "/faults/0/effects/0"),
        (#"[{"effects": [{"effect": "zombie", "mode": "odd"}]}]"#, "/faults/0/effects/0/mode"),
        (#"[{"effects": [{"effect": "error"}], "rate": 1.5}]"#, "/faults/0/rate"),
        (#"[{"effects": [{"effect": "error"}], "rate": "1"}]"#, "/faults/0/rate"),
        (
            #"[{"effects": [{"effect": "error"}], "rate": 1, "phases": [{"forS": 1, "rate": 1}]}]"#,
            "/faults/0"
        ),
        (#"[{"effects": [{"effect": "error"}], "phases": [{"rate": 1}]}]"#, "/faults/0/phases/0"),
        (#"[{"effects": [{"effect": "error"}], "bursts": {}}]"#, "/faults/0/bursts"),
        (
            #"[{"effects": [{"effect": "error"}], "operations": ["createe"]}]"#,
            "/faults/0/operations/0"
        ),
        (#"[{"effects": [{"effect": "error"}], "regions": ["mars"]}]"#, "/faults/0/regions"),
        (#"[{"effects": [{"effect": "error"}], "keys": ["three"]}]"#, "/faults/0/keys"),
        (#"[{"effects": [{"effect": "error"}], "chance": 1}]"#, "/faults/0/chance"),
        (
            #"[{"effects": [{"effect": "vanish", "withinS": 1}], "operations": ["get"]}]"#,
            "/faults/0"
        ),
        (#"[{"effects": [{"effect": "hang", "forS": -1}]}]"#, "/faults/0/effects/0/forS"),
    ]

    @Test(arguments: refused.map(\.faults))
    func `is refused by an error that points to the member`(_ faults: String) throws {
        let pointer = try #require(Self.refused.first { $0.faults == faults }?.pointer)
        do {
            _ = try script(faults: faults)
            Issue.record("taken: \(faults)")
        } catch let error as JSONError {
            #expect(error.pointer == pointer, "\(error)")
        }
    }

    @Test func `needs regions with names and keys of their own`() throws {
        func pointer(_ text: String) throws -> String {
            do {
                _ = try read(text)
                return "taken"
            } catch let error as JSONError { return error.pointer }
        }
        #expect(try pointer("{}") == "")
        #expect(try pointer(#"{"regions": []}"#) == "/regions")
        #expect(try pointer(#"{"regions": [{"name": "us"}]}"#) == "/regions/0")
        #expect(try pointer(#"{"regions": [{"keys": {"a": "b"}}]}"#) == "/regions/0")
        #expect(
            try pointer(
                #"{"regions": [{"name": "us", "keys": {"a": "x"}}, {"name": "us", "keys": {"a": "y"}}]}"#
            )
                == "/regions/1")
        #expect(
            try pointer(#"{"regions": [{"name": "us", "keys": {"a": "x", "b": "x"}}]}"#)
                == "/regions/0/keys/b")
        #expect(
            try pointer(#"{"regions": [{"name": "us", "keys": {"a": "x"}, "listen": ["here"]}]}"#)
                == "/regions/0/listen/0")
    }

    /// Every example of the page that shows a whole script.
    @Test func `is in the page as the simulator reads it`() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let page = try String(
            contentsOf: root.appendingPathComponent("docs/simulator.md"), encoding: .utf8)
        let blocks = page.components(separatedBy: "```json\n").dropFirst().compactMap {
            $0.components(separatedBy: "```").first
        }
        var scripts = 0
        for block in blocks {
            if block.contains("\"seed\"") {
                scripts += 1
                do { _ = try read(block) } catch { Issue.record("\(error) in \(block)") }
            } else if block.contains("\"effects\"") {
                scripts += 1
                do { _ = try script(faults: "[\(block)]", more: Self.others) } catch {
                    Issue.record("\(error) in \(block)")
                }
            }
        }
        #expect(scripts >= 10)
    }

    /// What the page's single faults name.
    private static let others = #", {"name": "eu", "keys": {"free-plan": "e2b_33"}}"#
}
