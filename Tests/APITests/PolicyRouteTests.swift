import ControlPlane
import JSON
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The policy calls` {
    private static let hour = #"{"limits":[{"limit":2,"windowS":3600}]}"#

    @Test(.proves("E5", "H2"))
    func `make, show, replace and end a policy by its version`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.record, .read, .admin])
            let made = try await client.send("PUT", "/v1/policies/op", Self.hour)
            #expect(made.status == 201)
            #expect(made.fields["location"] == "/v1/policies/op")
            let tag = try #require(made.fields["etag"])
            let shown = try await client.get("/v1/policies/op")
            #expect(shown.fields["etag"] == tag && shown.text == made.text)
            #expect(shown.json?["limits"]?[0]?["mode"]?.text == "enforce")
            let blind = try await client.send("PUT", "/v1/policies/op", Self.hour)
            #expect(blind.status == 428 && blind.problem == "precondition-required")
            let old = try await client.send(
                "PUT", "/v1/policies/op", Self.hour, ["If-Match": "\"999\""])
            #expect(old.status == 412 && old.problem == "precondition-failed")
            let second = try await client.send(
                "PUT", "/v1/policies/op", Self.hour, ["If-None-Match": "*"])
            #expect(second.status == 412)
            let put = try await client.send(
                "PUT", "/v1/policies/op", Self.hour, ["If-Match": tag])
            #expect(put.status == 200 && put.fields["etag"] != tag)
            let none = try await client.send(
                "PUT", "/v1/policies/other", Self.hour, ["If-Match": tag])
            #expect(none.status == 412)
            let gone = try await client.send(
                "DELETE", "/v1/policies/op", nil, ["If-Match": "*"])
            #expect(gone.status == 204)
            #expect(try await client.get("/v1/policies/op").status == 404)
            let audit = try await client.get(
                "/v1/admin/tenants/\(try #require(try await client.get("/v1/whoami").json?["tenantId"]?.text))/audit"
            )
            #expect(audit.json?["items"]?[0]?["action"]?.text == "policy.delete")
        }
    }

    @Test(.proves("E5"))
    func `are felt by acquire, check and the headers`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.record, .read, .admin])
            _ = try await client.send("PUT", "/v1/policies/op", Self.hour)
            let first = try await client.post("/v1/rate-limits/acquire", #"{"operation":"op"}"#)
            #expect(first.json?["limit"]?.integer == 2 && first.json?["policy"]?.text == "op")
            #expect(first.fields["ratelimit-policy"] == #""op/3600";q=2;w=3600"#)
            #expect(first.fields["ratelimit"] == #""op/3600";r=1;t=3600"#)
            let check = try await client.get("/v1/rate-limits/check?operation=op&maxPerHour=100")
            #expect(check.json?["limit"]?.integer == 100 && check.json?["remaining"]?.integer == 99)
            #expect(check.json?["stricter"]?["limit"]?.integer == 2)
            let alone = try await client.get("/v1/rate-limits/check?operation=op")
            #expect(alone.json?["limit"]?.integer == 2 && alone.json?["policy"]?.text == "op")
            _ = try await client.post("/v1/rate-limits/acquire", #"{"operation":"op"}"#)
            let denied = try await client.post(
                "/v1/rate-limits/acquire", #"{"operation":"op","maxPerHour":100}"#)
            #expect(denied.status == 429 && denied.json?["policy"]?.text == "op")
            #expect(denied.fields["ratelimit"]?.hasPrefix(#""op/3600";r=0;t="#) == true)
            let retry = try #require(denied.fields["retry-after"].flatMap { Int($0) })
            #expect((3500...3600).contains(retry))
            let never = try await client.post(
                "/v1/rate-limits/acquire", #"{"operation":"op","cost":3}"#)
            #expect(never.status == 422 && never.problem == "cost-exceeds-limit")
            let states = try await client.get("/v1/rate-limits")
            #expect(states.json?["items"]?[0]?["operation"]?.text == "op")
            #expect(states.json?["items"]?[0]?["limits"]?[0]?["exceeded"]?.flag == true)
            let free = try await client.post("/v1/rate-limits/acquire", #"{"operation":"free"}"#)
            #expect(free.status == 200 && free.fields["ratelimit"] == nil)
            #expect(free.text.contains(#""limit":null"#))
        }
    }

    @Test(.proves("E5"))
    func `let an override stand in, with its author and reason`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.record, .read, .admin])
            _ = try await client.send("PUT", "/v1/policies/op", Self.hour)
            let body =
                #"{"limits":[{"limit":9,"windowS":3600}],"expiresAt":"2099-01-01T00:00:00Z","reason":"launch"}"#
            let put = try await client.send("PUT", "/v1/policies/op/override", body)
            #expect(put.status == 200 && put.json?["override"]?["reason"]?.text == "launch")
            #expect(put.json?["override"]?["author"]?.text?.hasPrefix("key:") == true)
            let acquired = try await client.post("/v1/rate-limits/acquire", #"{"operation":"op"}"#)
            #expect(acquired.json?["limit"]?.integer == 9)
            #expect(try await client.send("DELETE", "/v1/policies/op/override").status == 204)
            let again = try await client.post("/v1/rate-limits/acquire", #"{"operation":"op"}"#)
            #expect(again.json?["limit"]?.integer == 2)
            #expect(try await client.send("DELETE", "/v1/policies/op/override").status == 404)
            let past = body.replacing("2099", with: "2001")
            #expect(try await client.send("PUT", "/v1/policies/op/override", past).status == 400)
            #expect(try await client.send("PUT", "/v1/policies/no/override", body).status == 404)
        }
    }

    @Test(
        .proves("H2"),
        arguments: [
            (#"{}"#, ""), (#"{"limits":[]}"#, "/limits"),
            (#"{"limits":[{"limit":1}]}"#, "/limits/0"),
            (#"{"limits":[{"limit":1,"windowS":0}]}"#, "/limits/0/windowS"),
            (#"{"limits":[{"limit":1,"windowS":2678401}]}"#, "/limits/0/windowS"),
            (#"{"limits":[{"limit":-1,"windowS":1}]}"#, "/limits/0/limit"),
            (#"{"limits":[{"limit":1,"windowS":1,"mode":"on"}]}"#, "/limits/0/mode"),
            (#"{"limits":[{"limit":1,"windowS":1,"warnAt":2}]}"#, "/limits/0/warnAt"),
            (#"{"limits":[{"limit":1,"windowS":1},{"limit":2,"windowS":1}]}"#, "/limits/1"),
            (#"{"limits":[{"limit":1,"windowS":1}],"onOutage":"maybe"}"#, "/onOutage"),
            (#"{"limits":[{"limit":1,"windowS":1}],"more":1}"#, "/more"),
        ])
    func `name the field that is wrong`(body: String, pointer: String) async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant(.admin)
            let answer = try await client.send("PUT", "/v1/policies/op", body)
            #expect(answer.status == 400, "\(answer.text)")
            let found = answer.json?["errors"]?[0]?["pointer"]?.text
            #expect(found == pointer, "\(answer.text)")
            #expect(try await client.get("/v1/policies/op").status == 404)
        }
    }

    @Test(.proves("H2"))
    func `page, and keep a tenant's apart`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.record, .read, .admin])
            let (_, other) = try await served.tenant([.record, .read, .admin])
            for name in ["c", "a", "*", "b"] {
                _ = try await client.send("PUT", "/v1/policies/\(name)", Self.hour)
            }
            let first = try await client.get("/v1/policies?limit=3")
            let cursor = try #require(first.json?["nextCursor"]?.text)
            let second = try await client.get("/v1/policies?limit=3&cursor=\(cursor)")
            let names = [first, second].flatMap { page in
                (0..<4).compactMap { page.json?["items"]?[$0]?["operation"]?.text }
            }
            #expect(names == ["*", "a", "b", "c"])
            #expect(second.json?["nextCursor"]?.text == nil)
            #expect(try await other.get("/v1/policies").json?["items"]?.count == 0)
            #expect(try await other.get("/v1/policies/a").status == 404)
            #expect(
                try await other.send("DELETE", "/v1/policies/a", nil, ["If-Match": "*"]).status
                    == 404)
            #expect(try await client.get("/v1/policies?limit=1&cursor=zz").status == 400)
            let limits = try await client.get("/v1/rate-limits?limit=2")
            #expect(limits.json?["items"]?.count == 2 && limits.json?["nextCursor"]?.text != nil)
        }
    }
}

