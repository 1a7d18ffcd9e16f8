import API
import ControlPlane
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The sandbox calls` {
    /// An API with a region at the simulator, and a client of a tenant of it.
    private static func with(
        faults: String = "[]", _ body: @Sendable (Fleet, Served, Client) async throws -> Void
    ) async throws {
        try await Fleet.with(faults: faults) { fleet in
            try await Served.with(fleet.plane) { served in
                let draft = Regions.Draft(
                    apiURL: "http://\(fleet.address)", domain: "us.example", apiKey: Fleet.key)
                _ = try await Regions(fleet.plane.reads, fleet.plane.secrets).put(
                    "us", draft, of: fleet.tenant, if: .none, by: .system)
                let (_, secret) = try await fleet.plane.directory.createKey(
                    for: fleet.tenant, name: "t", scopes: [.sandbox], expiresAt: nil, by: .system)
                try await body(fleet, served, served.client.with(key: secret?.text))
            }
        }
    }

    @Test(.proves("D1", "D3", "H2")) func `make, show, list, extend and kill`() async throws {
        try await Self.with { fleet, _, client in
            let made = try await client.post(
                "/v1/sandboxes",
                #"{"template":"base","framework":"nextjs","metadata":{"user":"7"},"envVars":{"A":"b"}}"#)
            #expect(made.status == 201, "\(made.text)")
            #expect(made.json?["state"]?.text == "running" && made.json?["attempts"]?.integer == 1)
            #expect(made.json?["fellBack"]?.flag == false)
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
}
