import ControlPlane
import Foundation
import Glibc
import JSON
import Postgres
import Synchronization
import TestSupport
import Testing

/// One of the original's records, and how many units it stands for.
private struct Line {
    let operation: String
    let at: Timestamp
    let units: Int64
    let text: String

    init(_ operation: String, at: Timestamp, cost: Int64 = 1, count: Int64 = 1, isText: Bool) {
        self.operation = operation
        // As precise as it stands in the file.
        self.at = Timestamp(microseconds: at.milliseconds * 1_000)
        units = cost * count
        let time = isText ? "\"\(self.at)\"" : "\(at.milliseconds)"
        text =
            #"{"operation":"\#(operation)","timestamp":\#(time)"#
            + (cost == 1 ? "" : #","cost":\#(cost)"#) + (count == 1 ? "" : #","count":\#(count)"#)
            + "}"
    }
}

/// SplitMix64: the same lines for each run, relative to its time.
private struct Generator: RandomNumberGenerator {
    var state: UInt64 = 20_261_123
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

@Suite(.proves("H9"), .timeLimit(.minutes(4))) struct `An import` {
    private func run(
        _ scratch: Scratch, _ url: String, _ file: String, _ tenant: String, _ more: String...
    ) async throws -> Program.Outcome {
        try await scratch.run(
            ["import", scratch(file), "--tenant", tenant, "--data", scratch("data")] + more,
            environment: ["DATABASE_URL": try TestDatabase.direct(url)], within: .seconds(120))
    }

    private func report(_ outcome: Program.Outcome) throws -> JSONValue {
        #expect(outcome.end == .exited(0), "\(outcome.errors)")
        return try #require(JSONValue(outcome.output))
    }

    private func write(_ lines: [Line], _ scratch: Scratch, _ file: String = "file") throws {
        try scratch.write(lines.map(\.text).joined(separator: "\n") + "\n", to: file)
    }

    /// Lines over the last 40 days, most of them in the last hour, out of order, some at one time.
    private func makeLines(_ count: Int, until now: Timestamp) -> [Line] {
        var random = Generator()
        return (0..<count).map { index in
            let span: Int64 = [3_000_000, 3_000_000, 86_400_000 * 2, 86_400_000 * 40][index % 4]
            let age = Int64.random(in: 2_000...span, using: &random)
            return Line(
                index % 3 == 0 ? "b" : "a", at: now + .milliseconds(-(age / 7 * 7)),
                cost: Int64.random(in: 1...3, using: &random),
                count: Int64.random(in: 1...2, using: &random), isText: index % 2 == 0)
        }
    }

    /// Every window's count and every roll-up, held against a sum over all rows by themselves.
    private func checkAll(_ url: String, _ tenant: String, _ rows: [(Line)]) async throws {
        try await onThread {
            let session = try Session(Conninfo(url: url, instance: "test"))
            let number = try session.execute(
                "SELECT name, op FROM operation WHERE tenant_id = $1::uuid", .text(tenant)
            ).reduce(into: [String: Int16]()) { $0[try $1.text(0)] = try $1.int16(1) }
            let version = try session.execute(
                "SELECT coalesce((SELECT version FROM policy_set WHERE tenant_id = $1::uuid), 0)",
                .text(tenant)
            ).only().int64(0)
            let now = try session.execute("SELECT clock_timestamp()").only().timestamp(0)
            let uuid = try #require(Tenant.ID(tenant)).uuid
            for window in [5, 60, 600, 1_800, 3_500, 172_800, 1_000_000, 2_678_400] {
                for (name, operation) in [
                    ("a", number["a"] ?? 1), ("b", number["b"] ?? 2), ("*", 0),
                ] {
                    // The long log is only of those that a policy of its length names.
                    if window > 86_400, name == "a" { continue }
                    let used = try session.execute(
                        "SELECT used FROM bw_check($1, $2, $3, $4, $5)", .uuids([uuid]),
                        .int2s([operation]), .int4s([Int32(window)]), .int8s([version]),
                        .timestamp(now)
                    ).only().int64(0)
                    let start = now + .seconds(-Int64(window))
                    let wanted = rows.filter {
                        $0.at > start && ($0.operation == name || name == "*")
                    }
                    .reduce(0) { $0 + $1.units }
                    #expect(used == wanted, "\(name) in \(window) s")
                }
            }
            // What the job would make of the last minutes, now.
            try session.run("SELECT bw_roll_up(clock_timestamp() + interval '2 minutes')")
            let kept = now + .seconds(-30 * 86_400 + 60)
            for (table, unit) in [
                ("usage_minute", Int64(60_000_000)), ("usage_hour", 3_600_000_000),
            ] {
                let found = try session.execute(
                    """
                    SELECT o.name || ' ' || (extract(epoch FROM u.at) * 1000000)::bigint, u.units
                    FROM \(table) AS u JOIN operation AS o ON o.tenant_id = u.tenant_id AND o.op = u.op
                    WHERE u.tenant_id = $1::uuid AND u.at >= $2 AND u.units > 0
                    """, .text(tenant), .timestamp(kept + .microseconds(unit))
                ).reduce(into: [String: Int64]()) { $0[try $1.text(0)] = try $1.int64(1) }
                let wanted = rows.filter { $0.at > kept }.reduce(into: [String: Int64]()) {
                    let step = $1.at.microseconds / unit * unit
                    if step >= kept.microseconds + unit {
                        $0["\($1.operation) \(step)", default: 0] += $1.units
                    }
                }
                #expect(found == wanted, "\(table)")
            }
            let broken = try session.execute(
                """
                SELECT count(*) FROM (
                    SELECT *, lag(cum) OVER (PARTITION BY tenant_id, op ORDER BY at) AS before
                    FROM usage_log UNION ALL
                    SELECT *, lag(cum) OVER (PARTITION BY tenant_id, op ORDER BY at) FROM usage_log_long
                ) AS l WHERE before IS NOT NULL AND cum - units <> before
                """
            ).only().int(0)
            #expect(broken == 0)
        }
    }

    /// The tenant's live records as lines.
    private func live(_ url: String, _ tenant: String) async throws -> [Line] {
        try await onThread {
            try Session(Conninfo(url: url, instance: "test")).execute(
                """
                SELECT o.name, l.at, l.units FROM usage_log AS l
                JOIN operation AS o ON o.tenant_id = l.tenant_id AND o.op = l.op
                WHERE l.tenant_id = $1::uuid
                """, .text(tenant)
            ).map {
                Line(
                    try $0.text(0), at: try $0.timestamp(1), cost: Int64(try $0.int32(2)),
                    isText: false)
            }
        }
    }

    private func prepare(_ instance: Instance) async throws -> (id: String, key: String) {
        let tenant = try await instance.tenant()
        let made = try await instance.asOperator(
            "POST", "/v1/admin/tenants/\(tenant.id)/keys", #"{"scopes":["admin"]}"#)
        let admin = try #require(made.json?["key"]?.text)
        for operation in ["b", "*"] {
            let put = try await instance.call(
                "PUT", "/v1/policies/\(operation)",
                #"{"limits":[{"limit":1000000,"windowS":2678400},{"limit":1000000,"windowS":3600}]}"#,
                key: admin)
            #expect(put.status < 300, "\(put.text)")
        }
        return (tenant.id, tenant.key)
    }

    @Test func `counts as brute force does: windows, roll-ups, all operations together`()
        async throws
    {
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(database: url)
            let tenant = try await prepare(instance)
            for index in 1...20 {
                let body = #"{"operation":"\#(index % 2 == 0 ? "a" : "b")","cost":\#(index)}"#
                let answer = try await instance.call(
                    "POST", "/v1/requests", body, key: tenant.key)
                #expect(answer.status == 201)
            }
            let now = Timestamp.now
            var lines = makeLines(6_000, until: now)
            // Between the live ones, and at the very time of one of them.
            let records = try await live(url, tenant.id)
            for record in records.prefix(10) {
                lines.append(Line("a", at: record.at + .milliseconds(-1), isText: true))
            }
            try write(lines, scratch)
            let first = try report(try await run(scratch, url, "file", tenant.id))
            #expect(first["records"]?.integer == lines.count)
            #expect(first["alreadyImported"]?.flag == false)
            // What was live, at its full precision but for the cut to ms, which no window here
            // sees.
            try await checkAll(url, tenant.id, lines + records)
            let units = lines.filter { $0.at > now + .seconds(-3_590) }.reduce(0) { $0 + $1.units }
            #expect(try #require(first["unitsInLog"]?.integer) == units)

            // Once more: known, and nothing changes.
            let again = try report(try await run(scratch, url, "file", tenant.id))
            #expect(again["alreadyImported"]?.flag == true)
            try await checkAll(url, tenant.id, lines + records)
            // Another file, older and newer than what is there.
            let more = makeLines(500, until: now).map {
                Line($0.operation, at: $0.at + .milliseconds(-3), isText: false)
            }
            try write(more, scratch, "more")
            _ = try report(try await run(scratch, url, "more", tenant.id))
            try await checkAll(url, tenant.id, lines + records + more)
            // What comes after is counted on.
            let next = try await instance.call(
                "POST", "/v1/requests", #"{"operation":"a"}"#, key: tenant.key)
            #expect(next.status == 201)
            try await checkAll(
                url, tenant.id, lines + records + more + [Line("a", at: .now, isText: false)])
            try await instance.stop()
        }
    }

    @Test func `is gone on with after its end, wherever that came`() async throws {
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(database: url)
            let tenant = try await prepare(instance)
            let lines = makeLines(400, until: .now)
            try write(lines, scratch)
            // Died while it staged: what it left goes, and the file is staged anew.
            let sum = try scratch.start(
                ["/usr/bin/sha256sum", scratch("file")], environment: [:])
            _ = try await sum.ended()
            let id = try String(contentsOfFile: sum.output, encoding: .utf8).prefix(64)
            let stage = """
                SELECT bw_import_stage('\(tenant.id)', '\\x\(id)', array_agg(o), array_agg(at), array_agg(u))::text
                FROM (VALUES (1::int2, now() - interval '5 min', 7::int8)) AS v (o, at, u)
                """
            try await Database.execute(
                url, "SELECT bw_import_begin('\(tenant.id)', '\\x\(id)')")
            try await Database.execute(
                url, "SELECT op::text FROM bw_operations('{\(tenant.id)}', '{a}', '{t}')")
            try await Database.execute(url, stage)
            _ = try report(try await run(scratch, url, "file", tenant.id))
            try await checkAll(url, tenant.id, lines)

            // Died while it merged: the rest follows, and nothing twice.
            let other = makeLines(300, until: .now + .milliseconds(-11))
            try write(other, scratch, "other")
            let lock = try await HeldLock.take(url, table: "usage_log", mode: "EXCLUSIVE")
            let child = try scratch.breakwater(
                ["import", scratch("other"), "--tenant", tenant.id, "--data", scratch("data")],
                environment: ["DATABASE_URL": url])
            try await eventually("it merges, and waits for the log") {
                try await Database.execute(
                    url, "SELECT 'yes' FROM import WHERE state = 'merging'") == "yes"
            }
            child.kill9()
            try await lock.release()
            try await eventually("its transaction is gone") {
                try await Database.execute(
                    url,
                    "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'breakwater/import'"
                ) == "0"
            }
            _ = try report(try await run(scratch, url, "other", tenant.id))
            try await checkAll(url, tenant.id, lines + other)
            try await instance.stop()
        }
    }

    @Test func `stays exact while callers record`() async throws {
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(database: url)
            let tenant = try await prepare(instance)
            let now = Timestamp.now
            let lines = (0..<20_000).map { index in
                Line("a", at: now + .milliseconds(-Int64(index) * 17 % 3_000_000), isText: false)
            }
            try write(lines, scratch)
            let load = ImportLoad()
            let outcome = try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 1...4 {
                    group.addTask {
                        let wire = try instance.connect()
                        while !load.isOver.load(ordering: .acquiring) {
                            let answer = try await wire.call(
                                "POST", "/v1/requests", #"{"operation":"a"}"#, key: tenant.key)
                            #expect(answer.status == 201, "\(answer.text)")
                            load.acknowledged.add(1, ordering: .relaxed)
                        }
                    }
                }
                let outcome = try await run(scratch, url, "file", tenant.id)
                load.isOver.store(true, ordering: .releasing)
                try await group.waitForAll()
                return outcome
            }
            let report = try report(outcome)
            #expect(report["unitsInLog"]?.integer == lines.count)
            let recorded = load.acknowledged.load(ordering: .relaxed)
            #expect(recorded > 50)
            let stats = try await instance.call("GET", "/v1/stats", key: tenant.key)
            #expect(stats.json?["totalRequests"]?.integer == recorded + lines.count)
            let limits = try await instance.call("GET", "/v1/rate-limits", key: tenant.key)
            #expect(limits.status == 200)
            try await instance.stop()
        }
    }

