import API
import ControlPlane
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The gateway` {
    private static func region(_ fleet: Fleet, _ tenant: Tenant.ID, _ name: String) async throws {
        let draft = Regions.Draft(
            account: "shared", apiURL: "http://\(fleet.address)", domain: "\(name).example",
            apiKey: Fleet.key)
        _ = try await Regions(fleet.plane.reads, fleet.plane.secrets).put(
            name, draft, of: tenant, if: .none, by: .system)
    }

    private static func with(
        faults: String = "[]", _ body: @Sendable (Fleet, Served, Client) async throws -> Void
    ) async throws {
        try await Fleet.with(faults: faults) { fleet in
            try await Served.with(fleet.plane) { served in
                try await region(fleet, fleet.tenant, "us")
                let (_, secret) = try await fleet.plane.directory.createKey(
                    for: fleet.tenant, name: "t", scopes: [.sandbox], expiresAt: nil, by: .system)
                try await body(fleet, served, served.client.with(key: secret?.text))
            }
        }
    }

    private static let create =
        #"{"templateID":"base","timeout":300,"metadata":{"who":"me","framework":"nextjs"}}"#

    @Test(.proves("D5"), arguments: ["/e2b", ""])
    func `makes a sandbox that is the tenant's, with the provider's answer`(root: String)
        async throws
    {
        try await Self.with { fleet, _, client in
            let made = try await client.post("\(root)/v2/sandboxes", Self.create)
            #expect(made.status == 201, "\(made.text)")
            #expect(made.json?["domain"]?.text == "us.example")
            #expect(made.json?["envdAccessToken"]?.text != nil)
            let id = try #require(made.json?["sandboxID"]?.text)
            let row = try await fleet.creations.store.sandbox(providerID: id, of: fleet.tenant)
            #expect(row.state == .running && row.framework == "nextjs")
            let shown = try await client.get("\(root)/sandboxes/\(id)")
            #expect(shown.json?["metadata"]?.names?.sorted() == ["framework", "who"])
            let end = shown.json?["endAt"]?.text.flatMap { Timestamp($0) }
            #expect((end ?? .now) - .now > .seconds(290))
            #expect(
                try await client.post("\(root)/sandboxes/\(id)/timeout", #"{"timeout":900}"#).status
                    == 204)
            let longer = try await fleet.creations.store.sandbox(row.id, of: fleet.tenant)
            #expect(try #require(longer.endsAt) - .now > .seconds(890))
            #expect(longer.endsAt == longer.providerEndsAt)
            #expect(try await client.send("DELETE", "\(root)/sandboxes/\(id)").status == 204)
            #expect(try await client.send("DELETE", "\(root)/sandboxes/\(id)").status == 404)
            #expect(try await fleet.live().isEmpty)
        }
    }

    /// Its life is over for an hour.
    private static func age(_ fleet: Fleet) throws {
        try Session(Conninfo(url: fleet.plane.url)).execute(
            "UPDATE sandbox SET ends_at = now() - interval '1 hour'")
    }

    @Test(.proves("D5", "D4"))
    func `keeps what its tenant has paused, past the end of its life, and wakes it for another`()
        async throws
    {
        try await Self.with { fleet, _, client in
            let made = try await client.post("/e2b/v2/sandboxes", Self.create)
            let id = try #require(made.json?["sandboxID"]?.text)
            func row() async throws -> ControlPlane.Sandbox {
                try await fleet.creations.store.sandbox(providerID: id, of: fleet.tenant)
            }
            #expect(try await client.post("/e2b/sandboxes/\(id)/pause", "{}").status == 204)
            try Self.age(fleet)
            for _ in 0..<2 {
                _ = try await fleet.sweep.run(fleet.plane.reads)
                _ = try await fleet.pass()
                await fleet.tasks.round()
            }
            #expect(try await row().state == .paused)
            #expect(try await fleet.live().count == 1)
            let woken = try await client.post(
                "/e2b/v2/sandboxes/\(id)/connect", #"{"timeout":600}"#)
            #expect(woken.status == 201, "\(woken.text)")
            _ = try await fleet.sweep.run(fleet.plane.reads)
            let running = try await row()
            #expect(running.state == .running && running.endsAt == running.providerEndsAt)
            #expect(try #require(running.endsAt) - .now > .seconds(590))
            // And that one has an end.
            try Self.age(fleet)
            _ = try await fleet.sweep.run(fleet.plane.reads)
            #expect(try await fleet.settle())
            #expect(try await row().reason == .expired)
            #expect(try await fleet.live().isEmpty)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D5", "D3"))
    func `leaves one that pauses at its end to its provider, and follows`() async throws {
        try await Self.with { fleet, _, client in
            let made = try await client.post(
                "/e2b/v2/sandboxes", #"{"templateID":"base","timeout":300,"autoPause":true}"#)
            let id = try #require(made.json?["sandboxID"]?.text)
            func row() async throws -> ControlPlane.Sandbox {
                try await fleet.creations.store.sandbox(providerID: id, of: fleet.tenant)
            }
            #expect(try await row().pauses)
            try Self.age(fleet)
            _ = try await fleet.sweep.run(fleet.plane.reads)
            #expect(try await row().state == .running)
            _ = try await fleet.ask("POST", "/_sim/clock", #"{"advanceMs":301000}"#)
            _ = try await fleet.pass()
            #expect(try await row().state == .paused)
            // Woken by what its user does with it: nothing of that comes through here.
            _ = try await fleet.ask("POST", "/v2/sandboxes/\(id)/connect", #"{"timeout":900}"#)
            _ = try await fleet.pass()
            let running = try await row()
            #expect(running.state == .running)
            #expect(try #require(running.endsAt) - .now > .seconds(890))
            _ = try await fleet.sweep.run(fleet.plane.reads)
            #expect(try await client.send("DELETE", "/e2b/sandboxes/\(id)").status == 204)
            #expect(try await fleet.settle())
            #expect(try await fleet.live().isEmpty)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D5", "D4"))
    func `ends nothing here while its provider is asked to keep it`() async throws {
        let faults =
            #"[{"operations": ["pause"], "effects": [{"effect": "slow", "factor": 1, "addMs": 1500}]}]"#
        try await Self.with(faults: faults) { fleet, _, client in
            let made = try await client.post("/e2b/v2/sandboxes", Self.create)
            let id = try #require(made.json?["sandboxID"]?.text)
            try Session(Conninfo(url: fleet.plane.url)).execute(
                "UPDATE sandbox SET ends_at = clock_timestamp() + interval '400 milliseconds'")
            async let paused = client.post("/e2b/sandboxes/\(id)/pause", "{}")
            for _ in 0..<40 {
                _ = try await fleet.sweep.run(fleet.plane.reads)
                try await Task.sleep(for: .milliseconds(20))
            }
            #expect(try await paused.status == 204)
            let row = try await fleet.creations.store.sandbox(providerID: id, of: fleet.tenant)
            #expect(row.state == .paused)
            #expect(try await fleet.live().count == 1)
        }
    }

    @Test(.proves("D5", "D4"))
    func `says what the provider says of a life that it does not allow`() async throws {
        let faults =
            #"[{"operations": ["timeout"], "effects": [{"effect": "error", "status": 400}]}]"#
        try await Self.with(faults: faults) { fleet, served, client in
            // Also asked again, and where the default template takes the place after any error.
            let (_, admin) = try await fleet.plane.directory.createKey(
                for: fleet.tenant, name: "a", scopes: [.admin], expiresAt: nil, by: .system)
            let set = try await served.client.with(key: admin?.text).send(
                "PATCH", "/v1/settings", #"{"defaultTemplate":"zapdev","fallbackOn":"anyError"}"#)
            #expect(set.status == 200, "\(set.text)")
            for _ in 0..<2 {
                let made = try await client.send(
                    "POST", "/e2b/v2/sandboxes", Self.create, ["Idempotency-Key": "one"])
                #expect(made.status == 400, "\(made.text)")
                #expect(made.fields["should-retry"] == "false")
            }
            #expect(try await fleet.settle())
            #expect(try await fleet.live().isEmpty)
            #expect(try await fleet.rows().map(\.reason) == [.refused])
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D5", "H2"))
    func `gives two with one key one sandbox, also at the same time`() async throws {
        let faults =
            #"[{"operations": ["create"], "effects": [{"effect": "slow", "factor": 1, "addMs": 500}]}]"#
        try await Self.with(faults: faults) { fleet, _, client in
            async let one = client.send(
                "POST", "/e2b/v2/sandboxes", Self.create, ["Idempotency-Key": "same"])
            async let two = client.send(
                "POST", "/e2b/v2/sandboxes", Self.create, ["Idempotency-Key": "same"])
            let answers = try await [one, two]
            #expect(answers.map(\.status) == [201, 201])
            #expect(Set(answers.map { $0.json?["sandboxID"]?.text }).count == 1)
            #expect(try await fleet.live().count == 1)
        }
    }

    @Test(
        .proves("D5", "H1"),
        arguments: [
            "metadata=a%3Db&metadata=breakwater.tenant%3D",
            "metadata=a%3Db&%6detadata=breakwater.tenant%3D",
            "%6detadata=breakwater.tenant%3D",
        ])
    func `lists nobody else's, however it is asked`(query: String) async throws {
        try await Self.with { fleet, served, client in
            let made = try await client.post("/e2b/v2/sandboxes", Self.create)
            let id = try #require(made.json?["sandboxID"]?.text)
            let (other, stranger) = try await served.tenant([.sandbox])
            try await Self.region(fleet, other, "us")
            let list = try await stranger.get("/e2b/v2/sandboxes?\(query)\(fleet.tenant)")
            #expect([200, 400].contains(list.status) && !list.text.contains(id), "\(list.text)")
            #expect(try await stranger.get("/e2b/events/sandboxes").status == 501)
        }
    }

    @Test(.proves("D5"))
    func `answers what cannot be kept or read in words`() async throws {
        let faults = #"[{"operations": ["get"], "effects": [{"effect": "malformed"}]}]"#
        try await Self.with(faults: faults) { fleet, _, client in
            for body in [
                #"{"templateID":"base","metadata":{"a":"x\u0000y"}}"#,
                #"{"templateID":"base","metadata":{"a\u0000":"x"}}"#, #"{"templateID":"b\u0000"}"#,
            ] {
                let answer = try await client.post("/e2b/v2/sandboxes", body)
                #expect(answer.status == 400 && answer.text.contains("U+0000"), "\(answer.text)")
            }
            let made = try await client.post("/e2b/v2/sandboxes", Self.create)
            let id = try #require(made.json?["sandboxID"]?.text)
            let shown = try await client.get("/e2b/sandboxes/\(id)")
            #expect(shown.status == 502 && shown.json?["message"]?.text != nil, "\(shown.text)")
            // Nor does the HTTP layer say what a stock SDK cannot read.
            let nowhere = try await client.send("DELETE", "/sandboxes")
            #expect([404, 405].contains(nowhere.status) || nowhere.json?["code"]?.integer != nil)
            let unknown = try await client.get("/nowhere")
            #expect(unknown.json?["code"]?.integer == 404 && unknown.json?["message"]?.text != nil)
            #expect(unknown.fields["should-retry"] == "false")
        }
    }

    @Test(.proves("D5", "H1"))
    func `shows and touches no sandbox of another tenant in the same account`() async throws {
        try await Self.with { fleet, served, client in
            let made = try await client.post("/e2b/v2/sandboxes", Self.create)
            let id = try #require(made.json?["sandboxID"]?.text)
            let (other, stranger) = try await served.tenant([.sandbox])
            try await Self.region(fleet, other, "us")
            for (method, path, body) in [
                ("GET", "/e2b/sandboxes/\(id)", nil), ("DELETE", "/e2b/sandboxes/\(id)", nil),
                ("POST", "/e2b/sandboxes/\(id)/timeout", #"{"timeout":9}"#),
                ("POST", "/e2b/v2/sandboxes/\(id)/connect", #"{"timeout":9}"#),
                ("POST", "/e2b/sandboxes/\(id)/pause", "{}"),
                ("GET", "/e2b/v2/sandboxes/\(id)/logs", nil),
            ] as [(String, String, String?)] {
                let answer = try await stranger.send(method, path, body)
                #expect(answer.status == 404, "\(method) \(path)")
                #expect(answer.fields["should-retry"] == "false")
            }
            #expect(try await stranger.get("/e2b/v2/sandboxes").text == "[]")
            let own = try await client.get("/e2b/v2/sandboxes?limit=10&state=running")
            #expect(own.json?[0]?["sandboxID"]?.text == id)
            // Neither by a filter of its own.
            let sly = try await stranger.get(
                "/e2b/v2/sandboxes?metadata=breakwater.tenant%3D\(fleet.tenant)")
            #expect(!sly.text.contains(id), "\(sly.text)")
            #expect(try await fleet.live().count == 1)
        }
    }

    @Test(.proves("D5")) func `lists all regions, a page after the other`() async throws {
        try await Self.with { fleet, _, client in
            try await Self.region(fleet, fleet.tenant, "zz")
            for _ in 0..<3 { _ = try await client.post("/e2b/v2/sandboxes", Self.create) }
            var found = 0
            var path = "/e2b/v2/sandboxes?limit=2"
            for _ in 0..<10 {
                let page = try await client.get(path)
                #expect(page.status == 200)
                found += page.json?.count ?? 0
                guard let token = page.fields["x-next-token"] else { break }
                path = "/e2b/v2/sandboxes?limit=2&nextToken=\(token)"
            }
            // Both regions are one account here: each shows the three.
            #expect(found == 6)
            let wrong = try await client.get("/e2b/v2/sandboxes?nextToken=x")
            #expect(wrong.status == 400)
        }
    }

    @Test(.proves("D5", "C2")) func `says in the provider's form what went wrong`() async throws {
        try await Self.with { fleet, served, client in
            for (body, status) in [
                ("{}", 400), ("[]", 400), (#"{"templateID":"b","timeout":0}"#, 400),
                (#"{"templateID":"b","metadata":{"breakwater.sandbox":"x"}}"#, 400),
            ] {
                let answer = try await client.post("/e2b/v2/sandboxes", body)
                #expect(answer.status == status, "\(body)")
                #expect(answer.json?["code"]?.integer == status)
                #expect(answer.json?["message"]?.text?.isEmpty == false)
                #expect(answer.fields["should-retry"] == "false")
            }
            let nobody = try await served.client.post("/e2b/v2/sandboxes", Self.create)
            #expect(nobody.status == 401 && nobody.json?["code"]?.integer == 401)
            try await fleet.setFaults(
                #"[{"effects": [{"effect": "error", "status": 500, "format": "html"}]}]"#)
            let failed = try await client.post("/e2b/v2/sandboxes", Self.create)
            #expect(failed.status == 500, "\(failed.text)")
            #expect(failed.json?["message"]?.text == "The provider answered 500")
            #expect(failed.fields["should-retry"] == "false")
            _ = try await fleet.plane.breakers.act(
                BreakerKey(fleet.tenant, provider: "e2b", region: "us", .create),
                .lay(.forcedOpen, until: nil), by: .system, reason: nil)
            let calls = try await fleet.ask("GET", "/_sim")["calls"]?.integer
            let open = try await client.post("/e2b/v2/sandboxes", Self.create)
            #expect(open.status == 503 && open.fields["should-retry"] == "false")
            #expect(
                open.json?["message"]?.text?.hasPrefix("Circuit breaker is OPEN - E2B") == true)
            #expect(try await fleet.ask("GET", "/_sim")["calls"]?.integer == calls)
        }
    }
}
