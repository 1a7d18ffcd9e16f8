import API
import ControlPlane
import HTTP
import IO
import JSON
import Outbound
import Postgres
import ServiceSupport
import Synchronization
import TestSupport
import Testing

/// Takes notifications and answers as it is told to.
private final class Receiver: Sendable {
    struct Call: Sendable {
        let id: String
        let body: JSONValue?
    }

    private let state = Mutex<(calls: [Call], answers: [(Int, [Field])])>(([], []))
    var calls: [Call] { state.withLock { $0.calls } }

    /// The next answers, in order; 200 after them.
    func answer(_ answers: (Int, [Field])...) { state.withLock { $0.answers = answers } }

    func serve<Answer>(
        on loop: EventLoop, _ body: (_ url: String) async throws -> Answer
    ) async throws -> Answer {
        let endpoint = try Listener.open(.tcp(host: "127.0.0.1", port: 0))
        let route = Route(.post, "/hook", "hook") { [self] request throws(Problem) in
            let (status, fields) = state.withLock { state in
                state.calls.append(
                    Call(
                        id: request.header(FieldName("webhook-id")) ?? "",
                        body: JSONValue(String(decoding: request.body, as: UTF8.self))))
                return state.answers.isEmpty ? (200, []) : state.answers.removeFirst()
            }
            var response = Response.text("said")
            response.status = Status(status)
            response.fields += fields
            return response
        }
        let server = Server(on: loop, endpoints: [endpoint], routes: try Routes([route]))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask(executorPreference: loop) { try await server.run() }
            let outcome: Result<Answer, any Error>
            do { outcome = .success(try await body("http://\(endpoint.address)/hook")) } catch {
                outcome = .failure(error)
            }
            await server.drain(within: .milliseconds(200))
            try await group.waitForAll()
            return try outcome.get()
        }
    }
}

private let secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

/// A channel, an outbox with something in it, and a sender whose clock stands.
private struct Outbox: Sendable {
    let plane: Plane
    let tenant: Tenant.ID
    let clock = TestClock(.now)
    let channel: AlertChannel
    let receiver: Receiver

    static func with(_ body: @Sendable (Outbox) async throws -> Void) async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let receiver = Receiver()
            try await receiver.serve(on: plane.loop) { url in
                var draft = AlertChannels.Draft()
                draft.kind = .webhook
                draft.target = (url, "127.0.0.1")
                draft.secret = secret
                let made = try await AlertChannels(plane.reads, plane.secrets).create(
                    draft, of: tenant, by: .system)
                try await body(Outbox(plane, tenant, made.value, receiver))
            }
        }
    }

    private init(
        _ plane: Plane, _ tenant: Tenant.ID, _ channel: AlertChannel, _ receiver: Receiver
    ) {
        self.plane = plane
        self.tenant = tenant
        self.channel = channel
        self.receiver = receiver
    }

    func sender(_ change: (inout AlertSender.Settings) -> Void = { _ in }) -> AlertSender {
        var settings = AlertSender.Settings()
        change(&settings)
        return AlertSender(
            on: plane.loop, pipeline: plane.reads, instance: "test", secrets: plane.secrets,
            client: plane.http, settings: settings, now: { [clock] in clock.now })
    }

    /// A notification of an alert, its `number`-th.
    func put(_ number: Int, of alert: UUID) throws {
        try Session(Conninfo(url: try TestDatabase.direct(plane.url))).run(
            """
            INSERT INTO alert_notification (tenant_id, channel_id, alert_tenant, alert_id, number, event, body,
                                            created_at, not_before)
            VALUES ('\(tenant)', '\(channel.id)', '\(tenant)', '\(alert)', \(number), 'alert.firing',
                    '{"type": "alert.firing", "timestamp": "2026-11-28T10:00:00.000Z", "data": {"notification": \(number)}}',
                    '\(clock.now)', '\(clock.now)')
            """)
    }

    func log() async throws -> [AlertNotification] {
        try await AlertChannels(plane.reads, plane.secrets).notifications(
            of: channel.id, tenant: tenant, state: nil, before: nil, limit: 50)
    }
}

