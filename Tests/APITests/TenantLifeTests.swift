import ControlPlane
import Foundation
import IO
import JSON
import ServiceSupport
import TestSupport
import Testing

@Suite(.proves("H9")) struct `A suspended tenant` {
    @Test func `is refused with a problem of its own, and served again when resumed`() async throws
    {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.record, .read, .admin])
            let path = "/v1/admin/tenants/\(tenant)"
            #expect(try await client.get("/v1/stats").status == 200)
            let suspended = try await served.asOperator.post(
                path + "/suspend", #"{"reason":"has not paid"}"#)
            #expect(suspended.status == 200)
            #expect(suspended.json?["suspendedReason"]?.text == "has not paid")
            let since = try #require(suspended.json?["suspendedAt"]?.text)
            let refused = try await client.until(status: 403, "/v1/stats")
            #expect(refused.problem == "tenant-suspended")
            // Again changes nothing, not even the reason.
            let again = try await served.asOperator.post(path + "/suspend", #"{"reason":"other"}"#)
            #expect(again.status == 200)
            #expect(again.json?["suspendedAt"]?.text == since)
            #expect(again.json?["suspendedReason"]?.text == "has not paid")
            let resumed = try await served.asOperator.send("POST", path + "/resume")
            #expect(resumed.json?["suspendedAt"] == .null)
            #expect(resumed.json?["suspendedReason"] == .null)
            #expect(try await served.asOperator.send("POST", path + "/resume").status == 200)
            _ = try await client.until(status: 200, "/v1/stats")
            // One audit row for each change, none for what changed nothing.
            let audit = try await served.asOperator.get(path + "/audit")
            let actions = try #require(audit.json?["items"]?.count)
            let named = (0..<actions).map { audit.json?["items"]?[$0]?["action"]?.text ?? "" }
            #expect(named == ["tenant.resume", "tenant.suspend", "key.create", "tenant.create"])
            #expect(audit.json?["items"]?[1]?["reason"]?.text == "has not paid")
        }
    }

    @Test func `is refused on another instance within a second`() async throws {
        try await Plane.with { first in
            try await Plane.with(url: first.url) { second in
                let tenant = try await first.makeTenant()
                let (_, secret) = try await first.directory.createKey(
                    for: tenant, name: "", scopes: .record, expiresAt: nil, by: .system)
                let key = Array(try #require(secret).text.utf8)
                #expect(try await second.keys.caller(for: key).tenant == tenant)
                _ = try await first.directory.suspend(tenant, reason: nil, by: .system)
                let since = MonotonicInstant.now
                while (try? await second.keys.caller(for: key)) != nil {
                    try #require(since.duration(to: .now) < .seconds(1))
                    try await Task.sleep(for: .milliseconds(5))
                }
                await #expect(throws: ControlPlaneError.suspended) {
                    try await second.keys.caller(for: key)
                }
            }
        }
    }

    @Test(arguments: [#"{"reason":7}"#, #"{"why":"x"}"#, #"{"reason":"\u0000"}"#, "[]"])
    func `needs a reason that is a text, or none`(body: String) async throws {
        try await Served.with { served in
            let (tenant, _) = try await served.tenant()
            let answer = try await served.asOperator.post(
                "/v1/admin/tenants/\(tenant)/suspend", body)
            #expect(answer.status == 400, "\(answer.text)")
        }
    }

    @Test func `is never the fleet`() async throws {
        try await Served.with { served in
            let answer = try await served.asOperator.send(
                "POST", "/v1/admin/tenants/\(Tenant.ID.fleet)/suspend")
            #expect(answer.status == 409)
            #expect(answer.problem == "conflict")
            let none = try await served.asOperator.send(
                "POST", "/v1/admin/tenants/01a205fa-0649-7568-9913-e7077cb56751/suspend")
            #expect(none.status == 404)
        }
    }
}

extension Client {
    /// Asks until the answer has that status, for at most a second: what another loop or instance
    /// learns by its poll.
    func until(status: Int, _ path: String) async throws -> Answer {
        let start = MonotonicInstant.now
        while true {
            let answer = try await get(path)
            if answer.status == status { return answer }
            try #require(start.duration(to: .now) < .seconds(1), "\(path): \(answer.status)")
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
