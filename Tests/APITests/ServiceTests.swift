import API
import ControlPlane
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The service itself` {
    @Test(.proves("F6"))
    func `tells its state, its metrics and its contract`() async throws {
        try await Served.with { served in
            let client = served.client
            #expect(try await client.get("/livez").text == #"{"status":"ok"}"#)
            #expect(try await client.get("/readyz").text == #"{"status":"ready"}"#)
            served.readiness.set("database", down: "gone")
            let down = try await client.get("/readyz")
            #expect(down.status == 503)
            #expect(down.problem == "store-unavailable")
            #expect(down.fields["retry-after"] == "1")
            served.readiness.set("database", down: nil)
            #expect(try await client.get("/readyz").status == 200)
            served.readiness.drain()
            #expect(try await client.get("/readyz").status == 503)
            #expect(try await client.get("/livez").status == 200)
            let metrics = try await client.get("/metrics")
            #expect(metrics.fields["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
            #expect(
                metrics.text.contains(
                    #"breakwater_http_requests_total{operation="getReadiness",status="503"} 2"#))
            let contract = try await client.get("/openapi.yaml")
            #expect(contract.text.hasPrefix("openapi: 3.1"))
        }
    }

    @Test(.proves("F6"))
    func `gives every answer a request id, and keeps a good one`() async throws {
        try await Served.with { served in
            let own = try await served.client.send(
                "GET", "/nowhere", nil, ["X-Request-Id": "abc.1"])
            #expect(own.status == 404)
            #expect(own.fields["x-request-id"] == "abc.1")
            #expect(own.json?["instance"]?.text == "urn:breakwater:request:abc.1")
            let bad = try await served.client.send("GET", "/livez", nil, ["X-Request-Id": "a b"])
            #expect(bad.fields["x-request-id"]?.count == 32)
        }
    }

    @Test func `names what a path takes`() async throws {
        try await Served.with { served in
            let answer = try await served.client.send("PUT", "/v1/requests", "{}")
            #expect(answer.status == 405)
            #expect(answer.fields["allow"] == "POST, OPTIONS")
        }
    }

    @Test(.proves("H6"))
    func `lists its jobs and runs one when told`() async throws {
        try await Served.with { served in
            _ = try await served.plane.reads.execute(
                .init(
                    "register", "INSERT INTO job (name) VALUES ('cleanup') ON CONFLICT DO NOTHING"))
            let run = try await served.asOperator.send("POST", "/v1/admin/jobs/cleanup/run")
            #expect(run.status == 202)
            #expect(run.json?["name"]?.text == "cleanup")
            let jobs = try await served.asOperator.get("/v1/admin/jobs")
            #expect(jobs.json?["items"]?[0]?["intervalS"]?.integer == 60)
            let none = try await served.asOperator.send("POST", "/v1/admin/jobs/nothing/run")
            #expect(none.status == 404)
        }
    }
}
