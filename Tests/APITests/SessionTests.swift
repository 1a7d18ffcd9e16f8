import API
import ControlPlane
import HTTP
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

/// What a browser that signed in sends along.
private struct Browser {
    let client: Client
    let cookie: String
    let csrf: String

    /// Signs in with the client's key.
    init(_ client: Client, _ fields: [String: String] = [:]) async throws {
        let answer = try await client.send(
            "POST", "/v1/session", "{}", fields.merging(["Sec-Fetch-Site": "same-origin"]) { $1 })
        try #require(answer.status == 201, "\(answer.text)")
        let set = try #require(answer.fields["set-cookie"])
        cookie = String(set.prefix { $0 != ";" })
        csrf = try #require(answer.json?["csrfToken"]?.text)
        self.client = client.with(key: nil)
    }

    func send(
        _ method: String, _ path: String, _ body: String? = nil, _ fields: [String: String]
    ) async throws -> Answer {
        try await client.send(method, path, body, fields.merging(["Cookie": cookie]) { $1 })
    }

    func get(_ path: String) async throws -> Answer { try await send("GET", path, nil, [:]) }

    /// As its page does.
    func change(_ method: String, _ path: String, _ body: String? = nil) async throws -> Answer {
        try await send(
            method, path, body, ["Sec-Fetch-Site": "same-origin", "X-CSRF-Token": csrf])
    }
}

enum SessionEnd: CaseIterable, Sendable {
    case signOut, time, idleness

    var change: String {
        switch self {
        case .signOut: "ended_at = now()"
        case .time: "expires_at = now() - interval '1 second'"
        case .idleness: "seen_at = now() - interval '31 minutes'"
        }
    }
}

