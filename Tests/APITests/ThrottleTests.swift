import API
import ControlPlane
import HTTP
import IO
import JSON
import ServiceSupport
import TestSupport
import Testing

@Suite(.proves("H9")) struct `A tenant with many requests in hand` {
    private static func settings(_ limit: Int) -> APISettings {
        var settings = APISettings()
        settings.maxInFlightPerTenant = limit
        return settings
    }

    @Test func `is told to come back, while another is served`() async throws {
        try await Served.with(settings: Self.settings(2)) { served in
            let (tenant, greedy) = try await served.tenant([.admin])
            let (_, other) = try await served.tenant([.record])
            let key = Array(try #require(greedy.key).utf8)
            let load = try await served.plane.keys.caller(for: key).load
            #expect(load.enter(limit: 2) && load.enter(limit: 2))
            for path in ["/v1/whoami", "/v1/admin/tenants/\(tenant)/audit"] {
                let refused = try await greedy.get(path)
                #expect(refused.status == 429)
                #expect(refused.problem == "too-many-requests")
                #expect(refused.fields["retry-after"] == "1")
                let answer = try await other.post("/v1/requests", #"{"operation":"op"}"#)
                #expect(answer.status == 201)
            }
            load.leave()
            #expect(try await greedy.get("/v1/whoami").status == 200)
            load.leave()
            #expect(load.inFlight == 0)
        }
    }

    @Test func `has its places back after answers of every kind`() async throws {
        try await Served.with(settings: Self.settings(1)) { served in
            let (tenant, client) = try await served.tenant([.record, .read, .admin])
            let path = "/v1/admin/tenants/\(tenant)"
            for _ in 0..<3 {
                #expect(try await client.get("/v1/whoami").status == 200)
                #expect(try await client.get("/v1/policies/none").status == 404)
                #expect(try await client.post("/v1/requests", "{").status == 400)
                #expect(try await client.get(path + "/export").status == 200)
                #expect(try await client.send("HEAD", path + "/export").status == 200)
                let batch = #"{"requests":[{"operation":"op"},{"operation":"op"},{"op":1}]}"#
                #expect(try await client.post("/v1/requests/batch", batch).status == 200)
                #expect(try await served.client.get("/v1/whoami").status == 401)
            }
        }
    }
}

@Suite(.proves("H9")) struct `The address of a caller` {
    private static let settings = {
        var settings = APISettings()
        settings.trustedProxies.networks = ["127.0.0.0/8"].compactMap { IPNetwork($0) }
        return settings
    }()

    @Test func `stands in the audit, as its proxy names it`() async throws {
        try await Served.with(settings: Self.settings) { served in
            let (tenant, _) = try await served.tenant()
            let path = "/v1/admin/tenants/\(tenant)"
            for (fields, address) in [
                (["X-Forwarded-For": "2001:db8::7, 127.0.0.3"], "2001:db8::7"),
                (["Forwarded": "for=192.0.2.7"], "192.0.2.7"),
                (["X-Forwarded-For": "whoever"], "127.0.0.1"), ([:], "127.0.0.1"),
            ] {
                _ = try await served.asOperator.send("POST", path + "/suspend", nil, fields)
                _ = try await served.asOperator.send("POST", path + "/resume", nil, fields)
                let audit = try await served.asOperator.get(path + "/audit?limit=1")
                #expect(audit.json?["items"]?[0]?["address"]?.text == address)
            }
        }
    }

    @Test func `is whom the limiter of wrong keys makes wait`() async throws {
        try await Served.with(settings: Self.settings) { served in
            let attacker = ["X-Forwarded-For": "192.0.2.7"]
            let wrong = served.client.with(key: "e2b_wrong")
            var refused = try await wrong.send("GET", "/v1/whoami", nil, attacker)
            var failures = 0
            // Slower than one a second it could go on for ever.
            while refused.status == 401, failures < 1_000 {
                failures += 1
                refused = try await wrong.send("GET", "/v1/whoami", nil, attacker)
            }
            #expect(failures >= FailedKeys.Settings().burst)
            #expect(refused.status == 429)
            #expect(refused.problem == "too-many-requests")
            #expect(refused.fields["retry-after"] == "1")
            #expect(try await wrong.get("/v1/whoami").status == 401)
            // A call without a key is no guess.
            let none = try await served.client.send("GET", "/v1/whoami", nil, attacker)
            #expect(none.status == 401)
        }
    }
}