@Suite struct `The calls for many and for one` {
    @Test(.proves("E5"))
    func `answer a batch in order, one bad item harming no other`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let body =
                #"{"requests":[{"operation":"op"},{"operation":"Bad"},7,{"operation":"op","cost":2}]}"#
            let answer = try await client.post("/v1/requests/batch", body)
            #expect(answer.status == 200)
            let results = try #require(answer.json?["results"])
            #expect((0..<4).map { results[$0]?["status"]?.integer } == [201, 400, 400, 201])
            #expect(results[1]?["errors"]?[0]?["pointer"]?.text == "/operation")
            #expect(results[3]?["cost"]?.integer == 2)
            #expect(try await client.get("/v1/stats").json?["totalRequests"]?.integer == 3)
            let acquired = try await client.post(
                "/v1/rate-limits/acquire/batch",
                #"{"requests":[\#(Array(repeating: #"{"operation":"op","maxPerHour":5}"#, count: 4).joined(separator: ","))]}"#
            )
            let statuses = (0..<4).map { acquired.json?["results"]?[$0]?["status"]?.integer }
            #expect(statuses == [200, 200, 429, 429])
            for bad in [#"{}"#, #"{"requests":[]}"#, #"{"requests":{}}"#, #"{"requests":[{]}"#] {
                #expect(try await client.post("/v1/requests/batch", bad).status == 400)
            }
            let many = Array(repeating: #"{"operation":"op"}"#, count: 1001).joined(separator: ",")
            #expect(
                try await client.post("/v1/requests/batch", #"{"requests":[\#(many)]}"#).status
                    == 400)
        }
    }

    @Test(.proves("E5", "H2"))
    func `count nothing twice with an idempotency key`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let key = ["Idempotency-Key": "one"]
            for (path, body, status) in [
                ("/v1/requests", #"{"operation":"op","cost":3}"#, 201),
                ("/v1/rate-limits/acquire", #"{"operation":"op","cost":3,"maxPerHour":100}"#, 200),
            ] {
                let first = try await client.post(path, body, key)
                let again = try await client.post(path, body, key)
                #expect(first.status == status && again.status == status)
                #expect(first.fields["idempotency-replayed"] == nil)
                #expect(again.fields["idempotency-replayed"] == "true")
                #expect(again.json?["replayed"]?.flag == true)
                for member in ["id", "recordedAt"] {
                    #expect(again.json?[member]?.text == first.json?[member]?.text, "\(member)")
                }
                #expect(again.json?["count"]?.integer == first.json?["count"]?.integer)
                let other = try await client.post(path, body.replacing("3", with: "4"), key)
                #expect(other.status == 422 && other.problem == "idempotency-mismatch")
            }
            let batch = #"{"requests":[{"operation":"b"},{"operation":"b"}]}"#
            for _ in 0..<3 {
                #expect(try await client.post("/v1/requests/batch", batch, key).status == 200)
            }
            let stats = try await client.get("/v1/stats")
            #expect(stats.json?["byOperation"]?["op"]?.integer == 6)
            #expect(stats.json?["byOperation"]?["b"]?.integer == 2)
        }
    }

    @Test(.proves("E5"))
    func `give back what a request cost, once`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let made = try await client.post(
                "/v1/requests", #"{"operation":"op","cost":5,"id":true,"labels":{"user":"u"}}"#)
            let id = try #require(made.json?["id"]?.text)
            let path = "/v1/requests/\(id)/refund"
            #expect(try await client.post(path, #"{"cost":6}"#).status == 400)
            let refund = try await client.post(path, #"{"cost":2}"#, ["Idempotency-Key": "r"])
            #expect(refund.status == 200 && refund.json?["cost"]?.integer == 2)
            let again = try await client.post(path, #"{"cost":2}"#, ["Idempotency-Key": "r"])
            #expect(again.status == 200 && again.fields["idempotency-replayed"] == "true")
            let second = try await client.post(path, "{}")
            #expect(second.status == 409 && second.problem == "conflict")
            #expect(try await client.get("/v1/stats").json?["totalRequests"]?.integer == 3)
            let (_, stranger) = try await served.tenant()
            #expect(try await stranger.post(path, "{}").status == 404)
            #expect(try await client.post("/v1/requests/x/refund", "{}").status == 404)
            let plain = try await client.post("/v1/requests", #"{"operation":"op"}"#)
            #expect(plain.json?["id"] == nil)
        }
    }

    @Test(
        .proves("H2"),
        arguments: [
            (#"{"operation":"op","labels":{"":"x"}}"#, "/labels"),
            (#"{"operation":"op","labels":{"a":1}}"#, "/labels/a"),
            (#"{"operation":"op","id":1}"#, "/id"),
        ])
    func `name the mark that is wrong`(body: String, pointer: String) async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let answer = try await client.post("/v1/requests", body)
            #expect(answer.status == 400)
            #expect(answer.json?["errors"]?[0]?["pointer"]?.text?.hasPrefix(pointer) == true)
        }
    }
}

@Suite struct `The usage call` {
    @Test(.proves("E6"))
    func `answers a point a step, the top operations and what was denied`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            for _ in 0..<3 {
                _ = try await client.post(
                    "/v1/rate-limits/acquire", #"{"operation":"op","maxPerHour":2}"#)
            }
            await served.plane.ledger.flushDenials()
            let answer = try await client.get("/v1/usage")
            #expect(answer.status == 200 && answer.json?["points"]?.count == 60)
            #expect(answer.json?["top"]?[0]?["deniedCalls"]?.integer == 1)
            let hours = try await client.get(
                "/v1/usage?step=hour&from=2026-01-01T00:30:00Z&to=2026-01-02T00:10:00Z&operation=op&top=0"
            )
            #expect(hours.json?["from"]?.text == "2026-01-01T00:00:00.000Z")
            #expect(hours.json?["to"]?.text == "2026-01-02T01:00:00.000Z")
            #expect(hours.json?["points"]?.count == 25 && hours.json?["top"]?.count == 0)
        }
    }

    @Test(
        .proves("H2"),
        arguments: [
            ("step=day", "step"), ("top=101", "top"), ("from=yesterday", "from"),
            ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
            ("from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z", "from"),
            ("to=9999-12-31T23:59:59Z", "to"), ("operation=A", "operation"), ("x=1", "x"),
        ])
    func `names the query item that is wrong`(query: String, name: String) async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let answer = try await client.get("/v1/usage?\(query)")
            #expect(answer.status == 400, "\(answer.text)")
            #expect(answer.json?["errors"]?[0]?["pointer"]?.text == name)
        }
    }
}
