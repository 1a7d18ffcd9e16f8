import API
import ControlPlane
import JSON
import Outbound
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The region calls` {
    private static let key = "e2b_0123456789abcdef0123456789abcdef01234567"
    private static let eu =
        #"{"apiUrl":"https://API.e2b.app/","domain":"E2B.app","apiKey":"\#(key)","priority":5,"templates":{"base":"b1"}}"#

    @Test(.proves("H1", "H2"))
    func `make, show, replace and take away a region, and never its key`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.read])
            let admin = served.asOperator
            let path = "/v1/admin/tenants/\(tenant)/regions/eu"
            let made = try await admin.send("PUT", path, Self.eu)
            #expect(made.status == 201 && made.fields["location"] == path)
            #expect(made.json?["apiUrl"]?.text == "https://api.e2b.app")
            #expect(made.json?["domain"]?.text == "e2b.app")
            #expect(made.json?["provider"]?.text == "e2b")
            #expect(made.json?["dataPlaneUrl"] == .null)
            #expect(made.json?["account"] == .null && made.json?["enabled"]?.flag == true)
            #expect(made.json?["limits"]?["concurrency"] == .null)
            #expect(made.json?["hasApiKey"]?.flag == true)
            #expect(made.json?["apiKeyHint"]?.text == "4567")
            let tag = try #require(made.fields["etag"])
            let shown = try await admin.get(path)
            #expect(shown.text == made.text && shown.fields["etag"] == tag)
            #expect(try await admin.send("PUT", path, Self.eu).status == 428)
            let changed = try await admin.send(
                "PUT", path,
                #"{"apiUrl":"https://api.e2b.app","domain":"localhost:3443","dataPlaneUrl":"https://sandbox.e2b.app/","account":"main","limits":{"createsPerSecond":0.5},"enabled":false}"#,
                ["If-Match": tag])
            #expect(changed.status == 200 && changed.json?["account"]?.text == "main")
            #expect(changed.json?["dataPlaneUrl"]?.text == "https://sandbox.e2b.app")
            #expect(changed.json?["apiKeyHint"]?.text == "4567")
            #expect(changed.json?["templates"] == .object([]))
            let stale = try await admin.send("PUT", path, Self.eu, ["If-Match": tag])
            #expect(stale.status == 412)

            let list = try await admin.get("/v1/admin/tenants/\(tenant)/regions")
            #expect(list.json?["items"]?.count == 1 && list.json?["nextCursor"] == .null)
            let own = try await client.get("/v1/regions")
            #expect(own.json?["items"]?[0]?["domain"]?.text == "localhost:3443")
            #expect(
                own.json?["items"]?[0]?.names == [
                    "name", "provider", "apiUrl", "domain", "dataPlaneUrl", "priority", "templates",
                    "enabled",
                ])
            let accounts = try await admin.get("/v1/admin/accounts")
            #expect(accounts.json?["items"]?.count == 2)
            let audit = try await admin.get("/v1/admin/tenants/\(tenant)/audit")
            #expect(audit.json?["items"]?[0]?["action"]?.text == "region.put")
            for answer in [made, shown, changed, list, own, accounts, audit] {
                #expect(!answer.text.contains(Self.key) && !answer.text.contains("89abcdef"))
            }
            #expect(try await admin.send("DELETE", path).status == 428)
            #expect(try await admin.send("DELETE", path, nil, ["If-Match": "*"]).status == 204)
            #expect(try await admin.get(path).status == 404)
            #expect(try await client.get("/v1/regions").json?["items"]?.count == 0)
        }
    }

    @Test(.proves("H1")) func `are an operator's, but for the own regions`() async throws {
        try await Served.with { served in
            let (tenant, admin) = try await served.tenant([.admin, .read, .record, .sandbox])
            let (other, _) = try await served.tenant()
            for tenant in [tenant, other] {
                let path = "/v1/admin/tenants/\(tenant)/regions"
                #expect(try await admin.get(path).status == 403)
                #expect(try await admin.send("PUT", path + "/eu", Self.eu).status == 403)
                #expect(try await admin.send("DELETE", path + "/eu").status == 403)
                #expect(try await served.client.get(path).status == 401)
            }
            for path in ["accounts", "secrets"] {
                #expect(try await admin.get("/v1/admin/\(path)").status == 403)
            }
            #expect(try await admin.get("/v1/regions").status == 200)
            let none = "/v1/admin/tenants/01a205fa-0649-7568-9913-e7077cb56751/regions"
            #expect(try await served.asOperator.get(none).status == 404)
            #expect(try await served.asOperator.send("PUT", none + "/eu", Self.eu).status == 404)
        }
    }

    @Test(
        .proves("H1", "H2"),
        arguments: [
            (#"{"domain":"a.b","apiKey":"k"}"#, ""),
            (#"{"apiUrl":"https://a.b","apiKey":"k"}"#, ""),
            (#"{"apiUrl":"https://a.b","domain":"a.b"}"#, "/apiKey"),
            (Self.with("apiUrl", #""http://a.b""#), "/apiUrl"),
            (Self.with("apiUrl", #""https://u:p@a.b""#), "/apiUrl"),
            (Self.with("apiUrl", #""https://a.b/#f""#), "/apiUrl"),
            (Self.with("apiUrl", #""https://a.b/?q=1""#), "/apiUrl"),
            (Self.with("apiUrl", #""https://127.0.0.1""#), "/apiUrl"),
            (Self.with("apiUrl", #""https://[::ffff:10.0.0.1]/""#), "/apiUrl"),
            (Self.with("apiUrl", #""https://169.254.169.254""#), "/apiUrl"),
            (Self.with("apiUrl", #""ftp://a.b""#), "/apiUrl"),
            (Self.with("apiUrl", "7"), "/apiUrl"),
            (Self.with("domain", #""a.b/c""#), "/domain"),
            (Self.with("dataPlaneUrl", #""a.b""#), "/dataPlaneUrl"),
            (Self.with("dataPlaneUrl", #""http://a.b""#), "/dataPlaneUrl"),
            (Self.with("dataPlaneUrl", #""https://127.0.0.1""#), "/dataPlaneUrl"),
            (Self.with("domain", #""u@a.b""#), "/domain"),
            (Self.with("domain", #""10.1.2.3""#), "/domain"),
            (Self.with("domain", #""https://a.b""#), "/domain"),
            (Self.with("apiKey", #""a b""#), "/apiKey"),
            (Self.with("apiKey", #""a\r\nb""#), "/apiKey"),
            (Self.with("apiKey", #""""#), "/apiKey"),
            (Self.with("provider", #""E2B""#), "/provider"),
            (Self.with("account", #""a/b""#), "/account"),
            (Self.with("priority", "-1"), "/priority"),
            (Self.with("priority", "1001"), "/priority"),
            (Self.with("enabled", "1"), "/enabled"),
            (Self.with("templates", #"{"a":"b c"}"#), "/templates/a"),
            (Self.with("templates", #"{"a":1}"#), "/templates/a"),
            (Self.with("limits", #"{"createsPerSecond":0}"#), "/limits/createsPerSecond"),
            (Self.with("limits", #"{"createsPerSecond":1e9}"#), "/limits/createsPerSecond"),
            (Self.with("limits", #"{"concurrency":0}"#), "/limits/concurrency"),
            (Self.with("limits", #"{"concurrency":1.5}"#), "/limits/concurrency"),
            (Self.with("limits", #"{"burst":null}"#), "/limits/burst"),
            (Self.with("weight", "1"), "/weight"),
        ])
    func `refuse what no region may be, and name it`(_ body: String, _ pointer: String) async throws
    {
        try await Served.with { served in
            let (tenant, _) = try await served.tenant()
            let path = "/v1/admin/tenants/\(tenant)/regions/eu"
            let answer = try await served.asOperator.send("PUT", path, body)
            #expect(answer.status == 400, "\(answer.text)")
            #expect(answer.json?["errors"]?[0]?["pointer"]?.text == pointer, "\(answer.text)")
            #expect(try await served.asOperator.get(path).status == 404)
        }
    }

    private static func with(_ name: String, _ value: String) -> String {
        let members =
            [
                ("apiUrl", #""https://a.b""#), ("domain", #""a.b""#), ("apiKey", #""k""#),
            ].filter { $0.0 != name } + [(name, value)]
        return "{" + members.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
    }

    @Test func `let an operator's setting open private addresses, never the metadata service`()
        async throws
    {
        var settings = APISettings()
        settings.upstreams = AddressRule(allowsPrivate: true)
        try await Served.with(settings: settings) { served in
            let (tenant, _) = try await served.tenant()
            let path = "/v1/admin/tenants/\(tenant)/regions/"
            for (name, url, status) in [
                ("a", "http://127.0.0.1:8081/base", 201), ("b", "https://10.0.0.1", 201),
                ("c", "http://169.254.169.254", 400), ("d", "http://0.0.0.0", 400),
            ] {
                let body = Self.with("apiUrl", "\"\(url)\"")
                let answer = try await served.asOperator.send("PUT", path + name, body)
                #expect(answer.status == status, "\(url): \(answer.text)")
            }
            let bad = try await served.asOperator.send("PUT", path + "Bad", Self.eu)
            #expect(bad.status == 400)
            let long = String(repeating: "a", count: 41)
            #expect(try await served.asOperator.send("PUT", path + long, Self.eu).status == 400)
        }
    }

    @Test func `hold at once where they were changed`() async throws {
        try await Served.with { served in
            let (tenant, _) = try await served.tenant()
            let (admin, cache) = (served.asOperator, served.plane.regions)
            let path = "/v1/admin/tenants/\(tenant)/regions/eu"
            #expect(try await cache.regions(of: tenant).isEmpty)
            #expect(try await admin.send("PUT", path, Self.eu).status == 201)
            #expect(try await cache.regions(of: tenant).map(\.name) == ["eu"])
            #expect(try await admin.send("DELETE", path, nil, ["If-Match": "*"]).status == 204)
            #expect(try await cache.regions(of: tenant).isEmpty)
        }
    }

    @Test(.proves("H9")) func `say which key seals what, and seal it again`() async throws {
        try await Served.with { served in
            let (tenant, _) = try await served.tenant()
            let admin = served.asOperator
            _ = try await admin.send("PUT", "/v1/admin/tenants/\(tenant)/regions/eu", Self.eu)
            let state = try await admin.get("/v1/admin/secrets")
            let id = try #require(served.plane.secrets.keyID)
            #expect(state.json?["keyId"]?.text == id)
            #expect(state.json?["values"]?[id]?.integer == 1)
            let rotated = try await admin.post("/v1/admin/secrets/rotate", "")
            #expect(rotated.status == 200 && rotated.json?["resealed"]?.integer == 0)
            #expect(rotated.json?["lost"]?.integer == 0)
        }
    }
}
