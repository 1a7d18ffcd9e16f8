import ControlPlane
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The rate-limit calls` {
    @Test(
        .proves("E1", "E2"),
        arguments: [
            (45, #"{"count":45,"limit":100,"exceeded":false,"remaining":55"#),
            (99, #"{"count":99,"limit":100,"exceeded":false,"remaining":1"#),
            (100, #"{"count":100,"limit":100,"exceeded":true,"remaining":0"#),
            (101, #"{"count":101,"limit":100,"exceeded":true,"remaining":0"#),
        ])
    func `answer the original's examples literally`(recorded: Int, start: String) async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            for _ in 0..<recorded {
                let answer = try await client.post(
                    "/v1/requests", #"{"operation":"sandbox_create"}"#)
                #expect(answer.status == 201)
            }
            let check = try await client.get(
                "/v1/rate-limits/check?operation=sandbox_create&maxPerHour=100")
            #expect(check.status == 200)
            #expect(check.text.hasPrefix(start), "\(check.text)")
        }
    }

    @Test(.proves("E3"))
    func `answer the original's statistics literally`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            for (operation, count) in [("sandbox_create", 45), ("sandbox_connect", 105)] {
                _ = try await client.post(
                    "/v1/requests", #"{"operation":"\#(operation)","cost":\#(count)}"#)
            }
            let stats = try await client.get("/v1/stats")
            #expect(
                stats.text.hasPrefix(
                    #"{"totalRequests":150,"byOperation":{"sandbox_create":45,"sandbox_connect":105},"timeWindow":"1 hour""#
                ), "\(stats.text)")
            let short = try await client.get("/v1/stats?window=30m")
            #expect(short.json?["timeWindow"]?.text == "30 minutes")
        }
    }

    @Test(.proves("E5"))
    func `acquire to the limit, then deny without recording`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let body = #"{"operation":"op","cost":2,"maxPerHour":5}"#
            for count in [2, 4] {
                let answer = try await client.post("/v1/rate-limits/acquire", body)
                #expect(answer.status == 200)
                #expect(answer.json?["allowed"]?.flag == true)
                #expect(answer.json?["count"]?.integer == count)
                #expect(answer.json?["remaining"]?.integer == 5 - count)
            }
            let denied = try await client.post("/v1/rate-limits/acquire", body)
            #expect(denied.status == 429)
            #expect(denied.problem == "quota-exceeded")
            #expect(denied.json?["count"]?.integer == 4)
            #expect(denied.json?["exceeded"]?.flag == true)
            let wait = try #require(denied.json?["retryAfterMs"]?.integer)
            #expect((3_500_000...3_600_000).contains(wait))
            #expect(denied.fields["retry-after"].flatMap { Int($0) } == (wait + 999) / 1000)
            let check = try await client.get("/v1/rate-limits/check?operation=op&maxPerHour=5")
            #expect(check.json?["count"]?.integer == 4)
        }
    }

    @Test(
        .proves("H2"),
        arguments: [
            (#"{}"#, 400, "validation", ""),
            (#"{"operation":"Bad Name"}"#, 400, "validation", "/operation"),
            (#"{"operation":""}"#, 400, "validation", "/operation"),
            (#"{"operation":7}"#, 400, "validation", "/operation"),
            (#"{"operation":"op","cost":0}"#, 400, "validation", "/cost"),
            (#"{"operation":"op","cost":1000001}"#, 400, "validation", "/cost"),
            (#"{"operation":"op","cost":1.5}"#, 400, "validation", "/cost"),
            (#"{"operation":"op","more":1}"#, 400, "validation", "/more"),
            (#"{"operation":"op","operation":"op"}"#, 400, "malformed-json", "/operation"),
            (#"{"operation":"op""#, 400, "malformed-json", ""),
            (#"[]"#, 400, "validation", ""),
            (#""#, 400, "malformed-json", ""),
        ])
    func `name the field that is wrong`(
        body: String, status: Int, problem: String, pointer: String
    ) async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let answer = try await client.post("/v1/requests", body)
            #expect(answer.status == status, "\(answer.text)")
            #expect(answer.problem == problem)
            #expect(answer.json?["errors"]?[0]?["pointer"]?.text == pointer)
            #expect(answer.fields["content-type"] == "application/problem+json")
            let stats = try await client.get("/v1/stats")
            #expect(stats.json?["totalRequests"]?.integer == 0)
        }
    }

    @Test(
        .proves("H2"),
        arguments: [
            ("/v1/rate-limits/check?operation=op", "maxPerHour"),
            ("/v1/rate-limits/check?maxPerHour=1", "operation"),
            ("/v1/rate-limits/check?operation=op&maxPerHour=-1", "maxPerHour"),
            ("/v1/rate-limits/check?operation=op&maxPerHour=-0", "maxPerHour"),
            ("/v1/rate-limits/check?operation=op&maxPerHour=%2B1", "maxPerHour"),
            ("/v1/rate-limits/check?operation=op&maxPerHour=1e3", "maxPerHour"),
            ("/v1/rate-limits/check?operation=O&maxPerHour=1", "operation"),
            ("/v1/rate-limits/check?operation=op&operation=op&maxPerHour=1", "operation"),
            ("/v1/rate-limits/check?operation=op&maxPerHour=1&x=1", "x"),
            ("/v1/stats?window=2h", "window"), ("/v1/stats?window=0s", "window"),
            ("/v1/stats?window=h", "window"), ("/v1/stats?window=1d", "window"),
        ])
    func `name the query item that is wrong`(path: String, name: String) async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let answer = try await client.get(path)
            #expect(answer.status == 400)
            #expect(answer.problem == "validation")
            #expect(answer.json?["errors"]?[0]?["pointer"]?.text == name)
        }
    }

    @Test func `say what can never fit, and what is no JSON`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            for body in [
                #"{"operation":"op","cost":6,"maxPerHour":5}"#,
                #"{"operation":"op","maxPerHour":0}"#,
            ] {
                let answer = try await client.post("/v1/rate-limits/acquire", body)
                #expect(answer.status == 422)
                #expect(answer.problem == "cost-exceeds-limit")
            }
            let form = try await client.post(
                "/v1/requests", "operation=op", ["Content-Type": "text/plain"])
            #expect(form.status == 415)
            let large = try await client.post(
                "/v1/requests", String(repeating: " ", count: 100_000))
            #expect(large.status == 413)
        }
    }

    @Test(.proves("E5"))
    func `refuse a tenant's 1001st operation name`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant()
            try Session(Conninfo(url: served.plane.url)).run(
                """
                INSERT INTO operation (tenant_id, op, name)
                SELECT '\(tenant)', n, 'op' || n FROM generate_series(1, 1000) AS n
                """)
            let answer = try await client.post("/v1/requests", #"{"operation":"one_more"}"#)
            #expect(answer.status == 422)
            #expect(answer.problem == "too-many-operations")
        }
    }

    @Test(.proves("E4"))
    func `clean up by the original's caps`() async throws {
        let clock = TestClock(.now - .seconds(3 * 3600))
        try await Served.with(clock: clock) { served in
            let (tenant, _) = try await served.tenant()
            let (_, secret) = try await served.plane.directory.createKey(
                for: tenant, name: "", scopes: [.record, .read, .admin], expiresAt: nil, by: .system
            )
            let client = served.client.with(key: secret?.text)
            for _ in 0..<501 {
                clock.move(by: .milliseconds(1))
                _ = try await served.plane.ledger.record("op", cost: 1, for: tenant)
            }
            clock.set(.now)
            _ = try await client.post("/v1/requests", #"{"operation":"op"}"#)
            let first = try await client.send("POST", "/v1/maintenance/cleanup")
            #expect(
                first.text.hasPrefix(#"{"deleted":500,"requests":500,"batches":5,"hasMore":true"#),
                "\(first.text)")
            let second = try await client.post("/v1/maintenance/cleanup", "{}")
            #expect(
                second.text.hasPrefix(#"{"deleted":1,"requests":1,"batches":1,"hasMore":false"#))
            let check = try await client.get("/v1/rate-limits/check?operation=op&maxPerHour=9")
            #expect(check.json?["count"]?.integer == 1)
            let all = try await served.asOperator.send("POST", "/v1/maintenance/cleanup")
            #expect(all.status == 200)
            let odd = try await client.post("/v1/maintenance/cleanup", #"{"tenant":"x"}"#)
            #expect(odd.status == 400)
        }
    }
}
