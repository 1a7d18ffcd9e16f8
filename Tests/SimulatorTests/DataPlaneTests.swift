import HTTP
import IO
import JSON
import Simulator
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2)), .proves("H8")) struct `The agent in a simulated sandbox` {
    private func create(_ call: Caller) async throws -> (id: String, token: String) {
        let answer = try await call("POST", "/v2/sandboxes", #"{"templateID":"base"}"#)
        return (
            try #require(answer.json["sandboxID"]?.string),
            try #require(answer.json["envdAccessToken"]?.string)
        )
    }

    private func zombie(_ mode: ZombieMode) -> String {
        #"[{"effects": [{"effect": "zombie", "mode": "\#(mode.rawValue)"}]}]"#
    }

    @Test func `runs the health check's command as envd does`() async throws {
        try await withSimulator { call in
            let (id, token) = try await create(call)
            let answer = try await call.run("echo 'health_check'", in: id, token: token)
            #expect(answer.status == 200)
            #expect(answer.field("Content-Type") == "application/connect+json")
            let texts = answer.envelopes.map(\.text)
            #expect(texts.count == 4)
            #expect(texts[0].hasPrefix(#"{"event":{"start":{"pid":"#))
            #expect(texts[1] == #"{"event":{"data":{"stdout":"aGVhbHRoX2NoZWNrCg=="}}}"#)
            #expect(texts[2] == #"{"event":{"end":{"exited":true,"status":"exit status 0"}}}"#)
            #expect(texts[3] == "{}")
            #expect(answer.envelopes.map(\.flags) == [0, 0, 0, 2])
        }
    }

    @Test func `is found by header, by host, or by its token`() async throws {
        try await withSimulator { call in
            let (id, token) = try await create(call)
            func health(_ fields: [String: String]) async throws -> Int {
                try await call("GET", "/health", nil, fields, keyed: false).status
            }
            #expect(try await health(["E2b-Sandbox-Id": id + "-6532622b"]) == 204)
            #expect(try await health(["E2b-Sandbox-Id": "inone"]) == 502)
            // Without either it is the control plane's own health.
            #expect(try await health([:]) == 200)
            let byHost = try await onThread {
                let client = try RawClient(call.address)
                try client.send(
                    "GET /health HTTP/1.1\r\nHost: 49983-\(id).us.example\r\n\r\n")
                return try client.response().status
            }
            #expect(byHost == 204)
            let request = #"{"process":{"cmd":"pwd","args":[]}}"#
            let byToken = try await call(
                "POST", "/process.Process/Start",
                String(decoding: Envelope.wrap(Array(request.utf8)), as: UTF8.self),
                ["X-Access-Token": token, "Content-Type": "application/connect+json"], keyed: false)
            #expect(byToken.envelopes.count == 4)
        }
    }

    @Test func `wants its token, a whole envelope, and what it knows`() async throws {
        try await withSimulator { call in
            let (id, token) = try await create(call)
            let stranger = try await call.run("pwd", in: id, token: "wrong")
            #expect(stranger.status == 401)
            #expect(stranger.json["code"]?.string == "unauthenticated")
            #expect(try await call.run("pwd", in: id, token: nil).status == 401)
            let fields = ["E2b-Sandbox-Id": id, "X-Access-Token": token]
            let plain = try await call("POST", "/process.Process/Start", "{}", fields)
            #expect(plain.status == 415)
            let broken = try await call(
                "POST", "/process.Process/Start", "{}",
                fields.merging(["Content-Type": "application/connect+json"]) { $1 })
            #expect(broken.status == 400)
            #expect(broken.json["code"]?.string == "invalid_argument")
            let other = try await call("POST", "/filesystem.Filesystem/Stat", "{}", fields)
            #expect(other.status == 501)
            #expect(other.json["code"]?.string == "unimplemented")
        }
    }

    @Test func `is gone with its sandbox, paused or ended`() async throws {
        try await withSimulator { call in
            let (id, token) = try await create(call)
            #expect(try await call("POST", "/sandboxes/\(id)/pause", "{}").status == 204)
            let answer = try await call("GET", "/health", nil, ["E2b-Sandbox-Id": id])
            #expect(answer.status == 502)
            #expect(answer.json["message"]?.string == "The sandbox was not found")
            #expect(try await call.run("pwd", in: id, token: token).status == 502)
        }
    }

    @Test func `ends a command at its caller's deadline, or with the sandbox`() async throws {
        try await withSimulator { call in
            let (id, token) = try await create(call)
            let request =
                #"{"process":{"cmd":"/bin/bash","args":["-l","-c","echo a; sleep 3600"]}}"#
            let body = String(decoding: Envelope.wrap(Array(request.utf8)), as: UTF8.self)
            let fields = [
                "E2b-Sandbox-Id": id, "X-Access-Token": token,
                "Content-Type": "application/connect+json", "Connect-Timeout-Ms": "200",
            ]
            let late = try await call("POST", "/process.Process/Start", body, fields)
            #expect(late.envelopes.last?.text.contains("deadline_exceeded") == true)
            async let endless = call.run("echo a; sleep 3600", in: id, token: token)
            while try await call("GET", "/_sim").json["byRegion"]?["us"]?["command"]?["200"]?.int
                != 2
            {}
            #expect(try await call("DELETE", "/sandboxes/\(id)").status == 204)
            #expect(try await endless.envelopes.last?.text.contains("unavailable") == true)
        }
    }

    @Test func `may be dead in each way that is known`() async throws {
        for mode in ZombieMode.allCases {
            try await withSimulator(faults: zombie(mode)) { call in
                let (id, token) = try await create(call)
                let health = try await call("GET", "/health", nil, ["E2b-Sandbox-Id": id])
                #expect(health.status == (mode == .portClosed ? 502 : 204))
                if mode == .commandsHang || mode == .hangMidStream { return }
                let answer = try? await call.run("echo x", in: id, token: token)
                let texts = answer?.envelopes.map(\.text) ?? []
                switch mode {
                case .portClosed:
                    #expect(
                        answer?.json["message"]?.string
                            == "The sandbox is running but port is not open")
                case .streamError: #expect(texts.last?.contains("unavailable") == true)
                case .noEndEvent: #expect(!texts.contains { $0.contains("\"end\"") })
                case .wrongOutput: #expect(!texts.contains { $0.contains("eAo=") })
                case .nonZeroExit: #expect(texts.contains { $0.contains("\"exitCode\":254") })
                case .halfOutput: #expect(!texts.contains { $0.contains("eAo=") })
                case .resetMidStream, .resetAtOnce: #expect(answer == nil)
                case .commandsHang, .hangMidStream: break
                }
            }
        }
    }

    @Test(arguments: [ZombieMode.commandsHang, .hangMidStream])
    func `may hang with the command until the caller leaves`(mode: ZombieMode) async throws {
        try await withSimulator(faults: zombie(mode)) { call in
            let (id, token) = try await create(call)
            let request = #"{"process":{"cmd":"pwd"}}"#
            let body = String(decoding: Envelope.wrap(Array(request.utf8)), as: UTF8.self)
            let text = call.text(
                "POST", "/process.Process/Start", body,
                [
                    "E2b-Sandbox-Id": id, "X-Access-Token": token,
                    "Content-Type": "application/connect+json",
                ])
            try await onThread {
                let client = try RawClient(call.address)
                try client.send(text)
                #expect(throws: RawClient.Failure.self) {
                    try client.response(patience: .milliseconds(300))
                }
            }
        }
    }

    @Test func `may vanish before its time`() async throws {
        let faults = #"[{"effects": [{"effect": "vanish", "withinS": 60}]}]"#
        try await withSimulator(faults: faults) { call in
            let (id, token) = try await create(call)
            try await call.advance(seconds: 61)
            #expect(try await call("GET", "/sandboxes/\(id)").status == 404)
            #expect(try await call.run("pwd", in: id, token: token).status == 502)
            let lives = try await call("GET", "/_sim/sandboxes?state=ended").json["sandboxes"]?
                .array
            #expect(lives?.first?["endReason"]?.string == "vanished")
        }
    }

    @Test func `can be hit by faults of its own`() async throws {
        let faults = #"""
            [{"operations": ["health"], "limit": 1, "effects": [{"effect": "error", "status": 503, "format": "html"}]},
             {"operations": ["command"], "limit": 1, "effects": [{"effect": "malformed"}]}]
            """#
        try await withSimulator(faults: faults) { call in
            let (id, token) = try await create(call)
            let health = try await call("GET", "/health", nil, ["E2b-Sandbox-Id": id])
            #expect(health.status == 503)
            #expect(health.text.hasPrefix("<html>"))
            #expect(try await call.run("pwd", in: id, token: token).text == #"{"event":"#)
            #expect(try await call.run("pwd", in: id, token: token).envelopes.count == 4)
        }
    }
}
