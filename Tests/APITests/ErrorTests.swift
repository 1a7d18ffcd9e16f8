import ControlPlane
import JSON
import ServiceSupport
import TestSupport
import Testing

@Suite(.proves("A3")) struct `The classify call` {
    @Test(.proves("A2", "F8")) func `says that rate limit text is api`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            let answer = try await client.post(
                "/v1/errors/classify", #"{"message":"Rate limit exceeded"}"#)
            #expect(answer.status == 200)
            let json = try #require(answer.json)
            #expect(json["kind"]?.text == "rate_limit")
            #expect(json["api"]?.flag == true)
            #expect(json["transient"]?.flag == false)
            #expect(json["permanent"]?.flag == false)
            #expect(json["retry"]?.flag == true)
            #expect((30_000...36_000).contains(json["retryAfterMs"]?.integer ?? 0))
        }
    }

    @Test func `says whether, when and why not`() async throws {
        let cases:
            [(body: String, kind: String, retry: Bool, waits: ClosedRange<Int>?, stop: String?)] = [
                (#"{"status":503,"attempt":1}"#, "unavailable", true, 800...1200, nil),
                (#"{"status":503,"attempt":2}"#, "unavailable", true, 1600...2400, nil),
                (#"{"status":503,"attempt":3}"#, "unavailable", false, 3200...4800, "attempts"),
                (
                    #"{"status":503,"attempt":4,"maxAttempts":5}"#, "unavailable", true,
                    8000...12_000,
                    nil
                ),
                (
                    #"{"status":503,"deadlineMs":1500}"#, "unavailable", false, 800...1200,
                    "deadline"
                ),
                (#"{"status":401}"#, "auth", false, nil, "permanent"),
                (
                    #"{"status":429,"headers":{"Retry-After":"45"}}"#, "rate_limit", true,
                    45_000...54_000, nil
                ),
                (
                    #"{"status":429,"headers":{"retry-after":"7200"}}"#, "rate_limit", false,
                    3_600_000...4_320_000, "too_long"
                ),
                (
                    #"{"status":429,"headers":{"RateLimit":"\"default\";r=0;t=60"}}"#, "rate_limit",
                    true, 60_000...72_000, nil
                ),
                (#"{}"#, "unknown", true, 1600...2400, nil),
            ]
        try await Served.with { served in
            let (_, client) = try await served.tenant([.read])
            for (body, kind, retry, waits, stop) in cases {
                let answer = try await client.post("/v1/errors/classify", body)
                #expect(answer.status == 200, "\(body)")
                let json = try #require(answer.json)
                #expect(json["kind"]?.text == kind, "\(body)")
                #expect(json["retry"]?.flag == retry, "\(body)")
                #expect(json["stop"]?.text == stop, "\(body)")
                let wait = json["retryAfterMs"]?.integer
                #expect(
                    waits == nil ? wait == nil : waits?.contains(wait ?? -1) == true,
                    "\(answer.text)")
                #expect(json["text"]?.text?.isEmpty == false)
            }
        }
    }

    @Test func `refuses what it does not understand and names it`() async throws {
        let cases = [
            (#"{"status":99}"#, "/status"), (#"{"status":"429"}"#, "/status"),
            (#"{"plane":"moon"}"#, "/plane"), (#"{"phase":"later"}"#, "/phase"),
            (#"{"attempt":0}"#, "/attempt"), (#"{"maxAttempts":21}"#, "/maxAttempts"),
            (#"{"deadlineMs":-1}"#, "/deadlineMs"),
            (#"{"headers":{"Retry-After":5}}"#, "/headers/Retry-After"),
            (#"{"statusCode":429}"#, "/statusCode"), (#"[]"#, ""),
        ]
        try await Served.with { served in
            let (_, client) = try await served.tenant()
            for (body, pointer) in cases {
                let answer = try await client.post("/v1/errors/classify", body)
                #expect(answer.status == 400, "\(body)")
                #expect(answer.problem == "validation", "\(body)")
                #expect(answer.json?["errors"]?[0]?["pointer"]?.text == pointer, "\(answer.text)")
            }
            let fields = (0...100).map { #""h\#($0)":"""# }.joined(separator: ",")
            let many = try await client.post("/v1/errors/classify", #"{"headers":{\#(fields)}}"#)
            #expect(many.status == 400)
            #expect(try await client.with(key: nil).post("/v1/errors/classify", "{}").status == 401)
            let (_, admin) = try await served.tenant([.admin])
            #expect(try await admin.post("/v1/errors/classify", "{}").status == 403)
        }
    }
}
