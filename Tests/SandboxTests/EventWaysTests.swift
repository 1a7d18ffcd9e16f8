import API
import ControlPlane
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite(.proves("F1", "F8")) struct `The events of a creation` {
    private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    /// What each has, beside what all have.
    private static let fields: [String: Set<String>] = [
        "sandbox_create_start": ["framework", "template", "circuitBreakerState"],
        "sandbox_create_success": ["sandboxId", "template", "attempt", "duration"],
        "sandbox_create_failure": ["template", "attempt", "error", "duration"],
        "sandbox_create_critical_failure": [
            "framework", "template", "error", "circuitBreakerState",
        ],
    ]
    private static let common: Set = [
        "id", "storedAt", "event", "tenant", "region", "timestamp", "traceId",
    ]

    private struct Way {
        let fleet: Fleet
        let served: Served
        let client: Client

        /// The tenant's events, the oldest first.
        func events() async throws -> [JSONValue] {
            try await fleet.plane.allStored()
            guard case .array(let all)? = try await client.get("/v1/events").json?["items"] else {
                return []
            }
            return all.reversed()
        }

        func post(_ path: String, _ body: String) async throws -> Answer {
            try await client.post(
                path, body, ["traceparent": "00-\(trace)-00f067aa0ba902b7-01"])
        }
    }

    private static func with(_ body: @Sendable (Way) async throws -> Void) async throws {
        try await Fleet.with { fleet in
            try await Served.with(fleet.plane) { served in
                let draft = Regions.Draft(
                    apiURL: "http://\(fleet.address)", domain: "us.example", apiKey: Fleet.key)
                _ = try await Regions(fleet.plane.reads, fleet.plane.secrets).put(
                    "us", draft, of: fleet.tenant, if: .none, by: .system)
                let (_, secret) = try await fleet.plane.directory.createKey(
                    for: fleet.tenant, name: "t", scopes: [.sandbox, .record, .read],
                    expiresAt: nil, by: .system)
                try await body(
                    Way(
                        fleet: fleet, served: served,
                        client: served.client.with(key: secret?.text)))
            }
        }
    }

    /// Each has its exact fields, of their types.
    private static func check(_ events: [JSONValue], _ tenant: Tenant.ID) {
        for event in events {
            let name = event["event"]?.text ?? ""
            #expect(
                Set(event.names ?? []) == common.union(fields[name] ?? []), "\(name): \(event)")
            #expect(event["tenant"]?.text == tenant.description)
            #expect(event["region"]?.text == "us" && event["traceId"]?.text == trace)
            #expect(
                abs((event["timestamp"]?.integer ?? 0) - Int(Timestamp.now.milliseconds)) < 60_000)
            for number in ["attempt", "duration"] where event[number] != nil {
                #expect((event[number]?.integer ?? -1) >= 0, "\(name): \(number)")
            }
            #expect(event["template"]?.text == "base", "\(name)")
            if let framework = event["framework"] { #expect(framework.text == "nextjs") }
            if let state = event["circuitBreakerState"] { #expect(state.text == "CLOSED") }
        }
    }

    private static func names(_ events: [JSONValue]) -> [String] {
        events.map { String($0["event"]?.text?.dropFirst("sandbox_create_".count) ?? "") }
    }

    private static let failing = #"[{"effects": [{"effect": "error", "status": 400}]}]"#

    @Test(arguments: [
        ("/v1/sandboxes", #"{"template":"base","framework":"nextjs"}"#),
        ("/e2b/v2/sandboxes", #"{"templateID":"base","metadata":{"framework":"nextjs"}}"#),
        ("/sandboxes", #"{"templateID":"base","metadata":{"framework":"nextjs"}}"#),
    ])
    func `have their fields, managed and through the gateway`(path: String, body: String)
        async throws
    {
        try await Self.with { way in
            let made = try await way.post(path, body)
            #expect(made.status == 201, "\(made.text)")
            try await way.fleet.setFaults(Self.failing)
            #expect(try await way.post(path, body).status >= 400)
            let events = try await way.events()
            #expect(
                Self.names(events) == ["start", "success", "start", "failure", "critical_failure"])
            Self.check(events, way.fleet.tenant)
            guard events.count == 5 else { return }
            let id = made.json?["sandboxId"]?.text ?? made.json?["sandboxID"]?.text
            #expect(events[1]["sandboxId"]?.text == id && id != nil)
            #expect(events[1]["attempt"]?.integer == 1 && events[3]["attempt"]?.integer == 1)
            #expect(events[3]["error"]?.text?.isEmpty == false)
            #expect(events[3]["error"] == events[4]["error"])
        }
    }

    @Test func `have their fields by permits and outcomes`() async throws {
        try await Self.with { way in
            func permit() async throws -> String {
                let answer = try await way.post(
                    "/v1/attempts",
                    #"{"operation":"sandbox_create","template":"base","framework":"nextjs"}"#)
                #expect(answer.json?["allowed"]?.flag == true, "\(answer.text)")
                return "/v1/attempts/\(answer.json?["id"]?.text ?? "")/outcome"
            }
            let failure = #""error":{"status":503,"message":"no machine"}"#
            let path = try await permit()
            let first = #"{"outcome":"failed","durationMs":7,"willRetry":true,\#(failure)}"#
            // A report that comes twice tells nothing twice.
            for _ in 0..<2 { #expect(try await way.post(path, first).status == 200) }
            let made =
                #"{"outcome":"succeeded","attempt":2,"durationMs":650,"sandboxId":"i2f6"}"#
            #expect(try await way.post(path, made).status == 200)
            let other = try await permit()
            let last = #"{"outcome":"failed","durationMs":9,\#(failure)}"#
            #expect(try await way.post(other, last).status == 200)
            // One that its caller gave up says nothing of the provider; another class is no creation.
            #expect(
                try await way.post(try await permit(), #"{"outcome":"cancelled"}"#).status == 200)
            _ = try await way.post("/v1/attempts", #"{"operation":"sandbox_connect"}"#)
            let events = try await way.events()
            #expect(
                Self.names(events) == [
                    "start", "failure", "success", "start", "failure", "critical_failure", "start",
                ])
            Self.check(events, way.fleet.tenant)
            guard events.count == 7 else { return }
            #expect(events[1]["error"]?.text == "no machine")
            #expect(events[1]["duration"]?.integer == 7 && events[1]["attempt"]?.integer == 1)
            #expect(events[2]["sandboxId"]?.text == "i2f6")
            #expect(events[2]["duration"]?.integer == 650 && events[2]["attempt"]?.integer == 2)
            #expect(events[5]["error"]?.text == "no machine")
        }
    }

    @Test func `say null where a caller does not say`() async throws {
        try await Self.with { way in
            let answer = try await way.post("/v1/attempts", #"{"operation":"sandbox_create"}"#)
            let path = "/v1/attempts/\(answer.json?["id"]?.text ?? "")/outcome"
            _ = try await way.post(path, #"{"outcome":"succeeded"}"#)
            for event in try await way.events() {
                let name = event["event"]?.text ?? ""
                #expect(Set(event.names ?? []) == Self.common.union(Self.fields[name] ?? []))
                #expect(event["template"] == .null)
            }
            let refused = try await way.post(
                path, #"{"outcome":"failed","error":{"status":500},"sandboxId":"x"}"#)
            #expect(refused.status == 400)
            for wrong in [#""template":"""#, #""template":"ü""#, #""framework":7"#] {
                let answer = try await way.post(
                    "/v1/attempts", #"{"operation":"sandbox_create",\#(wrong)}"#)
                #expect(answer.status == 400, "\(wrong)")
            }
        }
    }

    @Test func `of refused ones are added up`() async throws {
        try await Self.with { way in
            let key = BreakerKey(way.fleet.tenant, provider: "e2b", region: "us", .create)
            _ = try await way.fleet.plane.breakers.act(
                key, .lay(.forcedOpen, until: nil), by: .system, reason: nil)
            for _ in 0..<10 {
                let answer = try await way.post("/v1/sandboxes", #"{"template":"base"}"#)
                #expect(answer.problem == "breaker-open")
                let permit = try await way.post(
                    "/v1/attempts", #"{"operation":"sandbox_create","region":"us"}"#)
                #expect(permit.json?["reason"]?.text == "breaker_open")
            }
            try await eventually {
                await way.fleet.plane.refusals.flush()
                let events = try await way.events().filter {
                    $0["event"]?.text == "sandbox_create_refused"
                }
                let total = events.reduce(0) { $0 + ($1["count"]?.integer ?? 0) }
                for event in events {
                    #expect(event["reason"]?.text == "breaker_open")
                    #expect(event["circuitBreakerState"]?.text == "OPEN")
                    #expect(event["region"]?.text == "us")
                }
                return total == 20 && events.count <= 20
            }
        }
    }
}