@Suite(.proves("F4", "H1")) struct `A session` {
    @Test func `acts as its key does, is audited, and ends when it is ended`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.read, .admin])
            let answer = try await client.post("/v1/session", "{}")
            #expect(answer.status == 201)
            let set = try #require(answer.fields["set-cookie"])
            #expect(set.contains("; HttpOnly; SameSite=Strict") && !set.contains("Secure"))
            #expect(set.contains("; Path=/; Max-Age=43200;"))
            #expect(answer.fields["cache-control"] == "no-store")
            let browser = try await Browser(client)
            let shown = try await browser.get("/v1/session")
            #expect(shown.json?["tenantId"]?.text == "\(tenant)")
            #expect(shown.json?["csrfToken"]?.text == browser.csrf)
            let reset = try await browser.change(
                "POST", "/v1/breakers/e2b:default:create/reset", #"{"reason":"from the page"}"#)
            #expect(reset.status == 200)
            let keyID = try #require(shown.json?["keyId"]?.text)
            let audit = try await browser.get("/v1/admin/tenants/\(tenant)/audit")
            #expect(audit.json?["items"]?[0]?["action"]?.text == "breaker.reset")
            #expect(audit.json?["items"]?[0]?["actor"]?.text == "key:\(keyID)")
            #expect(audit.json?["items"]?[1]?["action"]?.text == "session.start")
            let ended = try await browser.change("DELETE", "/v1/session")
            #expect(ended.status == 204)
            #expect(ended.fields["set-cookie"]?.contains("Max-Age=0") == true)
            #expect(try await browser.get("/v1/session").status == 401)
            #expect(try await browser.get("/v1/overview").problem == "unauthorized")
            #expect(try await client.get("/v1/session").status == 404)
            let stored = try Session(Conninfo(url: served.plane.url)).execute(
                "SELECT string_agg(encode(hash, 'hex'), ' ') FROM session")
            let token = try #require(browser.cookie.split(separator: "=").last)
            #expect(try !stored.only().text(0).contains(token.suffix(64)))
        }
    }

    @Test func `begins with a good key alone`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            for key in [nil, "e2b_wrong", served.operatorKey.replacing("0", with: "1")] {
                let answer = try await served.client.with(key: key).post("/v1/session", "{}")
                #expect(answer.status == 401 && answer.fields["set-cookie"] == nil)
            }
            let browser = try await Browser(client)
            #expect(try await browser.change("POST", "/v1/session", "{}").status == 403)
            let strange = try await client.post("/v1/session", #"{"forever":true}"#)
            #expect(strange.status == 400)
            let acting = try await served.asOperator.post(
                "/v1/session", "{}", ["Breakwater-Tenant": "\(Tenant.ID.fleet)"])
            #expect(acting.status == 400)
        }
    }

    @Test func `changes nothing for another page, nor without its token`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.read, .admin])
            let browser = try await Browser(client)
            let path = "/v1/breakers/e2b:default:create/reset"
            let (good, csrf) = (["Sec-Fetch-Site": "same-origin"], browser.csrf)
            let refused: [[String: String]] = [
                good, good.merging(["X-CSRF-Token": String(csrf.reversed())]) { $1 },
                ["X-CSRF-Token": csrf], ["X-CSRF-Token": csrf, "Sec-Fetch-Site": "same-site"],
                ["X-CSRF-Token": csrf, "Sec-Fetch-Site": "cross-site"],
                ["X-CSRF-Token": csrf, "Origin": "https://evil.example"],
                ["X-CSRF-Token": csrf, "Origin": "null"],
            ]
            for fields in refused {
                let answer = try await browser.send("POST", path, "{}", fields)
                #expect(answer.status == 403 && answer.problem == "forbidden", "\(fields)")
            }
            let fields = ["X-CSRF-Token": csrf, "Origin": "http://test"]
            #expect(try await browser.send("POST", path, "{}", fields).status == 200)
            // A page of another origin may not begin one either, as whoever it likes.
            let other = try await client.post(
                "/v1/session", "{}", ["Origin": "https://evil.example"])
            #expect(other.status == 403 && other.fields["set-cookie"] == nil)
            // What a browser sends to the gateway by itself is no key.
            #expect(try await browser.get("/sandboxes/x").status == 401)
        }
    }

    @Test func `ends within a second of its key, on another instance too`() async throws {
        try await Served.with { served in
            try await Plane.with(url: served.plane.url) { other in
                let (tenant, client) = try await served.tenant([.read, .admin])
                let browser = try await Browser(client)
                let token = try #require(
                    SessionToken(String(browser.cookie.split(separator: "=")[1])))
                let caller = try await other.keys.caller(ofKey: token.keyID, from: { nil })
                #expect(caller.tenant == tenant)
                _ = try await other.keys.sessions.session(token, of: tenant, from: nil)
                try await served.plane.directory.revokeKey(
                    token.keyID, of: tenant, reason: nil, by: .system)
                let revoked = MonotonicInstant.now
                while (try? await other.keys.caller(ofKey: token.keyID, from: { nil })) != nil {
                    try #require(revoked.duration(to: .now) < .seconds(1))
                    try await Task.sleep(for: .milliseconds(5))
                }
                let end = MonotonicInstant.now.advanced(by: .seconds(1))
                while try await browser.get("/v1/overview").status != 401 {
                    try #require(MonotonicInstant.now < end)
                }
            }
        }
    }

    @Test func `that is ended at one instance is over at another within a second`() async throws {
        try await Served.with { served in
            try await Plane.with(url: served.plane.url) { other in
                let (tenant, client) = try await served.tenant()
                let browser = try await Browser(client)
                let token = try #require(
                    SessionToken(String(browser.cookie.split(separator: "=")[1])))
                let sessions = other.keys.sessions
                _ = try await sessions.session(token, of: tenant, from: nil)
                #expect(try await browser.change("DELETE", "/v1/session").status == 204)
                let ended = MonotonicInstant.now
                while (try? await sessions.session(token, of: tenant, from: nil)) != nil {
                    try #require(ended.duration(to: .now) < .seconds(1))
                    try await Task.sleep(for: .milliseconds(5))
                }
            }
        }
    }

    @Test(arguments: [
        "expires_at = now() - interval '1 second'", "seen_at = now() - interval '31 minutes'",
    ])
    func `is over after its time, and when nobody used it`(_ change: String) async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant()
            let browser = try await Browser(client)
            try Session(Conninfo(url: served.plane.url)).run("UPDATE session SET \(change)")
            #expect(try await browser.get("/v1/session").status == 401)
            let fresh = try await Browser(client)
            #expect(try await fresh.get("/v1/session").json?["tenantId"]?.text == "\(tenant)")
        }
    }

    @Test(.proves("F1"), arguments: SessionEnd.allCases)
    func `ends the streams that it began, however it ends`(_ end: SessionEnd) async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.read, .admin])
            let browser = try await Browser(client)
            let other = try await Browser(client)
            let stream = try await EventStreamClient.open(
                served.client.port, key: nil, cookie: browser.cookie)
            let kept = try await EventStreamClient.open(
                served.client.port, key: nil, cookie: other.cookie)
            #expect(stream.answer.status == 200)
            served.plane.buffer.note(.health(tenant, "before"))
            #expect(try await stream.next()?.json?["sandboxId"]?.text == "before")
            let begin = MonotonicInstant.now
            switch end {
            case .signOut:
                #expect(try await browser.change("DELETE", "/v1/session").status == 204)
            case .time, .idleness:
                // As an instance sees it whose last look-up is a minute old. The first session is the browser's.
                try Session(Conninfo(url: served.plane.url)).run(
                    """
                    UPDATE session SET \(end.change)
                    WHERE  created_at = (SELECT min(created_at) FROM session)
                    """)
                await served.plane.keys.sessions.forget()
            }
            let last = try await stream.next(within: .seconds(10))
            #expect(last?.event == "end" && last?.json?["reason"]?.text == "unauthorized")
            #expect(try await stream.next(within: .seconds(10)) == nil)
            // The check is each second, and a busy machine late.
            #expect(begin.duration(to: .now) < .seconds(5))
            #expect(try await browser.get("/v1/session").status == 401)
            served.plane.buffer.note(.health(tenant, "after"))
            _ = try await kept.next()
            #expect(try await kept.next()?.json?["sandboxId"]?.text == "after")
        }
    }

    @Test func `is not used by a stream that nobody looks at`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant()
            let browser = try await Browser(client)
            let token = try #require(SessionToken(String(browser.cookie.split(separator: "=")[1])))
            let database = try Session(Conninfo(url: served.plane.url))
            let sessions = served.plane.keys.sessions
            let was = "extract(epoch FROM now() - seen_at) > 1000"
            try database.run("UPDATE session SET seen_at = now() - interval '20 minutes'")
            #expect(try await sessions.goesOn(token, of: tenant))
            #expect(try await sessions.goesOn(token, of: tenant))
            #expect(try database.execute("SELECT \(was) FROM session").only().bool(0))
            // A call uses it, though it is remembered by then.
            #expect(try await browser.get("/v1/session").status == 200)
            #expect(try !database.execute("SELECT \(was) FROM session").only().bool(0))
        }
    }

    @Test func `gives way when its key has too many, and guesses are counted`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let first = try await Browser(client)
            let second = try await Browser(client)
            for _ in 0..<19 { _ = try await Browser(client) }
            #expect(try await first.get("/v1/session").status == 401)
            #expect(try await second.get("/v1/session").status == 200)
            // A token of a known key with another secret, until the address has tried too often.
            let guess = second.cookie.dropLast(8) + "00000000"
            var statuses: Set<Int> = []
            for _ in 0..<60 {
                let answer = try await served.client.send(
                    "GET", "/v1/session", nil, ["Cookie": String(guess)])
                statuses.insert(answer.status)
            }
            #expect(statuses == [401, 429])
            // The key is new, so that polls have it looked up again meanwhile.
            for _ in 0..<20 {
                #expect(try await second.get("/v1/session").status == 200)
                _ = try await served.client.send(
                    "GET", "/v1/session", nil, ["Cookie": String(guess)])
                try await Task.sleep(for: .milliseconds(45))
            }
        }
    }

    @Test func `behind TLS has a cookie for TLS, and no other is taken there`() async throws {
        var settings = APISettings()
        settings.trustedProxies.networks = [try #require(IPNetwork("127.0.0.1"))]
        try await Served.with(settings: settings) { served in
            let (_, client) = try await served.tenant()
            for fields in [
                ["X-Forwarded-Proto": "https"], ["Forwarded": "for=192.0.2.7;proto=https"],
            ] {
                let answer = try await client.post("/v1/session", "{}", fields)
                let set = try #require(answer.fields["set-cookie"])
                #expect(set.hasPrefix("__Host-breakwater-session="))
                #expect(set.hasSuffix("; HttpOnly; SameSite=Strict; Secure"))
                let browser = try await Browser(client, fields)
                #expect(try await browser.send("GET", "/v1/session", nil, fields).status == 200)
                let plain = try await Browser(client)
                #expect(try await plain.send("GET", "/v1/session", nil, fields).status == 401)
            }
        }
    }
}

