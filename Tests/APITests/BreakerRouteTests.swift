import API
import ControlPlane
import HTTP
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The breaker calls` {
    private static func key(_ tenant: Tenant.ID) -> BreakerKey {
        BreakerKey(tenant, provider: "e2b", region: "default", .create)
    }

    private static func open(_ served: Served, _ tenant: Tenant.ID) async {
        for _ in 0..<5 {
            guard case .admitted(let ticket) = await served.plane.breakers.admit(key(tenant))
            else { return }
            await served.plane.breakers.settle(
                ticket, .failed(.internal, retryAfter: nil), took: .zero)
        }
    }

    @Test(.proves("C4")) func `answer for a breaker without a row`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let named = try await client.get("/v1/breakers?name=E2B")
            #expect(named.status == 200)
            #expect(named.json?["name"]?.text == "E2B" && named.json?["state"]?.text == "CLOSED")
            #expect(named.json?["failureCount"]?.integer == 0)
            #expect(named.json?["retryAfterSeconds"]?.integer == 0)
            let one = try await client.get("/v1/breakers/e2b:eu:manage")
            #expect(one.json?["state"]?.text == "CLOSED" && one.json?["generation"]?.integer == 0)
            #expect(try await client.get("/v1/breakers").json?["items"]?.count == 0)
            let events = try await client.get("/v1/breakers/e2b:eu:manage/events")
            #expect(events.json?["items"]?.count == 0)
        }
    }

    @Test(.proves("C2", "C4")) func `show an open one first, and reset it`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.admin, .read])
            await Self.open(served, tenant)
            let named = try await client.get("/v1/breakers?name=e2b")
            #expect(named.json?["state"]?.text == "OPEN")
            #expect(named.json?["failureCount"]?.integer == 5)
            #expect(named.json?["retryAfterSeconds"]?.integer == 60)
            #expect(try await client.get("/v1/breakers?state=OPEN").json?["items"]?.count == 1)
            let reset = try await client.post(
                "/v1/breakers/e2b:default:create/reset", #"{"reason":"it is back"}"#)
            #expect(reset.status == 200 && reset.json?["state"]?.text == "CLOSED")
            let events = try await client.get("/v1/breakers/e2b:default:create/events?limit=1")
            #expect(events.json?["items"]?[0]?["cause"]?.text == "reset")
            #expect(events.json?["items"]?[0]?["reason"]?.text == "it is back")
            #expect(events.json?["items"]?[0]?["actor"]?.text?.hasPrefix("key:") == true)
            let cursor = try #require(events.json?["nextCursor"]?.text)
            let older = try await client.get(
                "/v1/breakers/e2b:default:create/events?cursor=\(cursor)")
            #expect(older.json?["items"]?[0]?["cause"]?.text == "failures")
            let audit = try await client.get("/v1/admin/tenants/\(tenant)/audit")
            #expect(audit.json?["items"]?[0]?["action"]?.text == "breaker.reset")
        }
    }

    @Test(.proves("C4")) func `force open, disable and enable`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.admin, .read])
            let path = "/v1/breakers/e2b:default:create"
            let forced = try await client.send("POST", "\(path)/force-open")
            #expect(forced.json?["state"]?.text == "OPEN")
            #expect(forced.json?["override"]?.text == "FORCED_OPEN")
            guard case .refused = await served.plane.breakers.admit(Self.key(tenant)) else {
                Issue.record("it lets calls through")
                return
            }
            let disabled = try await client.post(
                "\(path)/disable", #"{"metricsOnly":true,"expiresAt":"2099-01-01T00:00:00Z"}"#)
            #expect(disabled.json?["override"]?.text == "METRICS_ONLY")
            #expect(disabled.json?["overrideExpiresAt"]?.text == "2099-01-01T00:00:00.000Z")
            let enabled = try await client.send("POST", "\(path)/enable")
            #expect(enabled.json?["override"] == .null)
            #expect(enabled.json?["state"]?.text == "CLOSED")
            // An operator's own are those over all tenants.
            let all = try await served.asOperator.send("POST", "\(path)/force-open")
            #expect(all.status == 200)
            guard case .refused(let refusal) = await served.plane.breakers.admit(Self.key(tenant))
            else {
                Issue.record("the breaker over all lets calls through")
                return
            }
            #expect(refusal.key.isParent)
            // Whom it refuses can see that, and that a reset of its own does not help.
            for path in [path, "/v1/breakers?name=e2b"] {
                let shown = try await client.get(path)
                #expect(shown.json?["state"]?.text == "CLOSED")
                #expect(shown.json?["overAllTenants"]?["state"]?.text == "OPEN", "\(shown.text)")
            }
            _ = try await served.asOperator.send("POST", "\(path)/enable")
            #expect(try await client.get(path).json?["overAllTenants"] == nil)
        }
    }

    @Test(
        .proves("H2"),
        arguments: [
            ("reset", #"{"expiresAt":"2099-01-01T00:00:00Z"}"#, "/expiresAt"),
            ("force-open", #"{"expiresAt":"2001-01-01T00:00:00Z"}"#, "/expiresAt"),
            ("enable", #"{"metricsOnly":true}"#, "/metricsOnly"),
            ("disable", #"{"reason":5}"#, "/reason"), ("disable", #"{"x":1}"#, "/x"),
        ])
    func `name the member that is wrong`(verb: String, body: String, pointer: String) async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.admin])
            let answer = try await client.post("/v1/breakers/e2b:default:create/\(verb)", body)
            #expect(answer.status == 400, "\(answer.text)")
            #expect(answer.json?["errors"]?[0]?["pointer"]?.text == pointer)
        }
    }

    @Test(.proves("C4", "H1")) func `need a key with scope admin to act`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let answer = try await client.send("POST", "/v1/breakers/e2b:default:create/reset")
            #expect(answer.status == 403)
            #expect(try await client.get("/v1/breakers/e2b:default").status == 404)
            #expect(try await client.get("/v1/breakers?state=open").status == 400)
            #expect(try await client.get("/v1/breakers?name=a/b").status == 400)
        }
    }
}