@Suite(.proves("F3")) struct `The sender of notifications` {
    @Test func `tries again ever later, under one id, and gives up`() async throws {
        try await Outbox.with { outbox in
            let sender = outbox.sender { $0.maxAttempts = 4 }
            outbox.receiver.answer((500, []), (404, []), (302, []), (500, []))
            try outbox.put(1, of: .v7())
            // A fifth more or less, so after 6, 12 and 24 s at the latest, and not before 4, 8 and 16.
            for (early, late) in [(0, 0), (3900, 2200), (7900, 4200), (15_900, 8200)] {
                outbox.clock.move(by: .milliseconds(early))
                if early > 0 { #expect(await sender.round() == 0) }
                outbox.clock.move(by: .milliseconds(late))
                #expect(await sender.round() == 1)
            }
            let dead = try #require(try await outbox.log().first)
            #expect(dead.state == .dead && dead.attempts == 4 && dead.lastStatus == 500)
            #expect(Set(outbox.receiver.calls.map(\.id)).count == 1)
            outbox.clock.move(by: .seconds(86_400))
            #expect(await sender.round() == 0)
            _ = try await AlertChannels(outbox.plane.reads, outbox.plane.secrets).retry(
                dead.id, of: outbox.channel.id, tenant: outbox.tenant, by: .system)
            #expect(await sender.round() == 1)
            #expect(try await outbox.log().first?.state == .sent)
            #expect(Set(outbox.receiver.calls.map(\.id)).count == 1)
            let counters = await sender.counters.notifications
            #expect(counters[.init(channel: .webhook, outcome: .dead)] == 1)
            #expect(counters[.init(channel: .webhook, outcome: .sent)] == 1)
        }
    }

    @Test func `keeps the order of an alert, and lets others pass`() async throws {
        try await Outbox.with { outbox in
            let sender = outbox.sender()
            let (failing, other) = (UUID.v7(), UUID.v7())
            try outbox.put(1, of: failing)
            try outbox.put(2, of: failing)
            outbox.receiver.answer((500, []))
            #expect(await sender.round() == 1)
            try outbox.put(1, of: other)
            // The second waits for the first to be tried anew; another alert's does not.
            #expect(await sender.round() == 1)
            outbox.clock.move(by: .seconds(7))
            #expect(await sender.round() == 1)
            #expect(await sender.round() == 1)
            let numbers = outbox.receiver.calls.compactMap {
                $0.body?["data"]?["notification"]?.integer
            }
            #expect(numbers == [1, 1, 1, 2])
        }
    }

    @Test func `keeps to a pause that the receiver asks for`() async throws {
        try await Outbox.with { outbox in
            let sender = outbox.sender()
            outbox.receiver.answer((429, [Field(.retryAfter, "600")]))
            for _ in 0..<3 { try outbox.put(1, of: .v7()) }
            #expect(await outbox.sender { $0.perChannel = 1 }.round() == 1)
            #expect(await sender.round() == 0)
            outbox.clock.move(by: .seconds(599))
            #expect(await sender.round() == 0)
            outbox.clock.move(by: .seconds(1))
            #expect(await sender.round() == 3)
        }
    }

    @Test func `sends no more to a channel at a time than it may, whatever the instances`() async throws {
        try await Outbox.with { outbox in
            for _ in 0..<10 { try outbox.put(1, of: .v7()) }
            let (one, two) = (outbox.sender(), outbox.sender())
            async let first = one.round()
            async let second = two.round()
            let sent = await [first, second]
            #expect(sent.allSatisfy { $0 <= 4 } && sent.reduce(0, +) >= 4)
            while await one.round() > 0 {}
            #expect(Set(outbox.receiver.calls.map(\.id)).count == 10)
            #expect(outbox.receiver.calls.count == 10)
        }
    }

    @Test func `opens channels whose secrets were sealed anew`() async throws {
        try await Outbox.with { outbox in
            let (old, new) = (
                SecretKey(octets: Array(1...32)), SecretKey(octets: Array(2...33))
            )
            let rotation = SecretRotation(
                outbox.plane.reads, SecretBox(new, previous: [old].compactMap { $0 }))
            // URL and secret.
            #expect(try await rotation.rotate(by: .system) == 2)
            #expect(try await rotation.state().lost == 0)
            try outbox.put(1, of: .v7())
            let sender = AlertSender(
                on: outbox.plane.loop, pipeline: outbox.plane.reads, instance: "test",
                secrets: SecretBox(new), client: outbox.plane.http,
                now: { [clock = outbox.clock] in clock.now })
            #expect(await sender.round() == 1)
            #expect(outbox.receiver.calls.count == 1)
        }
    }
}

@Suite(.proves("F2", "F3")) struct `The alert calls` {
    @Test func `make, show, change and remove a channel without giving its secrets away`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.read, .admin])
            let body = #"""
                {"name":"on call","kind":"webhook","url":"https://hooks.example.com/secret-path",
                 "secret":"\#(secret)","minSeverity":"warning","rules":["breaker-open"],"heartbeatS":60}
                """#
            let made = try await client.post(
                "/v1/alert-channels", body, ["Idempotency-Key": "one"])
            #expect(made.status == 201, "\(made.text)")
            let id = try #require(made.json?["id"]?.text)
            #expect(made.fields["location"] == "/v1/alert-channels/\(id)")
            #expect(made.json?["host"]?.text == "hooks.example.com")
            let replay = try await client.post(
                "/v1/alert-channels", body, ["Idempotency-Key": "one"])
            #expect(replay.json?["id"]?.text == id)
            #expect(replay.fields["idempotency-replayed"] == "true")
            let changed = try await client.send(
                "PATCH", "/v1/alert-channels/\(id)",
                #"{"url":"https://other.example.com/secret-path","heartbeatS":null,"enabled":false}"#)
            #expect(changed.json?["host"]?.text == "other.example.com")
            #expect(changed.json?["version"]?.integer == 2 && changed.json?["enabled"]?.flag == false)
            #expect(changed.json?["minSeverity"]?.text == "warning")
            let list = try await client.get("/v1/alert-channels")
            let audit = try await client.get("/v1/admin/tenants/\(tenant)/audit")
            let export = try await served.asOperator.get("/v1/admin/tenants/\(tenant)/export")
            for text in [made, changed, list, audit, export].map(\.text) {
                #expect(!text.contains("secret-path") && !text.contains("AAECAw"), "\(text)")
            }
            for action in ["create", "change"] {
                #expect(audit.text.contains("alert-channel.\(action)"))
            }
            #expect(try await client.send("DELETE", "/v1/alert-channels/\(id)").status == 204)
            #expect(try await client.get("/v1/alert-channels/\(id)").status == 404)
        }
    }

    @Test(arguments: [
        (#"{"url":"https://a.example/"}"#, "/kind"), (#"{"kind":"slack"}"#, "/url"),
        (#"{"kind":"sentry","url":"https://a.example/"}"#, "/url"),
        (#"{"kind":"slack","dsn":"https://a@a.example/1"}"#, "/dsn"),
        (#"{"kind":"sentry","dsn":"https://a.example/1"}"#, "/dsn"),
        (#"{"kind":"sentry","dsn":"https://a@10.0.0.1/1"}"#, "/dsn"),
        (#"{"kind":"slack","url":"http://a.example/"}"#, "/url"),
        (#"{"kind":"slack","url":"https://169.254.169.254/"}"#, "/url"),
        (#"{"kind":"slack","url":"https://u:p@a.example/"}"#, "/url"),
        (#"{"kind":"webhook","url":"https://a.example/"}"#, "/secret"),
        (#"{"kind":"webhook","url":"https://a.example/","secret":"whsec_AAAA"}"#, "/secret"),
        (#"{"kind":"slack","url":"https://a.example/","secret":"\#(secret)"}"#, "/secret"),
        (#"{"kind":"slack","url":"https://a.example/","allTenants":true}"#, "/allTenants"),
        (#"{"kind":"slack","url":"https://a.example/","heartbeatS":1}"#, "/heartbeatS"),
        (#"{"kind":"slack","url":"https://a.example/","rules":["A"]}"#, "/rules/0"),
        (#"{"kind":"mail","url":"https://a.example/"}"#, "/kind"),
    ])
    func `refuse a bad channel and name the member`(body: String, pointer: String) async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.admin])
            let answer = try await client.post("/v1/alert-channels", body)
            #expect(answer.status == 400 && answer.problem == "validation", "\(answer.text)")
            #expect(answer.json?["errors"]?[0]?["pointer"]?.text == pointer, "\(answer.text)")
        }
    }

    @Test(arguments: [
        ("mine", #"{"threshold":1}"#, "/kind"), ("mine", #"{"kind":"quota_used"}"#, "/threshold"),
        ("mine", #"{"kind":"job_late","threshold":1}"#, "/kind"),
        ("mine", #"{"kind":"breaker_open","threshold":1,"windowS":60}"#, "/windowS"),
        ("quota-critical", #"{"clearAt":95}"#, "/clearAt"),
        ("quota-critical", #"{"windowS":59}"#, "/windowS"),
        ("quota-critical", #"{"repeatS":0}"#, "/repeatS"),
        ("quota-critical", #"{"severity":"bad"}"#, "/severity"),
        ("quota-critical", #"{"threshold":-1}"#, "/threshold"),
    ])
    func `refuse a bad rule and name the member`(
        name: String, body: String, pointer: String
    ) async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.admin])
            let answer = try await client.send("PUT", "/v1/alert-rules/\(name)", body)
            #expect(answer.status == 400, "\(answer.text)")
            #expect(answer.json?["errors"]?[0]?["pointer"]?.text == pointer, "\(answer.text)")
        }
    }

    @Test func `do not make a channel again that was deleted`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.read, .admin])
            let body = #"{"kind":"slack","url":"https://hooks.example.com/a"}"#
            let fields = ["Idempotency-Key": "once"]
            let made = try await client.post("/v1/alert-channels", body, fields)
            #expect(made.status == 201, "\(made.text)")
            let id = try #require(made.json?["id"]?.text)
            let again = try await client.post("/v1/alert-channels", body, fields)
            #expect(again.json?["id"]?.text == id)
            let gone = try await client.send("DELETE", "/v1/alert-channels/\(id)", nil)
            #expect(gone.status == 204, "\(gone.text)")
            let late = try await client.post("/v1/alert-channels", body, fields)
            #expect(late.status == 409 && late.text.contains("deleted since"), "\(late.text)")
        }
    }

    @Test func `change a rule and give it back`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.read, .admin])
            let path = "/v1/alert-rules/quota-critical"
            let own = try await client.get(path)
            #expect(own.json?["threshold"]?.decimal == 90 && own.fields["etag"] == #""0""#)
            let changed = try await client.send("PUT", path, #"{"threshold":95,"clearAt":85}"#)
            #expect(changed.status == 201 && changed.fields["etag"] == #""1""#)
            #expect(changed.json?["kind"]?.text == "quota_used")
            #expect(changed.json?["windowS"]?.integer == 3600)
            let again = try await client.send("PUT", path, "{}", ["If-Match": #""1""#])
            // What is not said is as the service has it, not as it was before.
            #expect(again.status == 200 && again.json?["threshold"]?.decimal == 90)
            let deleted = try await client.send("DELETE", path, nil, ["If-Match": #""2""#])
            #expect(deleted.status == 204)
            #expect(try await client.get(path).json?["version"]?.integer == 0)
            // The original's rule, refined to another kind under its name.
            let refined = try await client.send(
                "PUT", "/v1/alert-rules/breaker-open",
                #"{"kind":"breaker_not_closed","keepFiringS":120}"#)
            #expect(refined.json?["threshold"]?.decimal == 300)
            #expect(try await client.get("/v1/alert-rules").json?["items"]?.count == 8)
            let fleet = try await served.asOperator.get("/v1/alert-rules")
            #expect(fleet.json?["items"]?.count == 10)
        }
    }

    @Test func `show a tenant its alerts, and an operator everybody's`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.read, .admin])
            let (_, other) = try await served.tenant([.read, .admin])
            let path = "/v1/breakers/e2b:us:create/force-open"
            #expect(try await client.post(path, "{}").status == 200)
            let job = AlertJob(now: { .now + .seconds(400) })
            _ = try await job.run(served.plane.reads)
            let shown = try await client.get("/v1/alerts?state=firing&rule=breaker-open")
            let alert = try #require(shown.json?["items"]?[0]?["id"]?.text)
            #expect(shown.json?["items"]?[0]?["labels"]?["breaker"]?.text == "e2b:us:create")
            #expect(try await other.get("/v1/alerts").json?["items"]?.count == 0)
            #expect(try await other.get("/v1/alerts/\(alert)").status == 404)
            let all = try await served.asOperator.get("/v1/alerts?allTenants=true")
            #expect(all.json?["items"]?[0]?["tenantId"]?.text == "\(tenant)")
            #expect(try await client.get("/v1/alerts?allTenants=true").status == 400)
            let known = try await client.post(
                "/v1/alerts/\(alert)/acknowledge", #"{"reason":"on it"}"#)
            #expect(known.json?["acknowledgedReason"]?.text == "on it")
            let end = Timestamp.now + .seconds(3600)
            let silence = try await client.post(
                "/v1/alerts/\(alert)/silence", #"{"endsAt":"\#(end)","reason":"known"}"#)
            #expect(silence.status == 201)
            #expect(silence.json?["labels"]?["breaker"]?.text == "e2b:us:create")
            _ = try await job.run(served.plane.reads)
            #expect(try await client.get("/v1/alerts/\(alert)").json?["silenced"]?.flag == true)
            let id = silence.json?["id"]?.text ?? ""
            #expect(try await other.send("DELETE", "/v1/alert-silences/\(id)").status == 404)
            #expect(try await client.send("DELETE", "/v1/alert-silences/\(id)").status == 204)
            #expect(try await client.get("/v1/alert-silences").json?["items"]?.count == 0)
        }
    }
}