@Suite(.proves("F4", "H1")) struct `An operator` {
    @Test func `acts for a tenant by naming it, in its audit, and nobody else does`() async throws {
        try await Served.with { served in
            let (mine, client) = try await served.tenant([.read, .admin])
            let (theirs, other) = try await served.tenant([.read, .admin])
            let named = ["Breakwater-Tenant": "\(theirs)"]
            let path = "/v1/breakers/e2b:default:create"
            let opened = try await served.asOperator.post(
                path + "/force-open", #"{"reason":"maintenance"}"#, named)
            #expect(opened.status == 200)
            #expect(try await other.get(path).json?["state"]?.text == "OPEN")
            #expect(try await client.get(path).json?["state"]?.text == "CLOSED")
            let audit = try await other.get("/v1/admin/tenants/\(theirs)/audit")
            let key = try #require(APIKeySecret(served.operatorKey)).id
            #expect(audit.json?["items"]?[0]?["actor"]?.text == "key:\(key)")
            let seen = try await served.asOperator.send("GET", "/v1/overview", nil, named)
            #expect(seen.json?["tenantId"]?.text == "\(theirs)")
            #expect(seen.json?["breakers"]?.count == 1)
            // Of another key it says nothing.
            let own = try await client.send("GET", "/v1/overview", nil, named)
            #expect(own.json?["tenantId"]?.text == "\(mine)")
            #expect(own.json?["breakers"]?.count == 0)
            for wrong in ["x", "01a205fa-0649-7568-9913-e7077cb56751"] {
                let answer = try await served.asOperator.send(
                    "GET", "/v1/overview", nil, ["Breakwater-Tenant": wrong])
                #expect(answer.status == 400 && answer.problem == "validation")
            }
            // An administrator's rights, no more.
            let jobs = try await served.asOperator.send("GET", "/v1/admin/jobs", nil, named)
            #expect(jobs.status == 403)
        }
    }
}
