import Foundation
import Glibc
import JSON
import TestSupport
import Testing

@Suite(.proves("F1"), .timeLimit(.minutes(3))) struct `The log` {
    /// An instance that has met all that it logs: a password in its URL, keys good and bad in
    /// every place where callers put them, a lost connection, a fault of ours.
    @Test func `is one JSON object a line, with no key and no password in it`() async throws {
        try await Database.with(ownSessions: true) { url, scratch in
            let password = "sesame-\(UInt64.random(in: .min ... .max))"
            let instance = try await scratch.serve(
                database: "\(url) password='\(password)'", isPooled: false,
                set: ["cleanup.intervalS": "1"])
            let tenant = try await instance.tenant()
            let other = try await instance.tenant("other")
            let keys = [Instance.operatorKey, tenant.key, other.key]
            for key in keys {
                let broken = key.dropLast() + "g"
                _ = try await instance.call("GET", "/v1/stats", key: key)
                _ = try await instance.call("GET", "/v1/stats", key: String(broken))
                _ = try await instance.call("GET", "/v1/stats?key=\(key)")
                _ = try await instance.call("GET", "/v1/admin/tenants/\(key)", key: key)
                _ = try await instance.call("GET", "/\(key)", fields: ["X-API-Key": key])
                _ = try await instance.call("GET", "/livez", fields: ["X-Request-Id": key])
                _ = try await instance.call(
                    "POST", "/v1/requests", #"{"operation":"\#(key)"}"#, key: key)
            }
            _ = try await instance.asOperator(
                "DELETE",
                "/v1/admin/tenants/\(other.id)/keys/\(other.keyID)?reason=\(other.key)")

            try await Database.execute(
                url,
                """
                SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
                WHERE  datname = current_database() AND pid <> pg_backend_pid()
                """)
            try await eventually("the loss is told") {
                try !instance.logged("database_lost").isEmpty
            }
            try await eventually("it is ready again") {
                try await instance.call("GET", "/readyz").status == 200
            }
            try await Database.execute(url, "ALTER TABLE audit_entry RENAME TO gone")
            let failed = try await instance.call(
                "POST", "/v1/admin/tenants", #"{"name":"third"}"#, key: Instance.operatorKey,
                fields: ["X-Request-Id": "e2e-1"])
            #expect(failed.status == 500)
            try await Database.execute(url, "ALTER TABLE gone RENAME TO audit_entry")
            let entry = try #require(try instance.logged("request_failed").first)
            #expect(entry["requestId"]?.text == "e2e-1")
            #expect(entry["cause"]?.text?.contains("audit_entry") == true)
            try await instance.stop()

            let lines = try instance.lines
            #expect(lines.count > 8)
            for line in lines {
                let entry = try #require(JSONValue(line), "\(line)")
                for name in ["time", "level", "message"] { #expect(entry[name]?.text != nil) }
                #expect(["info", "warning", "error"].contains(entry["level"]?.text))
                #expect(
                    entry["time"]?.text?.wholeMatch(
                        of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil)
            }
            let all = try ["1.out", "1.err"].map { try scratch.read($0) }.joined()
            for key in keys {
                // What is secret of a key begins after its prefix and its id.
                #expect(!all.contains(key.dropFirst(20).prefix(40)), "\(key)")
            }
            #expect(!all.contains(password))
        }
    }

    @Test(.proves("H8")) func `keeps to the level that is asked for`() async throws {
        try await Database.with { url, scratch in
            let child = try scratch.breakwater(
                [
                    "serve", "--listen", "unix:" + scratch("socket"), "--data", scratch("data"),
                    "--set", "logLevel=warning",
                ], environment: ["DATABASE_URL": url])
            try await eventually("it is ready") {
                try await scratch.run(["health", "--url", "unix:" + scratch("socket")]).end
                    == .exited(0)
            }
            child.signal(SIGTERM)
            #expect(try await child.ended() == .exited(0))
            // On a busy machine there may be a warning.
            let lines = try Instance(child: child, port: 0).lines
            #expect(lines.allSatisfy { !$0.contains(#""level":"info""#) }, "\(lines)")
            #expect(!scratch.exists("socket"))
        }
    }

    @Test func `may lose its reader without harm to the service`() async throws {
        try await Database.with { url, scratch in
            let pipe = scratch("pipe")
            guard unsafe mkfifo(pipe, 0o600) == 0 else { throw Failure("mkfifo: \(errno)") }
            let reader = unsafe open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
            let child = try Child(
                [
                    Program.path, "serve", "--listen", "unix:" + scratch("socket"), "--data",
                    scratch("data"),
                ],
                environment: Program.environment(["DATABASE_URL": url]), output: pipe,
                errors: scratch("errors"))
            defer { child.kill9() }
            try await eventually("it listens") { scratch.exists("socket") }
            close(reader)
            child.signal(SIGTERM)  // which is logged
            #expect(try await child.ended() == .exited(0))
        }
    }
}
