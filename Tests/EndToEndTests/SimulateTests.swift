import Foundation
import Glibc
import JSON
import TestSupport
import Testing

@Suite(.proves("H8"), .timeLimit(.minutes(3))) struct `The command simulate` {
    private static let hang = #"""
        {"regions": [{"name": "us", "listen": ["127.0.0.1:0"], "keys": {"one": "e2b_01"}},
                     {"name": "eu", "listen": ["127.0.0.1:0"], "keys": {"one": "e2b_02"}}],
         "faults": [{"effects": [{"effect": "hang", "forS": 600}]}]}
        """#

    /// The values of one variable in what it printed.
    private func values(_ name: String, in output: String) -> [String] {
        output.split(separator: "\n").compactMap { line in
            line.hasPrefix("export \(name)=") ? String(line.dropFirst(name.count + 8)) : nil
        }
    }

    @Test func `says for each region how the SDK gets there, and stops whatever is in hand`()
        async throws
    {
        try await Scratch.with { scratch in
            try scratch.write(Self.hang, to: "script.json")
            let child = try scratch.breakwater(["simulate", "--script", scratch("script.json")])
            let output = try await eventually("it is there") { () async throws -> String? in
                let text = try String(contentsOfFile: child.output, encoding: .utf8)
                return values("E2B_API_KEY", in: text).count == 2 ? text : nil
            }
            #expect(values("E2B_API_KEY", in: output) == ["e2b_01", "e2b_02"])
            let urls = values("E2B_API_URL", in: output)
            #expect(urls == values("E2B_SANDBOX_URL", in: output))
            #expect(Set(urls).count == 2)
            let port = try #require(urls[0].split(separator: ":").last.flatMap { UInt16($0) })
            let steering = try Wire(port: port)
            #expect(try await steering.call("GET", "/health").status == 200)
            let waiting = Task {
                try await Wire(port: port).call(
                    "POST", "/v2/sandboxes", #"{"templateID":"base"}"#,
                    fields: ["X-API-Key": "e2b_01"])
            }
            try await eventually("the creation hangs") {
                let answer = try await steering.call("GET", "/_sim")
                return answer.json?["calls"] == .number(JSONNumber(1))
            }
            child.signal(SIGTERM)
            #expect(try await child.ended(within: .seconds(15)) == .exited(0))
            await #expect(throws: Failure.self) { _ = try await waiting.value }
            #expect(try String(contentsOfFile: child.errors, encoding: .utf8) == "")
        }
    }

    /// Arguments, and what is said of them. `%` is the script.
    static let refused: [(arguments: [String], script: String, words: String)] = [
        (["--script", "%"], #"{"regions": []}"#, "/regions: expected a region"),
        (
            ["--script", "%", "--check"], #"{"regions": [{"name": 1}]}"#,
            "/regions/0/name: expected a string"
        ),
        (["--script", "%"], "{", "expected more, the document ends here"),
        (["--script", "/nowhere"], "", "cannot read /nowhere"),
        (["--listen", "nowhere"], "", "--listen nowhere: must be host:port"),
        (["--seed=-1"], "", "The value '-1' is invalid for '--seed <seed>'"),
        (["--key", ""], "", "--key: /regions/0/keys/primary: expected a string that is not empty"),
    ]

    @Test(arguments: refused.indices)
    func `refuses what it cannot play`(_ index: Int) async throws {
        let (arguments, script, words) = Self.refused[index]
        try await Scratch.with { scratch in
            try scratch.write(script, to: "script.json")
            let outcome = try await scratch.run(
                ["simulate"] + arguments.map { $0 == "%" ? scratch("script.json") : $0 })
            #expect(outcome.end == .exited(64))
            #expect(outcome.errors.contains(words), "\(outcome.errors)")
        }
    }

    @Test func `says who cannot listen where, and finds a sound script sound`() async throws {
        try await Scratch.with { scratch in
            let text =
                #"{"regions": [{"name": "us", "listen": ["192.0.2.1:1"], "keys": {"a": "b"}}]}"#
            try scratch.write(text, to: "script.json")
            let path = scratch("script.json")
            let sound = try await scratch.run(["simulate", "--script", path, "--check"])
            #expect(sound.end == .exited(0))
            #expect(sound.output == "the script is sound\n")
            let started = try await scratch.run(["simulate", "--script", path])
            #expect(started.end == .exited(1))
            #expect(started.errors.contains("region us cannot listen on 192.0.2.1:1"))
        }
    }
}
