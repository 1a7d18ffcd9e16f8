import API
import ControlPlane
import HTTP
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite(.proves("F4")) struct `The overview` {
    /// Requests as the service leaves them: `count` that ended `ago` seconds ago after `ms`.
    private func requests(
        _ served: Served, of tenant: Tenant.ID, _ count: Int, kind: String? = nil, ago: Int = 60,
        ms: Int = 500
    ) throws {
        try Session(Conninfo(url: served.plane.url)).run(
            """
            INSERT INTO sandbox_request (tenant_id, id, state, via, template, region, life_ms, deadline_at,
                                         sandbox_id, attempts, error_kind, error, created_at, ended_at)
            SELECT '\(tenant)', gen_random_uuid(), '\(kind == nil ? "fulfilled" : "failed")', 'api', 'base', 'eu',
                   1000, now(), \(kind == nil ? "gen_random_uuid()" : "NULL"), 2,
                   \(kind.map { "'\($0)', 'it broke'" } ?? "NULL, NULL"),
                   now() - interval '\(ago) seconds' - n * interval '\(ms) ms', now() - interval '\(ago) seconds'
            FROM   generate_series(1, \(count)) AS n
            """)
    }

    private func tries(_ served: Served, of tenant: Tenant.ID) throws {
        try Session(Conninfo(url: served.plane.url)).run(
            """
            INSERT INTO attempt (tenant_id, id, number, at, ended_at, operation, breaker, outcome, kind,
                                 duration_ms, stop)
            SELECT '\(tenant)', gen_random_uuid(), 1, now() - interval '2 s', now() - interval '1 s', 'op', breaker,
                   outcome, kind, 900, stop
            FROM  (VALUES ('e2b:us:create', 'succeeded', NULL, NULL), ('e2b:us:create', 'failed', 'timeout', 'attempts'),
                          ('e2b:us:create', 'failed', 'timeout', NULL), ('e2b:us:create', 'cancelled', NULL, NULL),
                          ('e2b:us:manage', 'failed', 'network', 'attempts')) AS v (breaker, outcome, kind, stop)
            """)
    }

    @Test func `counts what ended in the last hour, by minute, place, kind and tries`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant(.read)
            let (other, _) = try await served.tenant()
            try requests(served, of: tenant, 20, ms: 100)
            try requests(served, of: tenant, 3, kind: "timeout")
            try requests(served, of: tenant, 2, kind: "auth", ago: 1_800)
            try requests(served, of: tenant, 9, kind: "internal", ago: 3_700)
            try requests(served, of: other, 50, kind: "quota")
            try tries(served, of: tenant)
            let overview = try #require(try await client.get("/v1/overview").json)
            #expect(overview["scope"]?.text == "tenant" && overview["tenantId"]?.text == "\(tenant)")
            let creations = try #require(overview["creations"])
            let total = try #require(creations["total"])
            #expect(total["succeeded"]?.integer == 21 && total["failed"]?.integer == 6)
            #expect(total["succeeded5m"]?.integer == 21 && total["failed5m"]?.integer == 4)
            #expect(total["tenantsHurt5m"]?.integer == 1)
            // 100, 200 ... 2,000 ms and the 1,000 ms of the reported one.
            #expect(total["latencyMs"]?["p50"]?.integer == 1_000)
            #expect(total["latencyMs"]?["p95"]?.integer == 1_900)
            #expect(total["latencyMs"]?["p99"]?.integer == 2_000)
            let kinds = creations["kinds"]
            #expect(kinds?.count == 2 && kinds?[0]?["kind"]?.text == "timeout")
            #expect(kinds?[0]?["count"]?.integer == 4 && kinds?[1]?["count5m"]?.integer == 0)
            #expect(creations["places"]?.count == 2)
            #expect(creations["places"]?[0]?["region"]?.text == "eu")
            #expect(creations["tries"]?[0]?["tries"]?.integer == 1)
            #expect(creations["tries"]?[1]?["succeeded"]?.integer == 20)
            #expect(creations["failures"]?.count == 6)
            #expect(creations["isTruncated"]?.flag == false)
            let minutes = try #require(creations["minutes"]?.count)
            #expect((2...4).contains(minutes))

            let fleet = try #require(try await served.asOperator.get("/v1/overview").json)
            #expect(fleet["scope"]?.text == "fleet")
            #expect(fleet["creations"]?["total"]?["failed"]?.integer == 56)
            #expect(fleet["creations"]?["total"]?["tenantsHurt5m"]?.integer == 2)
            #expect(fleet["failingJobs"]?.count == 0)

            let lines = try #require(try await served.asOperator.get("/v1/admin/overview").json)
            let ids = (0..<2).map { lines["items"]?[$0]?["tenantId"]?.text }
            #expect(ids == ["\(tenant)", "\(other)"])
            #expect(lines["items"]?[0]?["failed"]?.integer == 6)
            #expect(lines["items"]?[0]?["failed5m"]?.integer == 4)
            #expect(lines["items"]?[0]?["succeeded"]?.integer == 21)
            #expect(lines["items"]?[1]?["failed"]?.integer == 50)
        }
    }

    @Test func `shows sandboxes that live, and those that somebody should look at`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant(.read)
            try Session(Conninfo(url: served.plane.url)).run(
                """
                INSERT INTO sandbox (tenant_id, id, request_id, attempt, state, region, template, provider_id,
                                     health, changed_at, ends_at, ended_at)
                SELECT '\(tenant)', gen_random_uuid(), gen_random_uuid(), 1, state, 'eu', 'base', 'p' || n, health,
                       now() - interval '2 minutes', now() + left_ * interval '1 minute',
                       CASE WHEN state IN ('lost', 'stopped') THEN now() - interval '1 minute' END
                FROM  (VALUES (1, 'running', 'healthy', 20), (2, 'running', 'healthy', 2), (3, 'running', 'zombie', 20),
                              (4, 'create_unknown', 'unknown', 20), (5, 'lost', 'unknown', 20),
                              (6, 'stopped', 'unknown', 20)) AS v (n, state, health, left_)
                """)
            let sandboxes = try #require(try await client.get("/v1/overview").json?["sandboxes"])
            #expect(sandboxes["live"]?.integer == 4)
            #expect(sandboxes["states"]?["running"]?.integer == 3)
            #expect(sandboxes["expiring5m"]?.integer == 1 && sandboxes["zombies"]?.integer == 1)
            #expect(sandboxes["endedLastHour"]?["lost"]?.integer == 1)
            #expect(sandboxes["regions"]?[0]?["live"]?.integer == 4)
            let states = (0..<3).compactMap { sandboxes["troubled"]?[$0]?["state"]?.text }
            #expect(states.sorted() == ["create_unknown", "lost", "running"])
        }
    }

    @Test(.proves("F2")) func `names the alerts that fire and those that may, the worst first`()
        async throws
    {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.read, .admin])
            let (other, theirs) = try await served.tenant([.read])
            try Session(Conninfo(url: served.plane.url)).run(
                """
                INSERT INTO alert (tenant_id, id, rule, severity, labels, fingerprint, state, value, threshold,
                                   started_at, fired_at, resolved_at, acknowledged_at, inhibited, updated_at)
                SELECT '\(tenant)', gen_random_uuid(), 'r' || n, severity, '{"operation": "exec"}', 'f' || n, state, 2, 1,
                       now() - interval '1 hour', CASE WHEN state <> 'pending' THEN now() - n * interval '1 s' END,
                       CASE WHEN state = 'resolved' THEN now() END, CASE WHEN n = 1 THEN now() END, n = 4, now()
                FROM  (SELECT n, CASE WHEN n IN (4, 7) THEN 'critical' ELSE 'warning' END AS severity,
                              CASE WHEN n = 2 THEN 'pending' WHEN n = 3 THEN 'resolved' ELSE 'firing' END AS state
                       FROM generate_series(1, 60) AS n) AS a
                """)
            let alerts = try #require(try await client.get("/v1/overview").json?["alerts"])
            #expect(alerts["firing"]?.integer == 58 && alerts["pending"]?.integer == 1)
            #expect(alerts["items"]?.count == 50)
            #expect(alerts["items"]?[0]?["rule"]?.text == "r7")
            // The other critical one is inhibited: nobody is told of it.
            #expect(alerts["items"]?[1]?["rule"]?.text == "r1")
            #expect(alerts["items"]?[1]?["acknowledged"]?.flag == true)
            #expect(alerts["items"]?[0]?["labels"]?["operation"]?.text == "exec")
            let since = try #require(alerts["items"]?[0]?["since"]?.text.flatMap { Timestamp($0) })
            #expect(Timestamp.now - since < .seconds(600))
            #expect(try await theirs.get("/v1/overview").json?["alerts"]?["firing"]?.integer == 0)
            let fleet = try await served.asOperator.get("/v1/overview").json?["alerts"]
            #expect(fleet?["items"]?[0]?["tenantId"]?.text == "\(tenant)")
            let lines = try await served.asOperator.get("/v1/admin/overview").json?["items"]
            #expect(lines?[0]?["firingAlerts"]?.integer == 58)
            #expect(lines?[1]?["firingAlerts"]?.integer == 0 && lines?[1]?["tenantId"]?.text == "\(other)")
        }
    }

    @Test func `is read once for many who ask, and answered 304 while nothing changes`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.read, .admin])
            let first = try await client.get("/v1/overview")
            let tag = try #require(first.fields["etag"])
            #expect(first.fields["cache-control"] == "private, no-cache")
            for tags in [tag, "W/\(tag)", "\"a\", \(tag)", "*"] {
                let answer = try await client.send(
                    "GET", "/v1/overview", nil, ["If-None-Match": tags])
                #expect(answer.status == 304 && answer.text.isEmpty && answer.fields["etag"] == tag)
            }
            let other = try await client.send(
                "GET", "/v1/overview", nil, ["If-None-Match": "\"a\""])
            #expect(other.status == 200)
            // The time is that of the answer, however old the rest: countdowns go by it.
            let times = [first, other].compactMap { $0.json?["at"]?.text }.compactMap { Timestamp($0) }
            #expect(times.count == 2 && times[0] < times[1])
            // A breaker's move is in the next answer, though the rest was read a moment ago.
            _ = try await client.post("/v1/breakers/e2b:default:create/force-open", "{}")
            let moved = try await client.send("GET", "/v1/overview", nil, ["If-None-Match": tag])
            #expect(moved.status == 200)
            #expect(moved.json?["breakers"]?[0]?["state"]?.text == "OPEN")
            let before = await served.plane.reads.sent
            for _ in 0..<20 { _ = try await client.get("/v1/overview") }
            #expect(await served.plane.reads.sent - before < 20)
        }
    }
}

