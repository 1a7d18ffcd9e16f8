import API
import ControlPlane
import IO
import JSON
import Postgres
import ServiceSupport
import Simulator
import TestSupport
import Testing

@Suite struct `The sandbox calls` {
    /// An API with a region at the simulator, and a client of a tenant of it.
    private static func with(
        faults: String = "[]", templates: String? = nil,
        _ body: @Sendable (Fleet, Served, Client) async throws -> Void
    ) async throws {
        try await Fleet.with(faults: faults, templates: templates) { fleet in
            try await Served.with(fleet.plane) { served in
                let draft = Regions.Draft(
                    apiURL: "http://\(fleet.address)", domain: "us.example",
                    dataPlaneURL: "http://\(fleet.address)", apiKey: Fleet.key)
                _ = try await Regions(fleet.plane.reads, fleet.plane.secrets).put(
                    "us", draft, of: fleet.tenant, if: .none, by: .system)
                let (_, secret) = try await fleet.plane.directory.createKey(
                    for: fleet.tenant, name: "t", scopes: [.sandbox, .admin], expiresAt: nil,
                    by: .system)
                try await body(fleet, served, served.client.with(key: secret?.text))
            }
        }
    }

    @Test(.proves("D4"))
    func `promise no life that the provider does not allow`() async throws {
        try await Self.with { fleet, _, client in
            let made = try await client.post("/v1/sandboxes", #"{"template":"base"}"#)
            let id = try #require(made.json?["id"]?.text)
            try await fleet.setFaults(
                #"[{"operations": ["timeout"], "effects": [{"effect": "error", "status": 400}]}]"#)
            let longer = try await client.post(
                "/v1/sandboxes/\(id)/timeout", #"{"timeoutMs":7200000}"#)
            #expect(longer.status == 400, "\(longer.text)")
            #expect(
                longer.json?["detail"]?.text?.hasPrefix("/timeoutMs is refused by the provider")
                    == true)
            let shown = try await client.get("/v1/sandboxes/\(id)")
            #expect(shown.json?["endsAt"]?.text == made.json?["endsAt"]?.text)
        }
    }

    @Test(.proves("D1", "D3", "H2")) func `make, show, list, extend and kill`() async throws {
        try await Self.with { fleet, served, client in
            let made = try await client.post(
                "/v1/sandboxes",
                #"{"template":"base","framework":"nextjs","metadata":{"user":"7"},"envVars":{"A":"b"}}"#
            )
            #expect(made.status == 201, "\(made.text)")
            #expect(made.json?["state"]?.text == "running" && made.json?["attempts"]?.integer == 1)
            #expect(made.json?["fellBack"]?.flag == false)
            #expect(made.json?["replacements"]?.integer == 0)
            #expect(made.json?["timeouts"]?["fileReadMs"]?.integer == 3000)
            #expect(made.json?["timeouts"]?["buildMs"]?.integer == 120_000)
            #expect(made.json?["metadata"]?["user"]?.text == "7")
            #expect(made.json?["domain"]?.text == "us.example")
            let path = try #require(made.fields["location"])
            let shown = try await client.get(path)
            #expect(shown.json?["sandboxId"]?.text == made.json?["sandboxId"]?.text)
            let listed = try await client.get("/v1/sandboxes?state=running")
            #expect(listed.json?["items"]?.count == 1)
            let longer = try await client.post("\(path)/timeout", #"{"timeoutMs":7200000}"#)
            #expect(longer.status == 200, "\(longer.text)")
            let id = try #require(made.json?["sandboxId"]?.text)
            let there = try await fleet.ask("GET", "/sandboxes/\(id)")
            let end = try #require(there["endAt"]?.string.flatMap { Timestamp($0) })
            #expect(end - .now > .seconds(7100))
            let killed = try await client.send("DELETE", path)
            #expect(killed.status == 200 && killed.json?["state"]?.text == "stopped")
            #expect(killed.json?["reason"]?.text == "killed")
            #expect(try await fleet.live().isEmpty)
            #expect(try await client.send("DELETE", path).json?["state"]?.text == "stopped")
            let metrics = try await served.client.get("/metrics").text
            #expect(metrics.contains(#"breakwater_creations_total{outcome="made"} 1"#))
            #expect(metrics.contains(#"breakwater_creations_total{outcome="failed"} 0"#))
            #expect(metrics.contains("breakwater_creation_withdrawn_total 0"))
            #expect(metrics.contains("breakwater_health_checks_total{verdict="))
            let after = try await client.post("\(path)/timeout", #"{"timeoutMs":60000}"#)
            #expect(after.status == 409 && after.problem == "conflict")
            let events = try await client.get("\(path)/events")
            #expect(
                (0..<4).map { events.json?["items"]?[$0]?["to"]?.text }
                    == ["creating", "running", "stopping", "stopped"])
        }
    }

    @Test(.proves("H2", "D1")) func `make one sandbox for one idempotency key`() async throws {
        try await Self.with { fleet, _, client in
            let answers = try await withThrowingTaskGroup(of: Answer.self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        try await client.post(
                            "/v1/sandboxes", #"{"template":"base"}"#, ["Idempotency-Key": "k"])
                    }
                }
                return try await group.reduce(into: [Answer]()) { $0.append($1) }
            }
            #expect(answers.allSatisfy { $0.status == 201 }, "\(answers.map(\.text))")
            #expect(Set(answers.compactMap { $0.json?["id"]?.text }).count == 1)
            #expect(answers.count { $0.fields["idempotency-replayed"] == nil } == 1)
            #expect(try await fleet.settle())
            #expect(try await fleet.live().count == 1)
            let other = try await client.post(
                "/v1/sandboxes", #"{"template":"other"}"#, ["Idempotency-Key": "k"])
            #expect(other.status == 422 && other.problem == "idempotency-mismatch")
        }
    }

    @Test(.proves("D1")) func `go on by themselves where the caller does not wait`() async throws {
        let faults = #"[{"limit": 1, "effects": [{"effect": "error", "status": 500}]}]"#
        try await Self.with(faults: faults) { fleet, _, client in
            let begun = try await client.post(
                "/v1/sandboxes", #"{"template":"base"}"#, ["Prefer": "respond-async"])
            #expect(begun.status == 202, "\(begun.text)")
            let path = try #require(begun.fields["location"])
            var request = try await client.get(path)
            for _ in 0..<300 where request.json?["state"]?.text == "dispatching" {
                try await Task.sleep(for: .milliseconds(20))
                request = try await client.get(path)
            }
            #expect(request.json?["state"]?.text == "fulfilled", "\(request.text)")
            let id = try #require(request.json?["sandbox"]?.text)
            #expect(try await client.get("/v1/sandboxes/\(id)").json?["state"]?.text == "running")
        }
    }

    @Test(.proves("C2", "D1")) func `say why there is none`() async throws {
        try await Self.with { fleet, served, client in
            try await fleet.setFaults(#"[{"effects": [{"effect": "error", "status": 400}]}]"#)
            let refused = try await client.post("/v1/sandboxes", #"{"template":"base"}"#)
            #expect(refused.status == 422 && refused.problem == "creation-refused")
            try await fleet.setFaults(#"[{"effects": [{"effect": "error", "status": 500}]}]"#)
            let failed = try await client.post(
                "/v1/sandboxes", #"{"template":"base","maxAttempts":1}"#)
            #expect(failed.status == 502 && failed.problem == "creation-failed")
            #expect(failed.json?["kind"]?.text == "internal")
            #expect(failed.json?["attempts"]?.integer == 1)
            let request = try #require(failed.json?["requestId"]?.text)
            let shown = try await client.get("/v1/sandbox-requests/\(request)")
            #expect(shown.json?["state"]?.text == "dead")
            _ = try await fleet.plane.breakers.act(
                BreakerKey(fleet.tenant, provider: "e2b", region: "us", .create),
                .lay(.forcedOpen, until: nil), by: .system, reason: nil)
            let open = try await client.post("/v1/sandboxes", #"{"template":"base"}"#)
            #expect(open.status == 503 && open.problem == "breaker-open")
            #expect(open.json?["detail"]?.text?.hasPrefix("Circuit breaker is OPEN - E2B") == true)
            #expect(open.fields["retry-after"] != nil)
            let (_, lonely) = try await served.tenant([.sandbox])
            let none = try await lonely.post("/v1/sandboxes", #"{"template":"base"}"#)
            #expect(none.status == 409, "\(none.text)")
            for body in [
                "{}", #"{"template":""}"#, #"{"template":"b","timeoutMs":1}"#,
                #"{"template":"b","metadata":{"breakwater.tenant":"x"}}"#,
                #"{"template":"b","region":"nowhere"}"#, #"{"template":"b","image":"x"}"#,
            ] {
                let answer = try await client.post("/v1/sandboxes", body)
                #expect(answer.status == 400, "\(body): \(answer.text)")
            }
        }
    }

    @Test(.proves("D2", "F1")) func `look whether a sandbox works`() async throws {
        try await Self.with { fleet, _, client in
            let made = try await client.post("/v1/sandboxes", #"{"template":"base"}"#)
            let path = try #require(made.fields["location"])
            let good = try await client.post("\(path)/health-checks", "{}")
            #expect(good.status == 200 && good.json?["verdict"]?.text == "healthy", "\(good.text)")
            #expect(good.json?["health"]?.text == "healthy" && good.json?["reason"] == .null)
            #expect(try await client.get(path).json?["health"]?.text == "healthy")
            let history = try await client.get("\(path)/events")
            #expect(history.json?["items"]?[2]?["reason"]?.text == "health_check")
            #expect(history.json?["items"]?[2]?["to"]?.text == "running")
            #expect(
                history.json?["items"]?[2]?["detail"]?.text?.hasPrefix("healthy in ") == true)
            #expect(try await client.post("\(path)/health-checks", #"{"x":1}"#).status == 400)

            try await fleet.setFaults(`A health check`.zombie(.nonZeroExit))
            let dead = try await client.post("/v1/sandboxes", #"{"template":"base"}"#)
            let deadPath = try #require(dead.fields["location"])
            let bad = try await client.post("\(deadPath)/health-checks", "{}")
            #expect(bad.json?["verdict"]?.text == "zombie" && bad.json?["tries"]?.integer == 2)
            #expect(bad.json?["reason"]?.text?.contains("exit status 254") == true)
            #expect(try await client.get("\(deadPath)").json?["state"]?.text == "running")

            let id = try #require(made.json?["sandboxId"]?.text)
            _ = try await fleet.ask("DELETE", "/sandboxes/\(id)")
            let gone = try await client.post("\(path)/health-checks", "{}")
            #expect(gone.json?["verdict"]?.text == "gone", "\(gone.text)")
            _ = try await client.send("DELETE", deadPath)
            let over = try await client.post("\(deadPath)/health-checks", "{}")
            #expect(over.status == 409 && over.problem == "conflict")
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("D2")) func `replace one that does not work, if so asked`() async throws {
        try await Self.with(faults: `A health check`.zombie(.wrongOutput, limit: 1)) {
            fleet, _, client in
            let made = try await client.post(
                "/v1/sandboxes", #"{"template":"base","healthCheck":"replace"}"#)
            #expect(made.status == 201, "\(made.text)")
            #expect(made.json?["replacements"]?.integer == 1)
            #expect(made.json?["health"]?.text == "healthy")
            try await fleet.setFaults(`A health check`.zombie(.wrongOutput))
            // The tenant's own setting does the same.
            let set = try await client.send("PATCH", "/v1/settings", #"{"healthCheck":"replace"}"#)
            #expect(set.status == 200, "\(set.text)")
            let none = try await client.post("/v1/sandboxes", #"{"template":"base"}"#)
            #expect(none.status == 502 && none.problem == "creation-failed", "\(none.text)")
            #expect(none.json?["stop"]?.text == "not_working")
            #expect(none.json?["kind"]?.text == "unavailable")
            let off = try await client.post(
                "/v1/sandboxes", #"{"template":"base","healthCheck":"off"}"#)
            #expect(off.status == 201)
            #expect(
                try await client.post(
                    "/v1/sandboxes", #"{"template":"base","healthCheck":"x"}"#
                ).status == 400)
        }
    }

    @Test(.proves("D1", "D4")) func `are made as the tenant's settings say`() async throws {
        try await Self.with(templates: #"["zapdev"]"#) { fleet, _, client in
            let none = try await client.post("/v1/sandboxes", "{}")
            #expect(none.status == 400)
            let set = try await client.send(
                "PATCH", "/v1/settings",
                #"{"defaultTemplate":"zapdev","defaultFramework":"nextjs","sandboxLifeMs":120000,"fileReadMs":4000,"maxAttempts":1}"#
            )
            #expect(set.status == 200, "\(set.text)")
            let made = try await client.post("/v1/sandboxes", "{}")
            #expect(made.status == 201 && made.json?["template"]?.text == "zapdev", "\(made.text)")
            #expect(made.json?["framework"]?.text == "nextjs")
            #expect(made.json?["timeouts"]?["fileReadMs"]?.integer == 4000)
            let end = try #require(made.json?["endsAt"]?.text.flatMap { Timestamp($0) })
            #expect(end - .now > .seconds(110) && end - .now < .seconds(121))
            let missing = try await client.post("/v1/sandboxes", #"{"template":"missing"}"#)
            #expect(missing.status == 201 && missing.json?["fellBack"]?.flag == true)
        }
        // `fallbackOn` both ways: what is no lack of a template, with each rule, by setting and by call.
        let broken =
            #"[{"templates": ["base"], "effects": [{"effect": "error", "status": 500}]}]"#
        try await Self.with(faults: broken) { fleet, _, client in
            _ = try await client.send(
                "PATCH", "/v1/settings", #"{"defaultTemplate":"zapdev","maxAttempts":1}"#)
            func make(_ more: String = "") async throws -> Int {
                try await client.post("/v1/sandboxes", "{\"template\":\"base\"\(more)}").status
            }
            #expect(try await make() == 502)
            #expect(try await make(#","fallbackOn":"anyError""#) == 201)
            _ = try await client.send("PATCH", "/v1/settings", #"{"fallbackOn":"anyError"}"#)
            #expect(try await make() == 201)
            #expect(try await make(#","fallbackOn":"templateNotFound""#) == 502)
        }
    }

    @Test(.proves("D4")) func `give a call to the provider the tenant's time`() async throws {
        let slow = #"[{"effects": [{"effect": "slow", "factor": 1, "addMs": 1500}]}]"#
        try await Self.with(faults: slow) { fleet, _, client in
            _ = try await client.send(
                "PATCH", "/v1/settings", #"{"providerCallMs":300,"maxAttempts":1}"#)
            let late = try await client.post("/v1/sandboxes", #"{"template":"base"}"#)
            #expect(late.status == 502 && late.json?["kind"]?.text == "timeout", "\(late.text)")
        }
    }

    @Test(.proves("H9")) func `are as many as the tenant may have, whoever asks`() async throws {
        try await Self.with { fleet, _, client in
            _ = try await client.send("PATCH", "/v1/settings", #"{"maxLiveSandboxes":3}"#)
            let answers = try await withThrowingTaskGroup(of: Answer.self) { group in
                for _ in 0..<12 {
                    group.addTask {
                        try await client.post("/v1/sandboxes", #"{"template":"base"}"#)
                    }
                }
                return try await group.reduce(into: [Answer]()) { $0.append($1) }
            }
            #expect(answers.count { $0.status == 201 } == 3, "\(answers.map(\.text))")
            for answer in answers where answer.status != 201 {
                #expect(answer.status == 429 && answer.problem == "too-many-requests")
                #expect(answer.json?["detail"]?.text?.contains("maxLiveSandboxes") == true)
                #expect(answer.fields["retry-after"] != nil)
            }
            #expect(try await fleet.live().count == 3)
            // What was refused before it was recorded has cost nothing; a race may cost a record.
            let through = try await client.post("/v2/sandboxes", #"{"templateID":"base"}"#)
            #expect(through.status == 429 && through.fields["should-retry"] == "false")
            #expect(
                through.json?["message"]?.text?.contains("maximum number of concurrent") == true)
            let path = try #require(answers.first { $0.status == 201 }?.fields["location"])
            _ = try await client.send("DELETE", path)
            #expect(try await client.post("/v1/sandboxes", #"{"template":"base"}"#).status == 201)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("B2", "D3"), arguments: ["/v1/sandboxes", "/v2/sandboxes", "/e2b/sandboxes"])
    func `leave nothing to a caller that hangs up`(path: String) async throws {
        let slow = #"[{"effects": [{"effect": "slow", "factor": 1, "addMs": 4000}]}]"#
        try await Self.with(faults: slow) { fleet, _, client in
            let body = path == "/v1/sandboxes" ? #"{"template":"base"}"# : #"{"templateID":"base"}"#
            for key in [nil, "k"] as [String?] {
                let before = try await fleet.rows().count
                var raw: RawClient? = try RawClient(.tcp(host: "127.0.0.1", port: client.port))
                let more = key.map { "Idempotency-Key: \($0)\r\n" } ?? ""
                try raw?.send(
                    "POST \(path) HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \(client.key ?? "")\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\(more)\r\n\(body)"
                )
                try await eventually { try await fleet.rows().count > before }
                raw = nil
                try await eventually { try await fleet.rows().first?.state != .creating }
                #expect(try await fleet.settle())
                let row = try #require(try await fleet.rows().first)
                #expect(
                    row.state == (key == nil ? .stopped : .running), "\(String(describing: key))")
                if key == nil { #expect(row.reason == .abandoned) }
            }
            #expect(try await fleet.live().count == 1)
        }
    }
}