    @Test func `names every bad line, and then imports nothing`() async throws {
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(database: url)
            let tenant = try await instance.tenant()
            let good = #"{"operation":"a","timestamp":\#(Timestamp.now.milliseconds - 5_000)}"#
            let bad: [(line: String, words: String)] = [
                (#"{"operation":"a"}"#, "timestamp"),
                (#"{"timestamp":1}"#, "operation"),
                (#"{"operation":"A b","timestamp":1}"#, "operation must be 1 to 64"),
                (#"{"operation":"a","timestamp":-1}"#, "timestamp"),
                (#"{"operation":"a","timestamp":"yesterday"}"#, "timestamp must be a time like"),
                (
                    #"{"operation":"a","timestamp":\#(Timestamp.now.milliseconds + 86_400_000)}"#,
                    "timestamp must not be in the future"
                ),
                (#"{"operation":"a","timestamp":1,"cost":0}"#, "cost"),
                (#"{"operation":"a","timestamp":1,"user":"x"}"#, "user unexpected member"),
                (#"{"operation":"a","timestamp":1,"timestamp":2}"#, "timestamp"),
                (#"{"operation":"a","timestamp":1"#, "expected"),
                ("[]", "object"),
                (
                    #"{"operation":"a","timestamp":1,"_id":"\#(String(repeating: "x", count: 70_000))"}"#,
                    "65536"
                ),
            ]
            let lines = bad.flatMap { [good, $0.line] } + ["", good]
            try scratch.write(lines.joined(separator: "\n"), to: "file")
            let refused = try await run(scratch, url, "file", tenant.id)
            #expect(refused.end == .exited(1))
            let told = refused.errors.split(separator: "\n").map(String.init)
            #expect(told.count == bad.count + 1)
            for (index, case_) in bad.enumerated() {
                let line = try #require(told.first { $0.contains("line \(index * 2 + 2):") })
                #expect(line.contains(case_.words), "\(line)")
            }
            #expect(told.last?.contains("nothing was imported") == true)
            let nothing = try await Database.execute(
                url,
                "SELECT ((SELECT count(*) FROM usage_log) + (SELECT count(*) FROM import))::text")
            #expect(nothing == "0")
            let skipped = try report(
                try await run(scratch, url, "file", tenant.id, "--skip-bad"))
            #expect(skipped["skippedLines"]?.integer == bad.count)
            #expect(skipped["unitsInLog"]?.integer == bad.count + 1)
            // A tenant that is not there, and a file.
            let nobody = try await run(
                scratch, url, "file", "00000000-0000-7000-8000-000000000001", "--skip-bad")
            #expect(nobody.end == .exited(1) && nobody.errors.contains("there is no tenant"))
            let noFile = try await run(scratch, url, "nowhere", tenant.id)
            #expect(noFile.end == .exited(1) && noFile.errors.contains("nowhere"))
            #expect(try await run(scratch, url, "file", "x").end == .exited(64))
            try await instance.stop()
        }
    }
}

private final class ImportLoad: Sendable {
    let isOver = Atomic<Bool>(false)
    let acknowledged = Atomic<Int>(0)
}
