import ControlPlane
import Glibc
import IO
import JSON
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(3))) struct `Two processes on one database` {
    @Test(.proves("H4", "H5"))
    func `that start together migrate once and serve both`() async throws {
        try await Database.withEmpty { url, scratch in
            async let first = scratch.serve(database: url, data: "a")
            async let second = scratch.serve(database: url, data: "b")
            let both = try await [first, second]
            let applied = try both.flatMap { try $0.logged("migration_applied") }
                .compactMap { $0["migration"]?.text }
            #expect(applied.count == Schema.migrations.count)
            #expect(Set(applied).count == applied.count)
            for instance in both {
                #expect(try await instance.asOperator("GET", "/v1/whoami").status == 200)
                try await instance.stop()
            }
        }
    }

    @Test(.proves("H1"))
    func `refuse a key at one within a second of its revocation at the other`() async throws {
        try await Database.with { url, scratch in
            let first = try await scratch.serve(database: url, data: "a")
            let second = try await scratch.serve(database: url, data: "b")
            let wire = try second.connect()
            for round in 1...5 {
                let tenant = try await first.tenant("round \(round)")
                for _ in 1...3 {  // it is remembered there
                    #expect(try await wire.call("GET", "/v1/stats", key: tenant.key).status == 200)
                }
                let revoked = try await first.asOperator(
                    "DELETE", "/v1/admin/tenants/\(tenant.id)/keys/\(tenant.keyID)")
                #expect(revoked.status == 204)
                let start = MonotonicInstant.now
                try await eventually("it is refused", within: .seconds(10)) {
                    let asked = start.duration(to: .now)
                    let status = try await wire.call("GET", "/v1/stats", key: tenant.key).status
                    #expect(status == 401 || asked < .seconds(1), "\(status) after \(asked)")
                    return status == 401
                }
            }
            try await first.stop()
            try await second.stop()
        }
    }

    @Test(.proves("E5"))
    func `admit exactly the limit between them`() async throws {
        try await Database.with { url, scratch in
            let both = [
                try await scratch.serve(database: url, data: "a"),
                try await scratch.serve(database: url, data: "b"),
            ]
            let key = try await both[0].tenant().key
            let (limit, clients, tries) = (137, 4, 40)
            let body = #"{"operation":"sandbox_create","maxPerHour":\#(limit)}"#
            let statuses = try await withThrowingTaskGroup(of: [Int].self) { group in
                for instance in both {
                    for _ in 1...clients {
                        group.addTask {
                            let wire = try instance.connect()
                            var statuses: [Int] = []
                            for _ in 1...tries {
                                statuses.append(
                                    try await wire.call(
                                        "POST", "/v1/rate-limits/acquire", body, key: key
                                    ).status)
                            }
                            return statuses
                        }
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(statuses.filter { $0 == 200 }.count == limit)
            #expect(statuses.filter { $0 == 429 }.count == 2 * clients * tries - limit)
            for instance in both {
                let stats = try await instance.call("GET", "/v1/stats", key: key)
                #expect(stats.json?["totalRequests"]?.integer == limit)
                try await instance.stop()
            }
        }
    }

    /// The owner is killed in the middle of a run. Nobody may run the job before its lease is
    /// over, and then the survivor must.
    @Test(.proves("H6"))
    func `take over a job when its owner is killed, once its lease is over`() async throws {
        try await Database.with { url, scratch in
            let patient = [
                "cleanup.intervalS": "3600", "jobs.pollMs": "100",
                "postgres.lockTimeoutMs": "60000", "postgres.statementTimeoutMs": "60000",
                "postgres.deadlineMs": "120000", "jobs.leaseS": "5",
            ]
            let both = [
                try await scratch.serve(database: url, data: "a", set: patient),
                try await scratch.serve(database: url, data: "b", set: patient),
            ]
            _ = try await job(at: both[0], "has run at the start") { $0["finishedAt"] != .null }
            // While this table is locked no run comes to its end.
            let lock = try await HeldLock.take(url, table: "idempotency", mode: "ACCESS EXCLUSIVE")
            _ = try await both[0].asOperator("POST", "/v1/admin/jobs/cleanup/run")
            let held = try await job(at: both[0], "is held") { $0["holder"] != .null }
            let holder = try #require(held["holder"]?.text)
            let owner = try #require(both.first { holder.hasSuffix(":\($0.child.pid)") })
            let survivor = try #require(both.first { $0.child.pid != owner.child.pid })
            let before = try #require(
                await Database.execute(url, "SELECT epoch || ',' || lease_until FROM \(cleanup)")
            ).split(separator: ",")
            owner.child.signal(SIGKILL)
            #expect(try await owner.child.ended() == .killed(by: SIGKILL))
            try await lock.release()

            let taken = try await job(at: survivor, "was run by the survivor") {
                $0["startedAt"] != held["startedAt"] && $0["holder"] == .null
            }
            #expect(taken["outcome"]?.text == "succeeded")
            let after = try await Database.execute(
                url,
                """
                SELECT (epoch - \(before[0]))::text || ' ' || CASE
                       WHEN started_at < '\(before[1])' THEN 'early'
                       WHEN started_at > timestamptz '\(before[1])' + interval '5 s' THEN 'late'
                       ELSE 'in time' END
                FROM   \(cleanup)
                """)
            #expect(after == "1 in time")
            try await survivor.stop()
        }
    }
}

private let cleanup = "job WHERE name = 'cleanup'"

/// The job as an instance lists it, once it is as wanted.
private func job(
    at instance: Instance, _ what: String, when isWanted: @Sendable (JSONValue) -> Bool
) async throws -> JSONValue {
    try await eventually("the job \(what)", within: .seconds(45)) {
        let jobs = try await instance.asOperator("GET", "/v1/admin/jobs").json?["items"]?.items
        return jobs?.first { $0["name"]?.text == "cleanup" && isWanted($0) }
    }
}
