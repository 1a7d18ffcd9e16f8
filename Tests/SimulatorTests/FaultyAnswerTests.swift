import Glibc
import HTTP
import IO
import JSON
import Simulator
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2)), .proves("H8")) struct `A faulty answer` {
    private let base = #"{"templateID":"base"}"#

    private func once(_ effect: String, operations: String = #"["create"]"#) -> String {
        #"[{"name": "f", "limit": 1, "operations": \#(operations), "effects": [\#(effect)]}]"#
    }

    /// Effects that answer, the status, and what the body begins with.
    static let answers: [(String, Int, String)] = [
        (#"{"effect": "error"}"#, 500, #"{"code":500,"message":"Failed to place sandbox"#),
        (#"{"effect": "error", "status": 502, "format": "html"}"#, 502, "<html>"),
        (#"{"effect": "error", "status": 504, "format": "text"}"#, 504, "Failed to place"),
        (
            #"{"effect": "error", "status": 403, "message": "team is banned"}"#, 403,
            #"{"code":403,"message":"team is banned"}"#
        ),
        (
            #"{"effect": "capacity"}"#, 503,
            #"{"code":503,"message":"Failed to place sandbox: not enough"#
        ),
        (#"{"effect": "placementTimeout"}"#, 504, #"{"code":504,"#),
        (#"{"effect": "quota"}"#, 429, #"{"code":429,"message":"you have reached the maximum"#),
        (#"{"effect": "rateLimit", "retryAfterS": 7}"#, 429, #"{"code":429,"message":"Rate limit"#),
        (#"{"effect": "malformed"}"#, 201, #"{"templateID":"base""#),
        (#"{"effect": "missingField", "field": "envdVersion"}"#, 201, #"{"templateID":"base""#),
    ]

    @Test(arguments: answers.indices)
    func `is what its effect says`(_ index: Int) async throws {
        let (effect, status, begin) = Self.answers[index]
        try await withSimulator(faults: once(effect)) { call in
            let answer = try await call("POST", "/v2/sandboxes", base)
            #expect(answer.status == status)
            #expect(answer.text.hasPrefix(begin), "\(answer.text)")
            #expect(answer.json["envdVersion"] == nil)
            _ = try await call.create()
            let calls = try await call("GET", "/_sim/book").json["calls"]?.array ?? []
            #expect(calls.map { $0["injected"]?.array.count } == [1, 0])
            #expect(calls.first?["status"]?.int == status)
            #expect(calls.first?["applied"] == .bool(status == 201))
        }
    }

    @Test(arguments: ["rateLimit", "error"])
    func `carries the fields that clients obey`(_ effect: String) async throws {
        let text = #"{"effect": "\#(effect)", "retryAfterS": 7, "shouldRetry": false}"#
        try await withSimulator(faults: once(text)) { call in
            let answer = try await call("POST", "/v2/sandboxes", base)
            #expect(answer.field("Retry-After") == "7")
            #expect(answer.field("Should-Retry") == "false")
        }
    }

    @Test(arguments: ["reset", "close", "hang"], [true, false])
    func `may be none, whether or not the work was done`(
        _ effect: String, _ isApplied: Bool
    ) async throws {
        let length = effect == "hang" ? #""forS": 0.1, "# : ""
        let text = #"{"effect": "\#(effect)", \#(length)"applied": \#(isApplied)}"#
        try await withSimulator(faults: once(text)) { call in
            let request = call.text("POST", "/v2/sandboxes", base)
            let code: Int32? = try await onThread {
                let client = try RawClient(call.address)
                try client.send(request)
                do {
                    _ = try client.response()
                    return nil
                } catch RawClient.Failure.reading(let code) {
                    return code
                } catch RawClient.Failure.ended {
                    return 0
                }
            }
            #expect(code == (effect == "close" ? 0 : ECONNRESET))
            let lives = try await call("GET", "/_sim/sandboxes").json["sandboxes"]?.array ?? []
            #expect(lives.count == (isApplied ? 1 : 0))
            #expect(lives.allSatisfy { $0["answered"] == .bool(false) })
            let calls = try await call("GET", "/_sim/book").json["calls"]?.array ?? []
            #expect(calls.first?["ending"]?.string == effect)
            #expect(calls.first?["applied"] == .bool(isApplied))
        }
    }

    @Test func `may break off in the body by a reset`() async throws {
        try await withSimulator(faults: once(#"{"effect": "resetInBody"}"#)) { call in
            let request = call.text("POST", "/v2/sandboxes", base)
            let code: Int32 = try await onThread {
                let client = try RawClient(call.address)
                try client.send(request)
                do {
                    _ = try client.response()
                    return -1
                } catch RawClient.Failure.reading(let code) { return code }
            }
            #expect(code == ECONNRESET)
        }
    }

    @Test func `may be late, by a factor or a time`() async throws {
        let slow = #"{"effect": "slow", "factor": 1, "addMs": 300}"#
        try await withSimulator(faults: once(slow)) { call in
            let start = MonotonicInstant.now
            _ = try await call.create()
            #expect(start.duration(to: .now) >= .milliseconds(300))
            let calls = try await call("GET", "/_sim/book").json["calls"]?.array ?? []
            #expect((calls.first?["tookMs"]?.int ?? 0) >= 300)
        }
    }

    @Test func `may be a list that does not have the newest yet`() async throws {
        try await withSimulator(faults: once(#"{"effect": "lateInList", "delayS": 60}"#)) { call in
            let late = try await call.create()
            let other = try await call.create()
            func listed() async throws -> [String?] {
                try await call("GET", "/v2/sandboxes").json.array.map { $0["sandboxID"]?.string }
            }
            #expect(try await listed() == [other])
            #expect(try await call("GET", "/sandboxes/\(late)").status == 200)
            try await call.advance(seconds: 61)
            #expect(try await listed() == [other, late])
        }
    }

    @Test func `is of one region alone if it says so`() async throws {
        let faults = #"[{"regions": ["eu"], "effects": [{"effect": "capacity"}]}]"#
        let more = #"""
            , {"name": "eu", "listen": ["127.0.0.1:0"], "keys": {"one": "e2b_e0"},
               "latency": {"createMs": 0, "otherMs": 0}}
            """#
        try await withSimulator(try script(faults: faults, more: more)) { addresses, _ in
            let (us, eu) = (
                Caller(address: addresses[0]), Caller(address: addresses[1], key: "e2b_e0")
            )
            let id = try await us.create()
            #expect(try await eu("POST", "/v2/sandboxes", base).status == 503)
            #expect(try await us("GET", "/sandboxes/\(id)").status == 200)
            // A sandbox is reached through any region's address, as one E2B_SANDBOX_URL does.
            let health = try await eu("GET", "/health", nil, ["E2b-Sandbox-Id": id])
            #expect(health.status == 204)
            // Each region has its own keys.
            #expect(try await Caller(address: addresses[1])("GET", "/v2/sandboxes").status == 401)
        }
    }

    @Test func `can be told to the simulator while it runs`() async throws {
        try await withSimulator { call in
            _ = try await call.create()
            let region = #"{"name": "us", "keys": {"one": "\#(key)"}}"#
            let fault = #"{"effects": [{"effect": "capacity"}]}"#
            let put = try await call(
                "PUT", "/_sim/script", #"{"regions": [\#(region)], "faults": [\#(fault)]}"#)
            #expect(put.status == 204)
            #expect(try await call("POST", "/v2/sandboxes", base).status == 503)
            #expect(try await call("GET", "/_sim/script").text.contains("capacity"))

            let bad = try await call(
                "PUT", "/_sim/script", #"{"regions": [\#(region)], "faults": [{"rate": 2}]}"#)
            #expect(bad.status == 400)
            #expect(bad.json["pointer"]?.string == "/faults/0/rate")
            let other = #"{"regions": [{"name": "eu", "keys": {"a": "b"}}]}"#
            #expect(
                try await call("PUT", "/_sim/script", other).json["pointer"]?.string == "/regions")
            #expect(try await call("POST", "/v2/sandboxes", base).status == 503)

            #expect(try await call("POST", "/_sim/reset").status == 204)
            #expect(try await call("GET", "/_sim").json["calls"]?.int == 0)
            #expect(try await call("GET", "/v2/sandboxes").json.array.isEmpty)
        }
    }

    @Test func `that is lost shows as a duplicate when it is tried again`() async throws {
        let lost = #"{"effect": "reset", "applied": true}"#
        try await withSimulator(faults: once(lost)) { call in
            let body = #"{"templateID":"base","metadata":{"attempt":"a1"}}"#
            await #expect(throws: (any Error).self) { try await call.create(body) }
            _ = try await call.create(body)
            _ = try await call.create(#"{"templateID":"base","metadata":{"attempt":"a2"}}"#)
            let found = try await call("GET", "/_sim/duplicates?by=attempt").json
            #expect(found["values"]?.int == 2)
            #expect(found["sandboxes"]?.int == 3)
            #expect(found["repeated"]?.int == 1)
            #expect(found["examples"]?.array.first?["value"]?.string == "a1")
        }
    }

    @Test func `is the same for the same seed and the same calls`() async throws {
        let faults = #"""
            [{"rate": 0.4, "effects": [{"effect": "error"}, {"effect": "capacity"}]},
             {"rate": 0.2, "effects": [{"effect": "missingField"}]}]
            """#
        /// What 60 creations came to, and the ids of those that were made.
        func run(seed: UInt64) async throws -> [String] {
            var outcomes: [String] = []
            var script = try script(faults: faults)
            script.seed = seed
            try await withSimulator(script) { addresses, _ in
                let call = Caller(address: addresses[0])
                for _ in 0..<60 {
                    let answer = try await call("POST", "/v2/sandboxes", base)
                    let id = answer.json["sandboxID"]?.string ?? "-"
                    outcomes.append("\(answer.status) \(id)")
                }
            }
            return outcomes
        }
        let first = try await run(seed: 3)
        #expect(Set(first.map { $0.prefix(3) }) == ["201", "500", "503"])
        #expect(try await run(seed: 3) == first)
        #expect(try await run(seed: 4) != first)
    }

    @Test func `does not keep the simulator from stopping`() async throws {
        let hang = once(#"{"effect": "hang", "forS": 3600}"#)
        let start = MonotonicInstant.now
        try await withSimulator(try script(faults: hang)) { addresses, server in
            let call = Caller(address: addresses[0])
            let client = try RawClient(addresses[0])
            try client.send(call.text("POST", "/v2/sandboxes", base))
            while try await call("GET", "/_sim").json["calls"]?.int == 0 {}
            await server.drain(within: .milliseconds(100))
            withExtendedLifetime(client) {}
        }
        #expect(start.duration(to: .now) < .seconds(20))
    }
}
