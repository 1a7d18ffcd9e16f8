import Foundation
import JSON
import TestSupport
import Testing

@Suite(.proves("H8"), .timeLimit(.minutes(3))) struct `The operator's commands` {
    /// Runs a command against the instance; its answer, which must be JSON.
    private func run(
        _ scratch: Scratch, _ instance: Instance, _ command: String...
    ) async throws -> JSONValue {
        let outcome = try await scratch.run(
            command,
            environment: [
                "BREAKWATER_URL": instance.url, "BREAKWATER_DATA": scratch("data"),
                "BREAKWATER_OPERATOR_KEY": "",
            ])
        #expect(outcome.end == .exited(0), "\(command): \(outcome.errors)")
        #expect(outcome.errors == "")
        return try #require(JSONValue(outcome.output), "\(outcome.output)")
    }

    @Test(.proves("H1")) func `make, list, rotate and revoke what the API knows`() async throws {
        try await Database.with { url, scratch in
            // No operator's key given: the first start leaves one in the data folder.
            let instance = try await scratch.serve(
                database: url, environment: ["BREAKWATER_OPERATOR_KEY": ""])
            let tenant = try await run(scratch, instance, "tenant", "create", "Zoë & co")
            let id = try #require(tenant["id"]?.text)
            #expect(tenant["name"]?.text == "Zoë & co")
            let page = try await run(scratch, instance, "tenant", "list", "--limit", "1")
            #expect(page["items"]?.items.count == 1)
            let cursor = try #require(page["nextCursor"]?.text)
            let next = try await run(
                scratch, instance, "tenant", "list", "--limit", "1", "--cursor", cursor)
            let names = [page, next].map { $0["items"]?[0]?["name"]?.text ?? "" }
            #expect(names.sorted() == ["Zoë & co", "fleet"])
            #expect(try await run(scratch, instance, "tenant", "show", id) == tenant)

            let old = try await run(
                scratch, instance, "key", "create", id, "--scope", "record", "--scope", "read",
                "--name", "web", "--expires-at", "2099-01-31T12:00:00Z")
            #expect(old["scopes"]?.items.compactMap(\.text) == ["record", "read"])
            #expect(old["expiresAt"]?.text == "2099-01-31T12:00:00.000Z")
            let (oldID, oldKey) = (
                try #require(old["id"]?.text), try #require(old["key"]?.text)
            )
            #expect(try await instance.call("GET", "/v1/stats", key: oldKey).status == 200)
            let new = try await run(
                scratch, instance, "key", "rotate", id, oldID, "--overlap-s", "600")
            #expect(new["replaces"]?.text == oldID)
            let newKey = try #require(new["key"]?.text)
            for key in [oldKey, newKey] {
                #expect(try await instance.call("GET", "/v1/stats", key: key).status == 200)
            }
            let revoked = try await scratch.run([
                "key", "revoke", id, oldID, "--url", instance.url + "/", "--data", scratch("data"),
            ])
            #expect(revoked.end == .exited(0))
            #expect(revoked.output == "" && revoked.errors == "")
            try await eventually("the key is refused", within: .seconds(5)) {
                try await instance.call("GET", "/v1/stats", key: oldKey).status == 401
            }
            let keys = try await run(scratch, instance, "key", "list", id)["items"]?.items ?? []
            #expect(Set(keys.compactMap { $0["id"]?.text }) == [oldID, new["id"]?.text ?? ""])
            #expect(keys.first { $0["id"]?.text == oldID }?["revokedAt"]?.text != nil)
            #expect(keys.allSatisfy { $0["key"] == nil })

            let suspended = try await run(
                scratch, instance, "tenant", "suspend", id, "--reason", "has not paid")
            #expect(suspended["suspendedReason"]?.text == "has not paid")
            try await eventually("the tenant is refused", within: .seconds(5)) {
                try await instance.call("GET", "/v1/stats", key: newKey).status == 403
            }
            let kept = try await scratch.run([
                "tenant", "delete", id, "--confirm", "Zoe & co", "--url", instance.url, "--data",
                scratch("data"),
            ])
            #expect(kept.end == .exited(1) && kept.errors.contains("must be the tenant's name"))
            #expect(try await run(scratch, instance, "tenant", "resume", id) == tenant)
            try await eventually("the tenant is served", within: .seconds(5)) {
                try await instance.call("GET", "/v1/stats", key: newKey).status == 200
            }
            let export = try await scratch.run([
                "tenant", "export", id, "--url", instance.url, "--data", scratch("data"),
            ])
            #expect(export.end == .exited(0) && export.errors == "")
            let lines = export.output.split(separator: "\n").map { JSONValue(String($0)) }
            #expect(lines.first??["name"]?.text == "Zoë & co")
            #expect(lines.count { $0?["type"]?.text == "key" } == 2)
            #expect(lines.last??["lines"]?.integer == lines.count - 1)
            #expect(!export.output.contains(newKey))
            _ = try await run(scratch, instance, "tenant", "suspend", id)
            let deleted = try await run(
                scratch, instance, "tenant", "delete", id, "--confirm", "Zoë & co")
            #expect(deleted["deletedAt"]?.text != nil)
            try await instance.stop()
        }
    }

    @Test func `tell by their exit whether an instance is ready`() async throws {
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(database: url)
            let ready = try await scratch.run(["health", "--url", instance.url + "/"])
            #expect(ready.end == .exited(0))
            #expect(ready.output == #"{"status":"ready"}"# + "\n")
            try await instance.stop()
            let gone = try await scratch.run(["health", "--url", instance.url])
            #expect(gone.end == .exited(1))
            #expect(gone.output == "")
            #expect(
                gone.errors == "breakwater: \(instance.url): Couldn't connect to server. Is "
                    + "`breakwater serve` running there?\n")
        }
    }

    @Test func `make keys of the right form`() async throws {
        try await Scratch.with { scratch in
            var keys: Set<String> = []
            for _ in 1...3 {
                let outcome = try await scratch.run(["key", "generate"])
                #expect(outcome.end == .exited(0))
                #expect(outcome.output.wholeMatch(of: /e2b_[0-9a-f]{64}\n/) != nil)
                keys.insert(outcome.output)
            }
            #expect(keys.count == 3)
        }
    }

    private static let none = "01a205fa-0649-7568-9913-e7077cb56751"

    /// Commands that are refused, the exit code, and the one line that says why.
    static let refusals: [([String], Int32, String)] = [
        (["tenant", "create"], 64, "Error: Missing expected argument '<name>'"),
        (
            ["tenant", "create", ""], 1,
            "breakwater: POST /v1/admin/tenants: 400 Invalid input: /name: must have 1 to 100 "
                + "characters, none of them control characters"
        ),
        (
            ["tenant", "create", "fleet\u{7}"], 1,
            "breakwater: POST /v1/admin/tenants: 400 Invalid input: /name: must have 1 to 100 "
                + "characters, none of them control characters"
        ),
        (
            ["tenant", "show", none], 1,
            "breakwater: GET /v1/admin/tenants/\(none): 404 No such resource: no such tenant"
        ),
        (["tenant", "show", "../metrics"], 64, "Error: ../metrics is not an id"),
        (
            ["tenant", "export", none], 1,
            "breakwater: GET /v1/admin/tenants/\(none)/export: 404 No such resource: no such tenant"
        ),
        (
            ["tenant", "suspend", "00000000-0000-0000-0000-000000000000"], 1,
            "breakwater: POST /v1/admin/tenants/00000000-0000-0000-0000-000000000000/suspend: 409 "
                + "Conflict with the current state: the fleet cannot be suspended"
        ),
        (
            ["tenant", "list", "--limit", "0"], 1,
            "breakwater: GET /v1/admin/tenants?limit=0: 400 Invalid input: limit must be a whole "
                + "number from 1 to 200"
        ),
        (
            ["tenant", "list", "--limit", "many"], 64,
            "Error: The value 'many' is invalid for '--limit <limit>'"
        ),
        (
            ["tenant", "list", "--cursor", "a b&limit=1"], 1,
            "breakwater: GET /v1/admin/tenants?limit=200&cursor=a%20b%26limit%3D1: 400 Invalid "
                + "input: cursor"
        ),
        (
            ["key", "create", none, "--scope", "all"], 1,
            "breakwater: POST /v1/admin/tenants/\(none)/keys: 400 Invalid input: /scopes/0: must be "
                + "one of record, sandbox, read, admin, operator"
        ),
        (
            ["key", "create", none, "--expires-at", "tomorrow"], 1,
            "breakwater: POST /v1/admin/tenants/\(none)/keys: 400 Invalid input: /expiresAt: must be "
                + "a time like 2030-01-31T12:00:00Z (RFC 3339)"
        ),
        (
            ["key", "rotate", none, "0123456789abcdef", "--overlap-s", "604801"], 1,
            "breakwater: POST /v1/admin/tenants/\(none)/keys/0123456789abcdef/rotate: 400 Invalid "
                + "input: /overlapS: expected an integer from 0 to 604800"
        ),
        (
            ["key", "revoke", none, "0123456789abcdef"], 1,
            "breakwater: DELETE /v1/admin/tenants/\(none)/keys/0123456789abcdef: 404 No such "
                + "resource: no such key"
        ),
        (["key", "revoke", none], 64, "Error: Missing expected argument '<key>'"),
        (["key", "rename"], 64, "Error: Unexpected argument 'rename'"),
        (
            ["tenant", "list", "--key", "guess"], 1,
            "breakwater: GET /v1/admin/tenants?limit=200: 401 Valid credentials needed: send a "
                + "valid key"
        ),
        (
            ["tenant", "list", "--url", "file:///etc"], 64,
            "Error: the base URL must be like http://127.0.0.1:8080 or unix:/path"
        ),
        (
            ["health", "--url", ""], 64,
            "Error: the base URL must be like http://127.0.0.1:8080 or unix:/path"
        ),
    ]

    @Test func `say precisely what is wrong with a call`() async throws {
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(database: url)
            for (command, code, message) in Self.refusals {
                let outcome = try await scratch.run(
                    command,
                    environment: [
                        "BREAKWATER_URL": instance.url,
                        "BREAKWATER_OPERATOR_KEY": Instance.operatorKey,
                    ])
                #expect(outcome.end == .exited(code), "\(command)")
                #expect(outcome.output == "", "\(command)")
                #expect(outcome.errors.hasPrefix(message), "\(command): \(outcome.errors)")
                #expect(!outcome.errors.contains(Instance.operatorKey))
                #expect(code != 1 || outcome.errors.split(separator: "\n").count == 1)
            }
            try await instance.stop()
        }
    }

    @Test func `ask for a key where they find none`() async throws {
        try await Scratch.with { scratch in
            let outcome = try await scratch.run(
                ["tenant", "list", "--data", scratch("nothing"), "--url", "http://127.0.0.1:1"])
            #expect(outcome.end == .exited(64))
            #expect(
                outcome.errors.hasPrefix(
                    "Error: no key: give --key, set BREAKWATER_OPERATOR_KEY, or name the data "
                        + "folder with --data\n"))
        }
    }
}
