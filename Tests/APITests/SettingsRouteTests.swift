import ControlPlane
import HTTP
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The settings calls` {
    private static func change(
        _ client: Client, _ body: String, _ fields: [String: String] = [:]
    ) async throws -> Answer {
        try await client.send("PATCH", "/v1/settings", body, fields)
    }

    @Test(.proves("E5"))
    func `give operations without a policy a default`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.record, .read, .admin])
            let before = try await client.get("/v1/settings")
            #expect(before.json?["defaultMaxPerHour"] == .null && before.json?["own"]?.count == 0)
            let set = try await Self.change(client, #"{"defaultMaxPerHour":1}"#)
            #expect(set.json?["defaultMaxPerHour"]?.integer == 1)
            let one = try await client.post("/v1/rate-limits/acquire", #"{"operation":"op"}"#)
            #expect(one.json?["policy"]?.text == "default")
            #expect(
                try await client.post("/v1/rate-limits/acquire", #"{"operation":"op"}"#).status
                    == 429)
            #expect(try await Self.change(client, "{}").text == set.text)
            _ = try await Self.change(client, #"{"defaultMaxPerHour":null}"#)
            #expect(
                try await client.get("/v1/settings").json?["defaultMaxPerHour"] == .null)
        }
    }

    @Test(.proves("D2", "D4", "H2"))
    func `show what is in force, and what of it is the tenant's own`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.read, .admin, .record])
            let before = try await client.get("/v1/settings")
            #expect(before.fields["etag"] == "\"0\"")
            // The original's.
            #expect(before.json?["sandboxLifeMs"]?.integer == 1_800_000)
            #expect(before.json?["fileReadMs"]?.integer == 3000)
            #expect(before.json?["buildMs"]?.integer == 120_000)
            #expect(before.json?["maxAttempts"]?.integer == 3)
            #expect(before.json?["fallbackOn"]?.text == "templateNotFound")
            let set = try await Self.change(
                client,
                #"{"healthCheck":"replace","fallbackOn":"anyError","defaultTemplate":"zapdev","sandboxLifeMs":60000,"maxLiveSandboxes":3,"providerCallMs":500}"#
            )
            #expect(set.status == 200, "\(set.text)")
            #expect(set.fields["etag"] == "\"1\"" && set.json?["version"]?.integer == 1)
            #expect(set.json?["healthCheck"]?.text == "replace")
            #expect(set.json?["maxLiveSandboxes"]?.integer == 3)
            #expect(set.json?["updatedBy"]?.text?.hasPrefix("key:") == true)
            #expect(set.json?["own"]?.count == 6)
            // Callers are told at once.
            let permit = try await client.post("/v1/attempts", #"{"operation":"sandbox_create"}"#)
            #expect(permit.json?["timeouts"]?["sandboxLifeMs"]?.integer == 60_000, "\(permit.text)")
            #expect(permit.json?["timeouts"]?["callMs"]?.integer == 500)
            #expect(permit.json?["timeouts"]?["fileReadMs"]?.integer == 3000)
            let back = try await Self.change(client, #"{"sandboxLifeMs":null}"#)
            #expect(back.json?["sandboxLifeMs"]?.integer == 1_800_000)
            #expect(back.json?["own"]?.count == 5)
            let audit = try await client.get("/v1/admin/tenants/\(tenant)/audit")
            #expect(audit.json?["items"]?[0]?["action"]?.text == "settings.change")
            #expect(audit.json?["items"]?[0]?["target"]?.text == "sandboxLifeMs")
            #expect(audit.json?["items"]?[1]?["detail"]?["healthCheck"]?.text == "replace")
            let (_, other) = try await served.tenant([.read])
            #expect(try await other.get("/v1/settings").json?["own"]?.count == 0)
        }
    }

    @Test(.proves("D4", "H2"))
    func `are changed by who names the right version, or none`() async throws {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.read, .admin])
            let first = try await Self.change(client, #"{"maxAttempts":5}"#, ["If-Match": "\"0\""])
            #expect(first.status == 200, "\(first.text)")
            let late = try await Self.change(client, #"{"maxAttempts":6}"#, ["If-Match": "\"0\""])
            #expect(late.status == 412 && late.problem == "precondition-failed")
            let good = try await Self.change(
                client, #"{"maxAttempts":6}"#, ["If-Match": first.fields["etag"] ?? ""])
            #expect(good.json?["maxAttempts"]?.integer == 6)
            // Two at once: one of them is late.
            let etag = good.fields["etag"] ?? ""
            let answers = try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 7..<13 {
                    group.addTask {
                        try await Self.change(
                            client, #"{"maxAttempts":\#(number)}"#, ["If-Match": etag]
                        ).status
                    }
                }
                return try await group.reduce(into: [Int]()) { $0.append($1) }
            }
            #expect(answers.count { $0 == 200 } == 1 && answers.count { $0 == 412 } == 5)
        }
    }

    @Test(
        .proves("D4", "H2"),
        arguments: [
            (#"{"healthCheck":"often"}"#, "/healthCheck"), (#"{"fallbackOn":"never"}"#, "/fallbackOn"),
            (#"{"defaultTemplate":""}"#, "/defaultTemplate"),
            (#"{"defaultTemplate":"a\u0000"}"#, "/defaultTemplate"),
            (#"{"defaultFramework":7}"#, "/defaultFramework"),
            (#"{"sandboxLifeMs":999}"#, "/sandboxLifeMs"),
            (#"{"sandboxLifeMs":86400001}"#, "/sandboxLifeMs"), (#"{"fileReadMs":99}"#, "/fileReadMs"),
            (#"{"buildMs":1.5}"#, "/buildMs"), (#"{"providerCallMs":0}"#, "/providerCallMs"),
            (#"{"maxAttempts":21}"#, "/maxAttempts"), (#"{"deadlineMs":-1}"#, "/deadlineMs"),
            (#"{"gatewayDeadlineMs":600001}"#, "/gatewayDeadlineMs"),
            (#"{"maxLiveSandboxes":-1}"#, "/maxLiveSandboxes"),
            (#"{"defaultMaxPerHour":-1}"#, "/defaultMaxPerHour"), (#"{"x":1}"#, "/x"),
        ])
    func `refuse what is out of bounds, and change nothing`(body: String, pointer: String)
        async throws
    {
        try await Served.with { served in
            let (_, client) = try await served.tenant([.read, .admin])
            let good = #""maxAttempts":4,"#
            let mixed = body.replacing("{", with: "{" + (pointer == "/maxAttempts" ? "" : good))
            let answer = try await Self.change(client, mixed)
            #expect(answer.status == 400, "\(answer.text)")
            #expect(answer.json?["errors"]?[0]?["pointer"]?.text == pointer, "\(answer.text)")
            #expect(try await client.get("/v1/settings").json?["version"]?.integer == 0)
        }
    }

    @Test(.proves("D4", "H5")) func `hold on every instance when they are answered`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.record, .read, .admin])
            try await Plane.with(url: served.plane.url) { other in
                // It has decided for the tenant before, and knows its settings.
                _ = try await other.ledger.record("op", cost: 1, for: tenant)
                for life in [60_000, 61_000, 62_000] {
                    _ = try await Self.change(client, #"{"sandboxLifeMs":\#(life)}"#)
                    let made = try await other.sandboxes.settings(of: tenant)
                    #expect(made.times.life == .milliseconds(life))
                    _ = try await other.ledger.record("op", cost: 1, for: tenant)
                    let known = await other.sandboxes.knownTimes(of: tenant)
                    #expect(known.life == .milliseconds(life))
                }
            }
        }
    }
}

@Suite struct `The calls of the switch of all killing` {
    @Test(.proves("D3", "H2")) func `show it, set it, and say who did`() async throws {
        try await Served.with { served in
            let admin = served.asOperator
            let before = try await admin.get("/v1/admin/killing")
            #expect(before.json?["enabled"]?.flag == true && before.json?["changedBy"]?.text == "system")
            let off = try await admin.send(
                "PUT", "/v1/admin/killing", #"{"enabled":false,"reason":"restored a backup"}"#)
            #expect(off.status == 200 && off.json?["enabled"]?.flag == false)
            #expect(off.json?["reason"]?.text == "restored a backup")
            #expect(await !served.plane.sandboxes.killing.isOn())
            let audit = try await admin.get("/v1/admin/tenants/\(Tenant.ID.fleet)/audit")
            #expect(audit.json?["items"]?[0]?["action"]?.text == "killing.off")
            #expect(audit.json?["items"]?[0]?["reason"]?.text == "restored a backup")
            let on = try await admin.send("PUT", "/v1/admin/killing", #"{"enabled":true}"#)
            #expect(on.json?["enabled"]?.flag == true && on.json?["reason"] == .null)
            for body in ["{}", #"{"enabled":1}"#, #"{"enabled":true,"x":1}"#] {
                #expect(try await admin.send("PUT", "/v1/admin/killing", body).status == 400)
            }
        }
    }
}
