import API
import ControlPlane
import Foundation
import Glibc
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite(.proves("H9")) struct `A tenant's export` {
    /// Pages of 10, so that 25 rows are three of them.
    private static let settings = {
        var settings = APISettings()
        settings.exportPageRows = 10
        return settings
    }()

    private func lines(_ answer: Answer) throws -> [JSONValue] {
        try answer.text.split(separator: "\n").map { line in
            try #require(JSONValue(String(line)), "\(line)")
        }
    }

    @Test func `has each row of the tenant once, and none of another's`() async throws {
        try await Served.with(settings: Self.settings) { served in
            let (mine, client) = try await served.tenant([.admin])
            let (theirs, _) = try await served.tenant([.admin])
            try served.plane.fill(mine, "mine-", count: 25)
            try served.plane.fill(theirs, "theirs-", count: 25)
            let answer = try await client.get("/v1/admin/tenants/\(mine)/export")
            #expect(answer.status == 200)
            #expect(answer.fields["content-type"] == "application/x-ndjson")
            let lines = try lines(answer)
            #expect(Set(answer.text.split(separator: "\n")).count == lines.count)
            #expect(lines.first?["id"]?.text == mine.description)
            #expect(lines.last?["type"]?.text == "end")
            #expect(lines.last?["lines"]?.integer == lines.count - 1)
            // The export's own audit row is among the rows, and was before they were counted.
            let stored = try served.plane.rowCounts(of: mine)
            var told: [String: Int] = [:]
            for line in lines { told[line["type"]?.text ?? "", default: 0] += 1 }
            for table in TenantTable.all {
                guard case .lines(let type, let columns, let hidden) = table.export else {
                    continue
                }
                #expect(told.removeValue(forKey: type) == stored[table.name], "\(table.name)")
                let line = try #require(lines.first { $0["type"]?.text == type })
                #expect(line.names?.count == columns.count + 1, "\(table.name)")
                for column in hidden { #expect(line[column] == nil, "\(table.name).\(column)") }
            }
            #expect(told == ["tenant": 1, "end": 1])
            #expect(answer.text.contains("mine-"))
            #expect(!answer.text.contains("theirs-"))
            #expect(!answer.text.contains(theirs.description))
        }
    }

    @Test func `has no secret and no hash`() async throws {
        try await Served.with { served in
            let (tenant, client) = try await served.tenant([.admin, .record])
            _ = try await client.post(
                "/v1/requests", #"{"operation":"op"}"#, ["Idempotency-Key": "kept-apart"])
            let answer = try await served.asOperator.get("/v1/admin/tenants/\(tenant)/export")
            let secret = try #require(client.key)
            #expect(answer.text.contains(secret.dropFirst(4).prefix(16)))
            #expect(!answer.text.contains(secret))
            let rows = try Session(Conninfo(url: served.plane.url)).execute(
                "SELECT encode(hash, 'hex') FROM api_key UNION SELECT encode(key_hash, 'hex') FROM idempotency"
            )
            #expect(rows.count == 3)
            for row in rows { #expect(!answer.text.contains(try row.text(0))) }
        }
    }

    @Test func `is refused in whole before it begins`() async throws {
        try await Served.with { served in
            let none = "/v1/admin/tenants/01a205fa-0649-7568-9913-e7077cb56751/export"
            #expect(try await served.asOperator.get(none).status == 404)
            let (tenant, _) = try await served.tenant()
            let wrong = try await served.asOperator.get(
                "/v1/admin/tenants/\(tenant)/export?limit=1")
            #expect(wrong.status == 400)
            let audit = try await served.plane.directory.audit(of: tenant, before: nil, limit: 9)
            #expect(!audit.contains { $0.action == "tenant.export" })
        }
    }

    @Test func `is a request in hand until its client leaves, and ends then`() async throws {
        var settings = APISettings()
        settings.maxInFlightPerTenant = 1
        try await Served.with(settings: settings) { served in
            let (tenant, other) = try await served.tenant()
            let session = try Session(Conninfo(url: served.plane.url))
            // Far more than the kernel holds for a connection.
            try session.execute(
                """
                INSERT INTO usage_log (tenant_id, op, at, units, cum)
                SELECT $1, 1, clock_timestamp() + n * interval '1 microsecond', 1, n
                FROM   generate_series(1, 150000) AS n
                """, .uuid(tenant.uuid))
            let (port, key) = (served.client.port, served.operatorKey)
            let descriptor = try await onThread {
                let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
                var name = sockaddr_in()
                name.sin_family = sa_family_t(AF_INET)
                name.sin_port = port.bigEndian
                name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
                _ = unsafe withUnsafeBytes(of: name) {
                    unsafe connect(
                        descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                        socklen_t($0.count))
                }
                let head =
                    "GET /v1/admin/tenants/\(tenant)/export HTTP/1.1\r\nHost: test\r\n"
                    + "Authorization: Bearer \(key)\r\n\r\n"
                let sent = unsafe send(descriptor, Array(head.utf8), head.utf8.count, 0)
                var room = [UInt8](repeating: 0, count: 1000)
                let count = unsafe read(descriptor, &room, room.count)
                #expect(sent == head.utf8.count && count > 0)
                return descriptor
            }
            #expect(try await served.asOperator.get("/v1/whoami").status == 429)
            #expect(try await other.get("/v1/whoami").status == 200)
            close(descriptor)
            let gone = #"breakwater_http_connection_ends_total{reason="clientGone"} 1"#
            let start = MonotonicInstant.now
            while try await !served.client.get("/metrics").text.contains(gone) {
                try #require(start.duration(to: .now) < .seconds(5))
                try await Task.sleep(for: .milliseconds(5))
            }
            #expect(try await served.asOperator.get("/v1/whoami").status == 200)
        }
    }
}
