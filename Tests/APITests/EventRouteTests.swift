import API
import ControlPlane
import Foundation
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The list of events` {
    @Test(.proves("F1", "H2")) func `pages from the newest on, and no page doubles another`()
        async throws
    {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant()
            for number in 0..<7 { served.plane.buffer.note(.health(tenant, "s\(number)")) }
            try await served.plane.allStored()
            var ids: [String] = []
            var path = "/v1/events?limit=3"
            while true {
                let page = try await client.get(path)
                #expect(page.status == 200, "\(page.text)")
                for index in 0..<(page.json?["items"]?.count ?? 0) {
                    ids.append(page.json?["items"]?[index]?["sandboxId"]?.text ?? "")
                }
                guard let cursor = page.json?["nextCursor"]?.text else { break }
                // What comes meanwhile is on no page.
                served.plane.buffer.note(.health(tenant, "late"))
                try await served.plane.allStored()
                path = "/v1/events?limit=3&cursor=\(cursor)"
            }
            #expect(ids == (0..<7).reversed().map { "s\($0)" })
            for query in [
                "limit=0", "cursor=zz", "event=no_such", "event=", "circuitBreakerState=open",
                "sandboxId=", "region=A", "operation=A", "from=yesterday",
                "to=2200-01-01T00:00:00Z",
                "what=1", "template=" + String(repeating: "x", count: 201),
            ] {
                let answer = try await client.get("/v1/events?\(query)")
                #expect(answer.status == 400 && answer.problem == "validation", "\(query)")
            }
        }
    }

    @Test(.proves("F1")) func `takes its filters, each alone and together`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant()
            let note = served.plane.buffer.note
            note(.health(tenant, "one", region: "us", template: "a"))
            note(.health(tenant, "two", region: "eu", template: "a", failure: "no answer"))
            note(.health(tenant, "two", region: "eu", template: "b"))
            note(.rateLimitDenied(tenant: tenant, operation: "op", calls: 2, units: 5))
            let key = BreakerKey(tenant, provider: "e2b", region: "us", .create)
            for _ in 0..<5 {
                guard case .admitted(let ticket) = await served.plane.breakers.admit(key) else {
                    continue
                }
                await served.plane.breakers.settle(
                    ticket, .failed(.unavailable, retryAfter: nil), took: .seconds(1))
            }
            try await served.plane.allStored()
            let middle = try await client.get("/v1/events?event=rate_limit_denied")
            let time = try #require(middle.json?["items"]?[0]?["storedAt"]?.text)
            for (query, count) in [
                ("", 5), ("event=sandbox_health_check_ok", 2),
                ("event=sandbox_health_check_ok,sandbox_health_check_failed", 3),
                ("sandboxId=two", 2), ("region=us", 2), ("template=a", 2), ("operation=op", 1),
                ("circuitBreakerState=OPEN", 1), ("circuitBreakerState=HALF_OPEN", 0),
                ("sandboxId=two&template=b", 1), ("region=us&event=breaker_moved", 1),
                ("tenant=\(tenant)", 5), ("to=2026-01-01T00:00:00Z", 0),
                ("from=\(time)&event=sandbox_health_check_ok&to=\(time)", 0),
            ] {
                let answer = try await client.get("/v1/events?\(query)")
                #expect(answer.json?["items"]?.count == count, "\(query): \(answer.text)")
            }
            let moved = try await client.get("/v1/events?event=breaker_moved").json?["items"]?[0]
            #expect(moved?["from"]?.text == "CLOSED" && moved?["to"]?.text == "OPEN")
            #expect(moved?["name"]?.text == "E2B" && moved?["breaker"]?.text == key.id)
        }
    }

    @Test(.proves("F1", "H1")) func `is the tenant's own, and an operator's is of all`()
        async throws
    {
        try await Served.with { served in
            let (mine, client) = try await served.tenant()
            let (theirs, other) = try await served.tenant([.admin])
            served.plane.buffer.note(.health(mine, "mine"))
            served.plane.buffer.note(.health(theirs, "theirs"))
            served.plane.buffer.note(.databaseLost(reason: "a test"))
            try await served.plane.allStored()
            let own = try await client.get("/v1/events")
            #expect(own.json?["items"]?.count == 1 && !own.text.contains("theirs"))
            #expect(try await other.get("/v1/events").json?["items"]?.count == 1)
            for tenant in [theirs, Tenant.ID.fleet] {
                let asked = try await client.get("/v1/events?tenant=\(tenant)")
                #expect(asked.status == 404 && asked.problem == "not-found")
                let stream = try await client.get("/v1/events/stream?tenant=\(tenant)")
                #expect(stream.status == 404)
            }
            let all = try await served.asOperator.get("/v1/events")
            let names = (0..<(all.json?["items"]?.count ?? 0)).map {
                all.json?["items"]?[$0]?["event"]?.text ?? ""
            }
            #expect(
                names == [
                    "database_lost", "sandbox_health_check_ok", "sandbox_health_check_ok",
                ])
            let one = try await served.asOperator.get("/v1/events?tenant=\(theirs)")
            #expect(one.json?["items"]?.count == 1)
            #expect(one.json?["items"]?[0]?["sandboxId"]?.text == "theirs")
        }
    }

    @Test(.proves("F1")) func `has a failed health check's text, and its fields flat`() async throws
    {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant()
            served.plane.buffer.note(
                .health(tenant, "x", region: "us", template: "base", failure: "502"))
            try await served.plane.allStored()
            let event = try await client.get("/v1/events").json?["items"]?[0]
            #expect(
                event?.names?.sorted() == [
                    "cause", "duration", "error", "event", "id", "region", "sandboxId", "storedAt",
                    "template", "tenant", "timestamp",
                ])
            #expect(event?["event"]?.text == "sandbox_health_check_failed")
            #expect(event?["error"]?.text == "Sandbox health check failed")
            #expect(event?["duration"]?.integer == 12)
            #expect(
                abs((event?["timestamp"]?.integer ?? 0) - Int(Timestamp.now.milliseconds)) < 60_000)
        }
    }
}

extension Event {
    /// A health check, with what a test cares for.
    static func health(
        _ tenant: Tenant.ID, _ sandboxID: String, region: String = "us", template: String = "base",
        failure: String? = nil
    ) -> Event {
        .healthChecked(
            HealthCheckEvent(
                tenant: tenant, region: region, template: template, sandboxID: sandboxID,
                took: .milliseconds(12), failure: failure))
    }
}

@Suite(.proves("F1")) struct `The names of events` {
    @Test func `are those of the page and of the contract`() throws {
        let page = try String(
            contentsOf: Contract.root.appending(path: "docs/events.md"), encoding: .utf8)
        for name in Event.keptNames { #expect(page.contains("`\(name)`"), "\(name)") }
        let schemas = try #require(
            (try Contract.document()["components"] as? [String: Any])?["schemas"]
                as? [String: [String: Any]])
        let pattern = try #require(schemas["EventNames"]?["pattern"] as? String)
        let first = try #require(pattern.split(separator: ")").first).dropFirst(2)
        #expect(Set(first.split(separator: "|").map(String.init)) == Event.keptNames)
    }
}