@Suite(.proves("F4")) struct `The dashboard` {
    @Test func `is in the binary, and lets a browser load nothing from elsewhere`() async throws {
        try await Served.with { served in
            let page = try await served.client.get("/dashboard")
            #expect(page.status == 200)
            #expect(page.fields["content-type"] == "text/html; charset=utf-8")
            let policy = try #require(page.fields["content-security-policy"])
            #expect(policy.hasPrefix("default-src 'none'; script-src 'self';"))
            #expect(!policy.contains("unsafe") && !policy.contains("http"))
            #expect(policy.contains("frame-ancestors 'none'"))
            var weight = page.text.utf8.count
            for match in page.text.matches(of: /"(\/dashboard\/[a-z]+\.[a-z]+)"/) {
                let file = try await served.client.get(String(match.1))
                #expect(file.status == 200, "\(match.1)")
                #expect(file.fields["x-content-type-options"] == "nosniff")
                let tag = try #require(file.fields["etag"])
                let again = try await served.client.send(
                    "GET", String(match.1), nil, ["If-None-Match": tag])
                #expect(again.status == 304)
                // The icon and what is loaded ahead are named twice.
                weight += file.text.utf8.count
                #expect(!file.text.contains("https://"), "\(match.1) names another origin")
            }
            #expect(weight <= 150 * 1024, "the whole page, uncompressed")
            for path in ["/dashboard/none.js", "/dashboard/..%2Fmain.js", "/dashboard/"] {
                #expect([400, 404].contains(try await served.client.get(path).status), "\(path)")
            }
        }
    }
}
