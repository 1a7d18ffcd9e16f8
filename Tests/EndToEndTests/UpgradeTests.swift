import ControlPlane
import Glibc
import JSON
import Postgres
import Synchronization
import TestSupport
import Testing

private final class UpgradeLoad: Sendable {
    let isOver = Atomic<Bool>(false)
    let rounds = Atomic<Int>(0)
}

/// The newer release is played by its migrations alone: a list that goes on where ours ends.
@Suite(.proves("H9"), .timeLimit(.minutes(3))) struct `A rolling upgrade` {
    private static let newest = Schema.migrations.last?.version ?? 0

    /// What a next release would bring, by the rule: it adds, and says whose binary may stay.
    private static let additive = Migration(
        version: newest + 1, name: "next",
        sql: """
            -- Adds to what is there.
            -- min-binary: \(newest)
            SET LOCAL ROLE bw_owner;
            ALTER TABLE usage_log ADD COLUMN origin smallint;
            ALTER TABLE job ADD COLUMN note text;
            CREATE TABLE later (tenant_id uuid PRIMARY KEY, x int);
            ALTER TABLE later ENABLE ROW LEVEL SECURITY;
            ALTER TABLE later FORCE ROW LEVEL SECURITY;
            RESET ROLE;
            """)
    /// What may not come beside the release before, and says so by saying nothing.
    private static let breaking = Migration(
        version: newest + 2, name: "break", sql: "CREATE TABLE much_later (id int8)")

    private func migrate(_ url: String, _ more: [Migration]) async throws {
        try await onThread {
            _ = try Migrator(Conninfo(url: url, instance: "next"), Schema.migrations + more)
                .migrate()
        }
    }

    @Test func `leaves the older instance answering while the newer migrates`() async throws {
        try await Database.with { url, scratch in
            let older = try await scratch.serve(database: url)
            let key = try await older.tenant().key
            let load = UpgradeLoad()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 1...3 {
                    group.addTask {
                        let wire = try older.connect()
                        let body = #"{"operation":"op","maxPerHour":1000000}"#
                        while !load.isOver.load(ordering: .acquiring) {
                            let answers = [
                                try await wire.call(
                                    "POST", "/v1/requests", #"{"operation":"op"}"#, key: key),
                                try await wire.call(
                                    "GET", "/v1/rate-limits/check?operation=op&maxPerHour=9",
                                    key: key),
                                try await wire.call(
                                    "POST", "/v1/rate-limits/acquire", body, key: key),
                            ]
                            #expect(answers.map(\.status) == [201, 200, 200])
                            load.rounds.add(1, ordering: .relaxed)
                        }
                    }
                }
                func more() async throws {
                    let before = load.rounds.load(ordering: .relaxed)
                    try await eventually("it goes on") {
                        load.rounds.load(ordering: .relaxed) > before + 20
                    }
                }
                try await more()
                try await migrate(url, [Self.additive])
                try await more()
                load.isOver.store(true, ordering: .releasing)
                try await group.waitForAll()
            }
            let stats = try await older.call("GET", "/v1/stats", key: key)
            #expect(
                stats.json?["totalRequests"]?.integer == 2 * load.rounds.load(ordering: .relaxed))
            // The older release may start again meanwhile: the newer one allows it.
            let again = try await scratch.serve(database: url, data: "again")
            #expect(try again.logged("migration_applied").isEmpty)
            #expect(try await again.call("GET", "/v1/stats", key: key).status == 200)
            try await again.stop()
            try await older.stop()
        }
    }

    @Test func `refuses to start a binary that the newer schema does not allow`() async throws {
        try await Database.with { url, scratch in
            let older = try await scratch.serve(database: url)
            let key = try await older.tenant().key
            try await migrate(url, [Self.additive, Self.breaking])
            let late = try await scratch.run(
                scratch.serving("late"), environment: ["DATABASE_URL": url])
            #expect(late.end == .exited(1))
            #expect(late.errors.contains("start a newer one"))
            // One that serves already is not put out.
            #expect(try await older.call("GET", "/v1/stats", key: key).status == 200)
            try await older.stop()
        }
    }

    @Test func `names in every gentle migration a binary that there was`() {
        let versions = Set(Schema.migrations.map(\.version))
        for migration in Schema.migrations {
            #expect(versions.contains(migration.minimumBinary), "\(migration)")
            #expect(migration.minimumBinary <= migration.version)
        }
    }

    /// The newest migration before the rule is kept; raised until the first release, never after.
    private static let baseline = 9

    /// What a binary relies on: tables with their columns and types, functions with their arguments
    /// and answers, and who may use them.
    private static let relied = """
        SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
        FROM   pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        WHERE  c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
        AND    NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT 'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ') '
               || pg_get_function_result(p.oid)
        FROM   pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'grant ' || g.table_name || ' ' || g.privilege_type || ' ' || g.grantee
        FROM   information_schema.role_table_grants AS g
        WHERE  g.table_schema = 'public' AND g.grantee IN ('bw_app', 'bw_operator', 'bw_ledger')
        AND    g.table_name !~ '_[0-9]{10}$'
        UNION ALL
        SELECT 'execute ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
        FROM   pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace
        AND    has_function_privilege('bw_app', p.oid, 'EXECUTE')
        """

    private func relied(_ session: Session) throws -> Set<String> {
        try Set(session.execute(Self.relied).map { try $0.text(0) })
    }

    /// What each migration after the baseline takes away, by its name.
    private func taken(_ url: String, _ list: [Migration]) async throws -> [String: Set<String>] {
        try await onThread {
            let conninfo = Conninfo(url: url, instance: "test")
            let session = try Session(conninfo)
            var before: Set<String> = []
            var taken: [String: Set<String>] = [:]
            for count in 1...list.count {
                _ = try Migrator(conninfo, Array(list.prefix(count))).migrate()
                let now = try relied(session)
                let lost = before.subtracting(now)
                if list[count - 1].version > Self.baseline, !lost.isEmpty {
                    taken["\(list[count - 1])"] = lost
                }
                before = now
            }
            return taken
        }
    }

    @Test func `finds that no migration takes anything from the binary before it`() async throws {
        try await Database.withEmpty { url, _ in
            let taken = try await taken(url, Schema.migrations)
            #expect(taken.isEmpty, "a migration may only add: docs/operations.md, Upgrade")
        }
    }

    @Test func `would find one that does`() async throws {
        try await Database.withEmpty { url, _ in
            let bad = Migration(
                version: Self.newest + 1, name: "bad",
                sql: """
                    DO $$ BEGIN EXECUTE 'DROP FUNCTION bw_' || 'stats'; END $$;
                    ALTER TABLE job RENAME COLUMN holder TO owner;
                    REVOKE SELECT ON operation FROM bw_app;
                    """)
            let taken = try await taken(url, Schema.migrations + [bad])
            let lost = try #require(taken["\(bad)"])
            for start in [
                "function bw_stats(", "column job.holder ", "grant operation SELECT bw_app",
            ] {
                #expect(lost.contains { $0.hasPrefix(start) }, "\(start)")
            }
        }
    }
}
