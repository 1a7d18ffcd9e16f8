import JSON
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2)), .proves("H8")) struct `The simulated control plane` {
    private let base = #"{"templateID":"base"}"#

    @Test func `creates, shows, extends, pauses, wakes and kills`() async throws {
        try await withSimulator { call in
            let created = try await call(
                "POST", "/v2/sandboxes", #"{"templateID":"base","timeout":60,"metadata":{"a":"1"}}"#
            )
            #expect(created.status == 201)
            let id = try #require(created.json["sandboxID"]?.string)
            #expect(created.json["domain"]?.string == "us.example")
            #expect(created.json["envdAccessToken"]?.string?.count == 48)

            let detail = try await call("GET", "/sandboxes/\(id)-6532622b")
            #expect(detail.json["state"]?.string == "running")
            #expect(detail.json["metadata"]?["a"]?.string == "1")
            #expect(
                try await call("POST", "/sandboxes/\(id)/timeout", #"{"timeout":100}"#).status
                    == 204)
            #expect(
                try await call("POST", "/sandboxes/\(id)/refreshes", #"{"duration":5}"#).status
                    == 204)
            #expect(try await call("POST", "/v2/sandboxes/\(id)/connect", "{}").status == 200)
            #expect(try await call("POST", "/sandboxes/\(id)/resume", "{}").status == 409)

            #expect(try await call("POST", "/sandboxes/\(id)/pause", "{}").status == 204)
            let again = try await call("POST", "/sandboxes/\(id)/pause", "{}")
            #expect(again.status == 409)
            #expect(again.json["message"]?.string == "Sandbox \"\(id)\" is already paused")
            #expect(
                try await call("POST", "/sandboxes/\(id)/timeout", #"{"timeout":1}"#).status == 404)
            #expect(
                try await call("POST", "/sandboxes/\(id)/connect", #"{"timeout":9}"#).status == 201)

            #expect(try await call("GET", "/sandboxes/\(id)/metrics").json.array.count == 1)
            #expect(try await call("DELETE", "/sandboxes/\(id)").status == 204)
            let gone = try await call("DELETE", "/sandboxes/\(id)")
            #expect(gone.status == 404)
            #expect(
                gone.json["message"]?.string
                    == "Sandbox \"\(id)\" doesn't exist or you don't have access to it")
        }
    }

    /// Calls that are refused: method, path, body, status, and how the message begins.
    static let refused: [(String, String, String?, Int, String)] = [
        ("POST", "/v2/sandboxes", "{}", 400, "validation error"),
        ("POST", "/v2/sandboxes", "[]", 400, "validation error"),
        ("POST", "/v2/sandboxes", "{", 400, "validation error"),
        ("POST", "/v2/sandboxes", #"{"templateID":"base","timeout":0}"#, 400, "Timeout must be"),
        (
            "POST", "/v2/sandboxes", #"{"templateID":"base","timeout":86401}"#, 400,
            "Timeout cannot be greater than 24 hours"
        ),
        ("POST", "/v2/sandboxes", #"{"templateID":"base","timeout":1.5}"#, 400, "validation error"),
        (
            "POST", "/v2/sandboxes", #"{"templateID":"base","metadata":{"a":1}}"#, 400,
            "validation error"
        ),
        ("POST", "/v2/sandboxes", #"{"templateID":"other"}"#, 404, "template 'other' not found"),
        ("POST", "/sandboxes/ix/connect", "{}", 400, "validation error"),
        ("GET", "/sandboxes/ix", nil, 404, "Sandbox \"ix\""),
        ("GET", "/templates/aliases/other", nil, 404, "template 'other'"),
        ("GET", "/v2/sandboxes?state=ended", nil, 400, "validation error"),
        ("GET", "/v2/sandboxes?limit=101", nil, 400, "validation error"),
        ("GET", "/v2/sandboxes?nextToken=x", nil, 400, "Invalid next token"),
        ("GET", "/v2/sandboxes?metadata=a%3D%25zz", nil, 400, "validation error"),
        ("GET", "/nowhere", nil, 404, "path not found"),
    ]

    @Test(arguments: refused.indices)
    func `refuses in the provider's words`(_ index: Int) async throws {
        let (method, path, body, status, words) = Self.refused[index]
        try await withSimulator(templates: #"["base"]"#) { call in
            let answer = try await call(method, path, body)
            #expect(answer.status == status)
            #expect(answer.json["code"]?.int == status)
            #expect(answer.json["message"]?.string?.hasPrefix(words) == true, "\(answer.text)")
        }
    }

    @Test func `wants a key of the region, and shows a key only what is its own`() async throws {
        try await withSimulator { call in
            let stranger = Caller(address: call.address, key: "e2b_ff")
            let refused = try await stranger("POST", "/v2/sandboxes", base)
            #expect(refused.status == 401)
            #expect(
                refused.json["message"]?.string?.hasPrefix("Invalid API key, please visit") == true)
            let other = Caller(address: call.address, key: "e2b_22")
            let id = try await call.create()
            #expect(try await other("GET", "/sandboxes/\(id)").status == 404)
            #expect(try await other("GET", "/v2/sandboxes").json.array.isEmpty)
        }
    }

    @Test func `lists by metadata that is encoded three times, by state, in pages`() async throws {
        try await withSimulator { call in
            let wanted = try await call.create(
                #"{"templateID":"base","metadata":{"a":"b c","x":"&=%"}}"#)
            for _ in 0..<4 { _ = try await call.create() }
            let found = try await call(
                "GET", "/v2/sandboxes?metadata=a%3Db%252520c%26x%3D%252526%25253D%252525")
            #expect(found.json.array.compactMap { $0["sandboxID"]?.string } == [wanted])

            #expect(try await call("POST", "/sandboxes/\(wanted)/pause", "{}").status == 204)
            #expect(try await call("GET", "/v2/sandboxes?state=paused").json.array.count == 1)
            #expect(try await call("GET", "/sandboxes").json.array.count == 4)

            var (ids, token): ([String], String?) = ([], nil)
            repeat {
                let page = try await call(
                    "GET", "/v2/sandboxes?limit=2" + (token.map { "&nextToken=\($0)" } ?? ""))
                #expect(page.field("X-Total-Running") == "4")
                ids += page.json.array.compactMap { $0["sandboxID"]?.string }
                token = page.field("X-Next-Token")
            } while token != nil
            #expect(ids.count == 5 && Set(ids).count == 5)
            #expect(ids.last == wanted)
        }
    }

    @Test func `lets time end sandboxes, or pause them`() async throws {
        try await withSimulator { call in
            let short = try await call.create(#"{"templateID":"base","timeout":30}"#)
            let paused = try await call.create(
                #"{"templateID":"base","timeout":30,"autoPause":true}"#)
            let old = try await call("POST", "/sandboxes", base)  // 15 s by the first API
            try await call.advance(seconds: 20)
            let first = try #require(old.json["sandboxID"]?.string)
            #expect(try await call("GET", "/sandboxes/\(first)").status == 404)
            #expect(try await call("GET", "/sandboxes/\(short)").status == 200)
            try await call.advance(seconds: 20)
            #expect(try await call("GET", "/sandboxes/\(short)").status == 404)
            #expect(
                try await call("GET", "/sandboxes/\(paused)").json["state"]?.string == "paused")
            let lives = try await call("GET", "/_sim/sandboxes").json["sandboxes"]?.array ?? []
            #expect(lives.map { $0["endReason"]?.string } == ["timeout", nil, "timeout"])
            let ran = lives.compactMap { $0["ranMs"]?.int }
            #expect(ran == [30_000, 30_000, 15_000])
        }
    }

    @Test func `limits the rate of creations and their number`() async throws {
        // A place comes back after 5 s: none does while a busy machine gets to the third call.
        let limits = #"{"createsPerS": 0.2, "createBurst": 2, "concurrent": 3}"#
        try await withSimulator(limits: limits) { call in
            _ = try await call.create()
            _ = try await call.create()
            let limited = try await call("POST", "/v2/sandboxes", base)
            #expect(limited.status == 429)
            #expect(limited.json["message"]?.string == "Rate limit exceeded")
            let wait = try #require(limited.field("Retry-After").flatMap { Int($0) })
            #expect((3...5).contains(wait), "\(wait)")
            #expect(limited.field("RateLimit-Limit") == "2")
            #expect(limited.field("RateLimit-Remaining") == "0")
            let other = Caller(address: call.address, key: "e2b_22")
            _ = try await other.create()
            try await call.advance(seconds: 10)
            _ = try await call.create()
            let full = try await call("POST", "/v2/sandboxes", base)
            #expect(full.status == 429)
            #expect(full.field("Retry-After") == nil)
            #expect(
                full.json["message"]?.string?.hasPrefix(
                    "you have reached the maximum number of concurrent E2B sandboxes (3).") == true)
        }
    }

    @Test func `makes one sandbox for one idempotency key`() async throws {
        try await withSimulator { call in
            let key = ["Idempotency-Key": "a-1"]
            let first = try await call.create(base, key)
            #expect(try await call.create(base, key) == first)
            let other = try await call("POST", "/v2/sandboxes", #"{"templateID":"b"}"#, key)
            #expect(other.status == 422)
            #expect(other.json["error_code"]?.string == "idempotency_request_mismatch")
            let bad = try await call("POST", "/v2/sandboxes", base, ["Idempotency-Key": "A_1"])
            #expect(bad.status == 400)
            // The first API does not know the key.
            let old = try await call("POST", "/sandboxes", base, key)
            #expect(old.json["sandboxID"]?.string != first)
            #expect(try await call("GET", "/_sim").json["sandboxes"]?["created"]?.int == 2)
        }
    }

    @Test func `says that a keyed creation is in progress, or lost track of`() async throws {
        let faults = #"""
            [{"limit": 1, "effects": [{"effect": "hang", "forS": 0.5, "applied": true}]},
             {"skip": 1, "limit": 1, "effects": [{"effect": "slow", "addMs": 2500}]},
             {"skip": 3, "limit": 1, "effects": [{"effect": "placementTimeout"}]}]
            """#
        try await withSimulator(faults: faults) { call in
            // The answer is lost: the second call gets the same sandbox.
            let lost = ["Idempotency-Key": "lost"]
            await #expect(throws: (any Error).self) { try await call.create(base, lost) }
            async let slow = call.create(base, ["Idempotency-Key": "slow"])
            while try await call("GET", "/_sim").json["faults"]?.array[1]["hits"]?.int != 1 {}
            let twin = try await call("POST", "/v2/sandboxes", base, ["Idempotency-Key": "slow"])
            #expect(twin.status == 409)
            #expect(twin.json["error_code"]?.string == "idempotency_in_progress")
            _ = try await slow
            let timeout = try await call("POST", "/v2/sandboxes", base, ["Idempotency-Key": "x"])
            #expect(timeout.status == 504)
            let unknown = try await call("POST", "/v2/sandboxes", base, ["Idempotency-Key": "x"])
            #expect(unknown.json["error_code"]?.string == "idempotency_outcome_unknown")
            let found = try await call.create(base, lost)
            let lives = try await call("GET", "/_sim/sandboxes").json["sandboxes"]?.array ?? []
            #expect(lives.first?["sandboxID"]?.string == found)
            #expect(lives.count == 2)
        }
    }
}
