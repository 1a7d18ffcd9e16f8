import ControlPlane
import JSON
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The attempt calls` {
    @Test(.proves("D6", "D4")) func `permit, report, and show what became of it`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let permit = try await client.post(
                "/v1/attempts", #"{"operation":"sandbox_create","maxPerHour":100}"#)
            #expect(permit.status == 200 && permit.json?["allowed"]?.flag == true)
            #expect(permit.json?["count"]?.integer == 1 && permit.json?["remaining"]?.integer == 99)
            #expect(permit.json?["breaker"]?.text == "e2b:default:create")
            #expect(permit.json?["breakerState"]?.text == "CLOSED")
            #expect(permit.json?["timeouts"]?["sandboxLifeMs"]?.integer == 1_800_000)
            #expect(permit.json?["timeouts"]?["fileReadMs"]?.integer == 3000)
            #expect(permit.json?["timeouts"]?["buildMs"]?.integer == 120_000)
            #expect(permit.fields["ratelimit"]?.contains("r=99") == true)
            let path = "/v1/attempts/" + (permit.json?["id"]?.text ?? "")
            let failed = try await client.post(
                "\(path)/outcome",
                #"{"outcome":"failed","durationMs":7,"willRetry":true,"error":{"status":503}}"#)
            #expect(failed.status == 200 && failed.json?["retry"]?.flag == true)
            #expect((800...1200).contains(failed.json?["retryAfterMs"]?.integer ?? 0))
            #expect(failed.json?["error"]?["kind"]?.text == "unavailable")
            #expect(failed.json?["nextRecordedAt"]?.text != nil)
            let done = try await client.post(
                "\(path)/outcome", #"{"outcome":"succeeded","attempt":2}"#)
            #expect(done.status == 200 && done.json?["retry"]?.flag == false)
            #expect(done.json?["stop"] == .null)
            await served.plane.attempts.flush()
            let shown = try await client.get(path)
            #expect(shown.json?["tries"]?.count == 2)
            #expect(shown.json?["tries"]?[0]?["kind"]?.text == "unavailable")
            #expect(shown.json?["tries"]?[1]?["outcome"]?.text == "succeeded")
            let metrics = try await served.client.get("/metrics")
            #expect(metrics.text.contains(#"breakwater_attempts_total{outcome="failed"} 1"#))
        }
    }

    @Test(.proves("D6", "C2")) func `refuse by an answer, not by an error`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.record, .read, .admin])
            let body = #"{"operation":"sandbox_connect","maxPerHour":1}"#
            #expect(try await client.post("/v1/attempts", body).json?["allowed"]?.flag == true)
            let over = try await client.post("/v1/attempts", body)
            #expect(over.status == 200 && over.json?["allowed"]?.flag == false)
            #expect(over.json?["reason"]?.text == "quota_exceeded")
            #expect(over.json?["limit"]?.integer == 1 && over.json?["count"]?.integer == 1)
            #expect((over.json?["retryAfterMs"]?.integer ?? 0) > 3_500_000)
            _ = try await client.send("POST", "/v1/breakers/e2b:eu:manage/force-open")
            let open = try await client.post(
                "/v1/attempts", #"{"operation":"sandbox_connect","region":"eu"}"#)
            #expect(open.status == 200 && open.json?["reason"]?.text == "breaker_open")
            #expect(open.json?["message"]?.text?.hasPrefix("Circuit breaker is OPEN - E2B") == true)
            #expect(open.json?["breakerState"]?.text == "OPEN")
        }
    }

    @Test(
        .proves("H2"),
        arguments: [
            (#"{}"#, ""), (#"{"operation":"A"}"#, "/operation"),
            (#"{"operation":"a","provider":"E2B"}"#, "/provider"),
            (#"{"operation":"a","region":""}"#, "/region"),
            (#"{"operation":"a","operationClass":"kill"}"#, "/operationClass"),
            (#"{"operation":"a","deadlineMs":0}"#, "/deadlineMs"),
            (#"{"operation":"a","deadlineMs":3600001}"#, "/deadlineMs"),
            (#"{"operation":"a","cost":0}"#, "/cost"),
            (#"{"operation":"a","maxPerhour":1}"#, "/maxPerhour"),
        ])
    func `name what is wrong with a request`(body: String, field: String) async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let answer = try await client.post("/v1/attempts", body)
            #expect(answer.status == 400 && answer.problem == "validation")
            #expect(answer.json?["errors"]?[0]?["pointer"]?.text == field, "\(answer.text)")
        }
    }

    @Test(
        .proves("H2"),
        arguments: [
            (#"{}"#, ""), (#"{"outcome":"ok"}"#, "/outcome"),
            (#"{"outcome":"failed"}"#, ""),
            (#"{"outcome":"succeeded","attempt":0}"#, "/attempt"),
            (#"{"outcome":"succeeded","attempt":1001}"#, "/attempt"),
            (#"{"outcome":"failed","error":{"status":99}}"#, "/error/status"),
            (#"{"outcome":"failed","error":{"code":1}}"#, "/error/code"),
        ])
    func `name what is wrong with an outcome`(body: String, field: String) async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let permit = try await client.post("/v1/attempts", #"{"operation":"a"}"#)
            let path = "/v1/attempts/" + (permit.json?["id"]?.text ?? "")
            let answer = try await client.post("\(path)/outcome", body)
            #expect(answer.status == 400 && answer.problem == "validation")
            #expect(answer.json?["errors"]?[0]?["pointer"]?.text == field, "\(answer.text)")
            let contradiction = try await client.post(
                "\(path)/outcome", #"{"outcome":"succeeded","error":{"status":500}}"#)
            #expect(contradiction.status == 400)
        }
    }

    @Test(.proves("H1")) func `know no attempt of another tenant`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let (_, other) = try await served.tenant()
            let permit = try await client.post("/v1/attempts", #"{"operation":"a"}"#)
            let path = "/v1/attempts/" + (permit.json?["id"]?.text ?? "")
            #expect(try await client.get(path).status == 200)
            #expect(try await other.get(path).status == 404)
            let told = try await other.post("\(path)/outcome", #"{"outcome":"succeeded"}"#)
            #expect(told.status == 404 && told.problem == "not-found")
        }
    }
}
