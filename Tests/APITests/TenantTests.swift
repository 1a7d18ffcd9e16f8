import ControlPlane
import HTTP
import JSON
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The tenant calls` {
    @Test(.proves("H1", "H2"))
    func `make a tenant and a key that works, shown once`() async throws {
        try await Served.with { served in
            let admin = served.asOperator
            let made = try await admin.post("/v1/admin/tenants", #"{"name":"acme"}"#)
            #expect(made.status == 201)
            let id = try #require(made.json?["id"]?.text)
            #expect(made.fields["location"] == "/v1/admin/tenants/\(id)")
            let key = try await admin.post(
                "/v1/admin/tenants/\(id)/keys", #"{"scopes":["record"],"name":"web"}"#,
                ["Idempotency-Key": "\"one\""])
            #expect(key.status == 201)
            let secret = try #require(key.json?["key"]?.text)
            let client = served.client.with(key: secret)
            let shown = try await admin.get(try #require(key.fields["location"]))
            #expect(shown.json?["name"]?.text == "web" && shown.json?["key"] == nil)
            #expect(try await client.get("/v1/whoami").json?["tenantId"]?.text == id)
            let record = try await client.post("/v1/requests", #"{"operation":"op"}"#)
            #expect(record.status == 201)
            let replay = try await admin.post(
                "/v1/admin/tenants/\(id)/keys", #"{"scopes":["record"],"name":"web"}"#,
                ["Idempotency-Key": "one"])
            #expect(replay.status == 201)
            #expect(replay.fields["idempotency-replayed"] == "true")
            #expect(replay.json?["id"]?.text == key.json?["id"]?.text)
            #expect(replay.json?["key"] == nil)
            let other = try await admin.post(
                "/v1/admin/tenants/\(id)/keys", #"{"scopes":["read"]}"#,
                ["Idempotency-Key": "one"])
            #expect(other.status == 422)
            #expect(other.problem == "idempotency-mismatch")
            let listed = try await admin.get("/v1/admin/tenants/\(id)/keys")
            #expect(listed.json?["items"]?.count == 1)
            #expect(!listed.text.contains(secret))
            let audit = try await admin.get("/v1/admin/tenants/\(id)/audit")
            #expect(audit.json?["items"]?[0]?["action"]?.text == "key.create")
            #expect(audit.json?["items"]?[1]?["action"]?.text == "tenant.create")
            #expect(!audit.text.contains(secret))
        }
    }

    @Test(.proves("H1"))
    func `rotate and revoke`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.record, .admin])
            let path = "/v1/admin/tenants/\(tenant)/keys"
            let id = try #require(try await client.get("/v1/whoami").json?["keyId"]?.text)
            let rotated = try await client.post("\(path)/\(id)/rotate", #"{"overlapS":600}"#)
            #expect(rotated.status == 201)
            #expect(rotated.json?["replaces"]?.text == id)
            let successor = served.client.with(key: rotated.json?["key"]?.text)
            #expect(try await successor.get("/v1/whoami").status == 200)
            #expect(try await client.get("/v1/whoami").status == 200)
            let gone = try await successor.send("DELETE", "\(path)/\(id)?reason=leaked")
            #expect(gone.status == 204)
            #expect(gone.text.isEmpty)
            let listed = try await successor.get(path)
            let old = try #require(
                (0..<2).compactMap { listed.json?["items"]?[$0] }.first { $0["id"]?.text == id })
            #expect(old["revokedReason"]?.text == "leaked")
            let again = try await successor.send("DELETE", "\(path)/\(id)")
            #expect(again.status == 204)
            let dead = try await successor.post("\(path)/\(id)/rotate", "{}")
            #expect(dead.status == 409)
            let none = try await successor.send("DELETE", "\(path)/0000000000000000")
            #expect(none.status == 404)
        }
    }

    @Test(.proves("H2"))
    func `page by cursor, stable while others are made`() async throws {
        try await Served.with { served in
            for index in 0..<7 { _ = try await served.plane.makeTenant("t\(index)") }
            var names: [String] = []
            var path = "/v1/admin/tenants?limit=3"
            for _ in 0..<10 {
                let page = try await served.asOperator.get(path)
                #expect(page.status == 200)
                for index in 0..<(page.json?["items"]?.count ?? 0) {
                    names.append(page.json?["items"]?[index]?["name"]?.text ?? "")
                }
                guard let cursor = page.json?["nextCursor"]?.text else { break }
                _ = try await served.plane.makeTenant()
                path = "/v1/admin/tenants?limit=3&cursor=\(cursor)"
            }
            #expect(names.prefix(8) == ["fleet", "t0", "t1", "t2", "t3", "t4", "t5", "t6"])
            #expect(Set(names).count == names.count)
            for query in [
                "limit=0", "limit=201", "limit=x", "limit=%2B5", "limit=-0", "cursor=zz",
                "cursor=6b", "page=2",
            ] {
                let answer = try await served.asOperator.get("/v1/admin/tenants?\(query)")
                #expect(answer.status == 400, "\(query)")
            }
            // A cursor belongs to its list.
            let tenants = try await served.asOperator.get("/v1/admin/tenants?limit=1")
            let cursor = try #require(tenants.json?["nextCursor"]?.text)
            let wrong = try await served.asOperator.get(
                "/v1/admin/tenants/\(Tenant.ID.fleet)/keys?cursor=\(cursor)")
            #expect(wrong.status == 400)
        }
    }

    @Test(
        .proves("H2"),
        arguments: [
            #"{"name":""}"#, #"{"name":"\u0000"}"#, #"{"name":7}"#, #"{}"#,
            #"{"name":"x","id":1}"#, "{\"name\":\"\(String(repeating: "x", count: 101))\"}",
        ])
    func `refuse a bad name`(body: String) async throws {
        try await Served.with { served in
            let answer = try await served.asOperator.post("/v1/admin/tenants", body)
            #expect(answer.status == 400)
            #expect(answer.problem == "validation")
        }
    }

    @Test(
        .proves("H2"),
        arguments: [
            #"{"scopes":[]}"#, #"{"scopes":["all"]}"#, #"{"scopes":["read","read"]}"#,
            #"{"scopes":["operator"]}"#, #"{"scopes":["read"],"expiresAt":"2001-01-01T00:00:00Z"}"#,
            #"{"scopes":["read"],"expiresAt":"soon"}"#, #"{"name":"x"}"#,
        ])
    func `refuse a bad key`(body: String) async throws {
        try await Served.with { served in
            let (tenant, _) = try await served.tenant()
            let answer = try await served.asOperator.post("/v1/admin/tenants/\(tenant)/keys", body)
            #expect(answer.status == 400, "\(answer.text)")
            #expect(answer.problem == "validation")
        }
    }

    @Test func `refuse a name that is taken`() async throws {
        try await Served.with { served in
            _ = try await served.plane.makeTenant("acme")
            let answer = try await served.asOperator.post("/v1/admin/tenants", #"{"name":"acme"}"#)
            #expect(answer.status == 409)
            #expect(answer.problem == "conflict")
        }
    }
}

@Suite struct `Authorization` {
    /// Every route that takes a key, as a caller would call it; `T` stands for a tenant's id.
    private static let calls: [(method: String, path: String, body: String?)] = [
        ("GET", "/v1/whoami", nil),
        ("POST", "/v1/session", nil),
        ("GET", "/v1/session", nil),
        ("DELETE", "/v1/session", nil),
        ("GET", "/v1/overview", nil),
        ("GET", "/v1/admin/overview", nil),
        ("POST", "/v1/requests", #"{"operation":"op"}"#),
        ("GET", "/v1/rate-limits/check?operation=op&maxPerHour=1", nil),
        ("POST", "/v1/rate-limits/acquire", #"{"operation":"op","maxPerHour":5}"#),
        ("POST", "/v1/requests/batch", #"{"requests":[{"operation":"op"}]}"#),
        ("POST", "/v1/requests/01a205fa-0649-7568-9913-e7077cb56751/refund", nil),
        ("GET", "/v1/rate-limits", nil),
        ("POST", "/v1/rate-limits/acquire/batch", #"{"requests":[{"operation":"op"}]}"#),
        ("GET", "/v1/policies", nil),
        ("GET", "/v1/policies/op", nil),
        ("PUT", "/v1/policies/op", #"{"limits":[{"limit":1,"windowS":60}]}"#),
        ("DELETE", "/v1/policies/op", nil),
        (
            "PUT", "/v1/policies/op/override",
            #"{"limits":[{"limit":1,"windowS":60}],"expiresAt":"2099-01-01T00:00:00Z"}"#
        ),
        ("DELETE", "/v1/policies/op/override", nil),
        ("GET", "/v1/settings", nil),
        ("PATCH", "/v1/settings", #"{"defaultMaxPerHour":1}"#),
        ("GET", "/v1/usage", nil),
        ("POST", "/v1/attempts", #"{"operation":"op"}"#),
        ("GET", "/v1/attempts/att_00", nil),
        ("POST", "/v1/attempts/att_00/outcome", #"{"outcome":"succeeded"}"#),
        ("POST", "/v1/sandboxes", #"{"template":"t"}"#),
        ("GET", "/v1/sandboxes", nil),
        ("GET", "/v1/sandboxes/01a205fa-0649-7568-9913-e7077cb56751", nil),
        ("GET", "/v1/sandboxes/01a205fa-0649-7568-9913-e7077cb56751/events", nil),
        ("DELETE", "/v1/sandboxes/01a205fa-0649-7568-9913-e7077cb56751", nil),
        (
            "POST", "/v1/sandboxes/01a205fa-0649-7568-9913-e7077cb56751/timeout",
            #"{"timeoutMs":60000}"#
        ),
        ("POST", "/v1/sandboxes/01a205fa-0649-7568-9913-e7077cb56751/health-checks", nil),
        ("GET", "/v1/sandbox-requests/01a205fa-0649-7568-9913-e7077cb56751", nil),
        ("POST", "/v1/errors/classify", #"{"status":500}"#),
        ("GET", "/v1/events", nil),
        ("GET", "/v1/events/stream", nil),
        ("GET", "/v1/breakers", nil),
        ("GET", "/v1/breakers/e2b:default:create", nil),
        ("GET", "/v1/breakers/e2b:default:create/events", nil),
        ("POST", "/v1/breakers/e2b:default:create/reset", nil),
        ("POST", "/v1/breakers/e2b:default:create/force-open", nil),
        ("POST", "/v1/breakers/e2b:default:create/disable", nil),
        ("POST", "/v1/breakers/e2b:default:create/enable", nil),
        ("GET", "/v1/stats", nil),
        ("POST", "/v1/maintenance/cleanup", nil),
        ("GET", "/v1/admin/tenants", nil),
        ("POST", "/v1/admin/tenants", #"{"name":"mine"}"#),
        ("GET", "/v1/admin/tenants/T", nil),
        ("GET", "/v1/admin/tenants/T/keys", nil),
        ("POST", "/v1/admin/tenants/T/keys", #"{"scopes":["read"]}"#),
        ("POST", "/v1/admin/tenants/T/keys/K/rotate", "{}"),
        ("GET", "/v1/admin/tenants/T/keys/K", nil),
        ("DELETE", "/v1/admin/tenants/T/keys/K", nil),
        ("GET", "/v1/admin/tenants/T/audit", nil),
        ("POST", "/v1/admin/tenants/T/suspend", #"{"reason":"test"}"#),
        ("POST", "/v1/admin/tenants/T/resume", nil),
        ("DELETE", "/v1/admin/tenants/T?confirm=test", nil),
        ("GET", "/v1/admin/tenants/T/export", nil),
        ("GET", "/v1/alerts", nil),
        ("GET", "/v1/alerts/01a205fa-0649-7568-9913-e7077cb56751", nil),
        ("POST", "/v1/alerts/01a205fa-0649-7568-9913-e7077cb56751/acknowledge", nil),
        (
            "POST", "/v1/alerts/01a205fa-0649-7568-9913-e7077cb56751/silence",
            #"{"endsAt":"2999-01-01T00:00:00Z","reason":"test"}"#
        ),
        ("GET", "/v1/alert-rules", nil),
        ("GET", "/v1/alert-rules/breaker-open", nil),
        ("PUT", "/v1/alert-rules/breaker-open", #"{"enabled":false}"#),
        ("DELETE", "/v1/alert-rules/breaker-open", nil),
        ("GET", "/v1/alert-silences", nil),
        ("POST", "/v1/alert-silences", #"{"endsAt":"2999-01-01T00:00:00Z","reason":"test"}"#),
        ("DELETE", "/v1/alert-silences/01a205fa-0649-7568-9913-e7077cb56751", nil),
        ("GET", "/v1/alert-channels", nil),
        ("POST", "/v1/alert-channels", #"{"kind":"slack","url":"https://a.example/b"}"#),
        ("GET", "/v1/alert-channels/01a205fa-0649-7568-9913-e7077cb56751", nil),
        ("PATCH", "/v1/alert-channels/01a205fa-0649-7568-9913-e7077cb56751", "{}"),
        ("DELETE", "/v1/alert-channels/01a205fa-0649-7568-9913-e7077cb56751", nil),
        ("POST", "/v1/alert-channels/01a205fa-0649-7568-9913-e7077cb56751/test", nil),
        ("GET", "/v1/alert-channels/01a205fa-0649-7568-9913-e7077cb56751/notifications", nil),
        (
            "POST",
            "/v1/alert-channels/01a205fa-0649-7568-9913-e7077cb56751/notifications/5f0b6a52-8c0e-4d53-9a37-6f1f0c2f6a11/retry",
            nil
        ),
        ("GET", "/v1/regions", nil),
        ("GET", "/v1/admin/tenants/T/regions", nil),
        ("GET", "/v1/admin/tenants/T/regions/eu", nil),
        (
            "PUT", "/v1/admin/tenants/T/regions/eu",
            #"{"apiUrl":"https://api.example","domain":"a.example","apiKey":"k"}"#
        ),
        ("DELETE", "/v1/admin/tenants/T/regions/eu", nil),
        ("GET", "/v1/admin/accounts", nil),
        ("GET", "/v1/admin/secrets", nil),
        ("POST", "/v1/admin/secrets/rotate", nil),
        ("GET", "/v1/admin/killing", nil),
        ("PUT", "/v1/admin/killing", #"{"enabled":true}"#),
        ("GET", "/v1/admin/jobs", nil),
        ("POST", "/v1/admin/jobs/cleanup/run", nil),
    ]

    /// Calls on one tenant that are not even its own administrator's.
    private static func isOperators(_ path: String) -> Bool {
        path.contains("/regions")
            || ["/suspend", "/resume", "?confirm=test"].contains { path.hasSuffix($0) }
    }

    @Test(.proves("H1"))
    func `is asked for on every route but the four open ones`() async throws {
        // So many wrong keys as one address may try.
        var rest = Self.calls[...]
        while !rest.isEmpty {
            try await refuse(rest.prefix(40))
            rest = rest.dropFirst(40)
        }
    }

    private func refuse(
        _ calls: ArraySlice<(method: String, path: String, body: String?)>
    ) async throws {
        try await Served.with { served in
            let (tenant, _) = try await served.tenant()
            for call in calls {
                let path = call.path.replacing("T/", with: "\(tenant)/").replacing("K", with: "0")
                for key in [nil, "e2b_wrong"] {
                    let client = served.client.with(key: key)
                    let answer = try await client.send(call.method, path, call.body)
                    #expect(answer.status == 401, "\(call.method) \(path)")
                    #expect(
                        answer.fields["www-authenticate"]
                            == (key == nil ? "Bearer" : #"Bearer error="invalid_token""#))
                }
            }
            let open: Set = ["getLiveness", "getReadiness", "getMetrics", "getContract"]
            let known = served.routes.filter { !open.contains($0.operationID) }.count
            #expect(Self.calls.count == known, "a route is missing in the list")
            for path in ["/livez", "/readyz", "/metrics", "/openapi.yaml"] {
                #expect(try await served.client.get(path).status == 200, "\(path)")
            }
        }
    }

    @Test(.proves("H1"))
    func `gives another tenant's thing to nobody, on any route`() async throws {
        try await Served.with { served in
            let (mine, client) = try await served.tenant([.record, .read, .admin])
            let (theirs, other) = try await served.tenant([.record, .read, .admin])
            let key = try #require(try await other.get("/v1/whoami").json?["keyId"]?.text)
            _ = try await other.post("/v1/requests", #"{"operation":"op","cost":9}"#)
            for call in Self.calls where call.path.contains("/T") {
                let path = call.path.replacing("T", with: "\(theirs)").replacing("K", with: key)
                let answer = try await client.send(call.method, path, call.body)
                let status = Self.isOperators(call.path) ? 403 : 404
                #expect(answer.status == status, "\(call.method) \(path)")
                // The key's id below the own tenant finds nothing either.
                if call.path.contains("K") {
                    let own = call.path.replacing("T", with: "\(mine)").replacing("K", with: key)
                    #expect(try await client.send(call.method, own, call.body).status == 404)
                }
            }
            #expect(try await other.get("/v1/whoami").status == 200)
            let stats = try await client.get("/v1/stats")
            #expect(stats.json?["totalRequests"]?.integer == 0)
        }
    }

    @Test(.proves("H1"))
    func `needs the scope of the call`() async throws {
        try await Served.with { served in
            let (tenant, maker) = try await served.tenant(.sandbox)
            // What every scope may do is left out; what makes sandboxes is tried with another.
            let (_, secret) = try await served.plane.directory.createKey(
                for: tenant, name: "admin", scopes: .admin, expiresAt: nil, by: .system)
            let admin = served.client.with(key: secret?.text)
            for call in Self.calls
            where !["/v1/whoami", "/v1/session"].contains(call.path)
                && !(call.method == "GET"
                    && ["/v1/breakers", "/v1/regions"].contains { call.path.hasPrefix($0) })
                && !(call.method == "DELETE" && call.path.hasPrefix("/v1/sandboxes"))
            {
                let client = call.path.hasPrefix("/v1/sandbox") ? admin : maker
                let path = call.path.replacing("T", with: "\(tenant)").replacing("K", with: "0")
                let answer = try await client.send(call.method, path, call.body)
                #expect(answer.status == 403, "\(call.method) \(path)")
                #expect(answer.problem == "forbidden")
            }
        }
    }

    @Test func `takes X-API-Key as well`() async throws {
        try await Served.with { served in
            let answer = try await served.client.send(
                "GET", "/v1/whoami", nil, ["X-API-Key": served.operatorKey])
            #expect(answer.status == 200)
            #expect(answer.json?["scopes"]?[0]?.text == "operator")
        }
    }
}
