import Foundation
import Glibc
import JSON
import Postgres
import Synchronization
import TestSupport
import Testing

/// What callers and a test tell each other.
private final class Load: Sendable {
    let isOver = Atomic<Bool>(false)
    let acknowledged = Atomic<Int>(0)
}

@Suite(.proves("H9"), .timeLimit(.minutes(4))) struct `A backup` {
    private func backup(
        _ scratch: Scratch, _ file: String, environment: [String: String] = [:]
    ) async throws -> Program.Outcome {
        try await scratch.run(
            ["backup", scratch(file), "--data", scratch("data")], environment: environment)
    }

    private func restore(
        _ scratch: Scratch, _ file: String, data: String, environment: [String: String] = [:]
    ) async throws -> Program.Outcome {
        try await scratch.run(
            ["restore", scratch(file), "--data", scratch(data)], environment: environment)
    }

    /// What an instance answers about a tenant.
    private func answers(_ instance: Instance, _ key: String) async throws -> [String] {
        var answers: [String] = []
        for path in [
            "/v1/rate-limits/check?operation=sandbox_create&maxPerHour=100", "/v1/stats",
            "/v1/rate-limits", "/v1/whoami",
        ] {
            let answer = try await instance.call("GET", path, key: key)
            #expect(answer.status == 200, "\(path): \(answer.text)")
            // When a limit is free again is told from now on.
            answers.append(answer.text.replacing(/"[a-zA-Z]*(Ms|At|Seconds)":[^,}]*/, with: ""))
        }
        return answers
    }

    @Test func `made under load brings all of its moment back`() async throws {
        try await Scratch.with { scratch in
            let first = try await scratch.serve()
            let quiet = try await first.tenant("quiet")
            let busy = try await first.tenant("busy")
            for _ in 1...7 {
                let answer = try await first.call(
                    "POST", "/v1/requests", #"{"operation":"sandbox_create","cost":3}"#,
                    key: quiet.key)
                #expect(answer.status == 201)
            }
            let policy = try await first.asOperator(
                "POST", "/v1/admin/tenants/\(quiet.id)/keys", #"{"scopes":["admin"]}"#)
            let admin = try #require(policy.json?["key"]?.text)
            let put = try await first.call(
                "PUT", "/v1/policies/sandbox_create",
                #"{"limits":[{"limit":50,"windowS":3600}]}"#, key: admin)
            #expect(put.status < 300, "\(put.text)")
            let wanted = try await answers(first, quiet.key)
            let usage = try await first.call("GET", "/v1/policies", key: admin).text

            // Another tenant records all the while.
            let load = Load()
            let made = try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 1...4 {
                    group.addTask {
                        let wire = try first.connect()
                        while !load.isOver.load(ordering: .acquiring) {
                            let answer = try await wire.call(
                                "POST", "/v1/requests", #"{"operation":"op"}"#, key: busy.key)
                            #expect(answer.status == 201)
                            load.acknowledged.add(1, ordering: .relaxed)
                        }
                    }
                }
                try await eventually("it is under load") {
                    load.acknowledged.load(ordering: .relaxed) > 100
                }
                let before = load.acknowledged.load(ordering: .relaxed)
                let outcome = try await backup(scratch, "dump")
                load.isOver.store(true, ordering: .releasing)
                try await group.waitForAll()
                return (before, outcome)
            }
            #expect(made.1.end == .exited(0), "\(made.1.errors)")
            #expect(made.1.output.contains("read again and the same"))
            #expect(try mode(of: scratch("dump")) == 0o600)
            #expect(!scratch.exists("dump.part"))
            try await first.stop()

            let restored = try await restore(scratch, "dump", data: "new")
            #expect(restored.end == .exited(0), "\(restored.errors)")
            let second = try await scratch.serve(data: "new")
            #expect(try await answers(second, quiet.key) == wanted)
            #expect(try await second.call("GET", "/v1/policies", key: admin).text == usage)
            let stats = try await second.call("GET", "/v1/stats", key: busy.key)
            let count = try #require(stats.json?["totalRequests"]?.integer)
            #expect(count >= made.0 && count <= load.acknowledged.load(ordering: .relaxed))
            // And it works on: records, jobs, roles.
            let next = try await second.call(
                "POST", "/v1/requests", #"{"operation":"op"}"#, key: busy.key)
            #expect(next.json?["count"]?.integer == count + 1)
            let doctor = try await scratch.run([
                "doctor", "--data", scratch("new"), "--listen", "127.0.0.1:\(second.port)",
            ])
            #expect(doctor.end == .exited(0), "\(doctor.output)")
            #expect(!doctor.output.contains("warning"), "\(doctor.output)")
            try await second.stop()
        }
    }

    @Test func `of a folder that nobody serves starts its PostgreSQL and stops it again`()
        async throws
    {
        try await Scratch.with { scratch in
            let instance = try await scratch.serve()
            let key = try await instance.tenant().key
            try await instance.stop()
            #expect(try await backup(scratch, "dump").end == .exited(0))
            #expect(scratch.servers.isEmpty)
            #expect(try await restore(scratch, "dump", data: "new").end == .exited(0))
            #expect(scratch.servers.isEmpty)
            let second = try await scratch.serve(data: "new")
            #expect(try await second.call("GET", "/v1/stats", key: key).status == 200)
            try await second.stop()
        }
    }

    @Test func `of a given database comes back in another one`() async throws {
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(database: url)
            let key = try await instance.tenant().key
            try await instance.stop()
            let made = try await backup(scratch, "dump", environment: ["DATABASE_URL": url])
            #expect(made.end == .exited(0), "\(made.errors)")
            try await TestDatabase.withDatabase { other in
                let restored = try await restore(
                    scratch, "dump", data: "b", environment: ["DATABASE_URL": other])
                #expect(restored.end == .exited(0), "\(restored.errors)")
                let second = try await scratch.serve(database: other, data: "b")
                #expect(try await second.call("GET", "/v1/stats", key: key).status == 200)
                try await second.stop()
            }
        }
    }

    /// What pg_dump would do with a login that row-level security holds for: leave every row out.
    @Test func `is refused to a login that row-level security holds for`() async throws {
        try await Database.with(ownSessions: true) { url, scratch in
            let instance = try await scratch.serve(database: url)
            _ = try await instance.tenant()
            try await instance.stop()
            let name = "blind_\(getpid())"
            try await Database.execute(url, "CREATE ROLE \(name) LOGIN")
            try await Database.execute(url, "GRANT bw_app, pg_read_all_data TO \(name)")
            let blind = url + " user=\(name)"
            let refused = try await backup(scratch, "dump", environment: ["DATABASE_URL": blind])
            #expect(refused.end == .exited(1))
            #expect(refused.errors.contains("row-level security would leave rows out"))
            #expect(refused.errors.contains("DATABASE_MIGRATION_URL"))
            #expect(!scratch.exists("dump") && !scratch.exists("dump.part"))
            // The trap itself, sprung by hand: a dump without an error, and without a tenant.
            let (tool, keywords) = try await onThread {
                let version = try Session(Conninfo(url: url)).serverVersion / 10_000
                return (
                    try ClientTool.find("pg_dump", binaries: nil, server: version),
                    try Conninfo(url: blind).withoutPassword().keywords
                )
            }
            let bytes = Mutex<[UInt8]>([])
            try await onThread {
                try tool.run(
                    ["--data-only", "--enable-row-security", "--table=tenant", keywords]
                ) { part in bytes.withLock { $0 += part } }
            }
            let text = String(decoding: bytes.withLock { $0 }, as: UTF8.self)
            #expect(text.contains("COPY public.tenant") && text.contains("FROM stdin;\n\\."))

            // With a bw_owner that sees all it works, and that is who reads.
            try await Database.execute(url, "GRANT bw_owner TO \(name)")
            let made = try await backup(scratch, "dump", environment: ["DATABASE_URL": blind])
            #expect(made.end == .exited(0), "\(made.errors)")
            try await Database.execute(
                url, "REVOKE bw_owner, bw_app, pg_read_all_data FROM \(name)")
            try await Database.execute(url, "DROP ROLE \(name)")
        }
    }

    @Test func `is not brought into what holds something, nor made over another`() async throws {
        try await Database.with { url, scratch in
            let environment = ["DATABASE_URL": url]
            #expect(try await backup(scratch, "dump", environment: environment).end == .exited(0))
            let again = try await backup(scratch, "dump", environment: environment)
            #expect(again.end == .exited(1))
            #expect(again.errors.contains("already"))
            let full = try await restore(scratch, "dump", data: "x", environment: environment)
            #expect(full.end == .exited(1))
            #expect(full.errors.contains("not empty"))
            // Nor beside an instance that works on the folder.
            let instance = try await scratch.serve(data: "own")
            let beside = try await restore(scratch, "dump", data: "own")
            #expect(beside.end == .exited(1))
            #expect(beside.errors.contains("another service works on"))
            try await instance.stop()
        }
    }

    @Test func `that is damaged, or none, leaves the database empty`() async throws {
        try await Database.with { url, scratch in
            #expect(
                try await backup(scratch, "dump", environment: ["DATABASE_URL": url]).end
                    == .exited(0))
            let whole = try Data(contentsOf: URL(filePath: scratch("dump")))
            try whole.prefix(whole.count / 2).write(to: URL(filePath: scratch("half")))
            try scratch.write("hello", to: "text")
            try await TestDatabase.withDatabase { other in
                for file in ["half", "text", "nowhere"] {
                    let outcome = try await restore(
                        scratch, file, data: "x", environment: ["DATABASE_URL": other])
                    #expect(outcome.end == .exited(1), "\(file)")
                    #expect(outcome.errors.contains(file))
                }
                let left = try await Database.execute(
                    other,
                    "SELECT count(*)::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                )
                #expect(left == "0")
            }
        }
    }

    private func mode(of path: String) throws -> mode_t {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { throw Failure("stat \(path): \(errno)") }
        return status.st_mode & 0o777
    }
}
