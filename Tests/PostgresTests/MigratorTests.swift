import IO
import Postgres
import TestSupport
import Testing

@Suite(.proves("H4")) struct `The migrator` {
    private static let list = [
        Migration(version: 1, name: "pond", sql: "CREATE TABLE pond (id int8 PRIMARY KEY);"),
        Migration(
            version: 2, name: "fish",
            sql: "CREATE TABLE fish (id int8, pond int8 REFERENCES pond); CREATE INDEX ON fish (id)"
        ),
    ]

    private func applied(_ url: String) throws -> [Int] {
        try Session(Conninfo(url: url))
            .execute("SELECT version FROM schema_migration ORDER BY 1").map { try $0.int(0) }
    }

    @Test func `applies what is missing, once`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            let conninfo = Conninfo(url: url, instance: "seven")
            let migrator = Migrator(conninfo, Self.list)
            #expect(try migrator.pending() == Self.list)
            #expect(try migrator.migrate().map(\.migration) == Self.list)
            #expect(try migrator.pending().isEmpty)
            #expect(try migrator.migrate().isEmpty)
            let row = try Session(conninfo).execute(
                """
                SELECT name, checksum, min_binary, applied_by LIKE '% breakwater/seven'
                FROM   schema_migration WHERE version = 1
                """
            ).only()
            #expect(try row.text(0) == "pond")
            // printf 'CREATE TABLE pond (id int8 PRIMARY KEY);' | sha256sum
            #expect(
                try row.text(1)
                    == "a7ee28d4d70a74a642d26c501dec16494d396c3145215d5d1cadc2afd25e42f5")
            #expect(try row.int(2) == 1)
            #expect(try row.bool(3))
        }
    }

    @Test func `lists what it would do without doing it`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            _ = try Migrator(Conninfo(url: url), Array(Self.list.prefix(1))).migrate()
            let pending = try Migrator(Conninfo(url: url), Self.list).pending()
            #expect(pending.map(\.description) == ["0002_fish"])
            #expect(try applied(url) == [1])
        }
    }

    @Test func `refuses a file that was changed after it was applied`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            _ = try Migrator(Conninfo(url: url), Self.list).migrate()
            var changed = Self.list
            changed[0] = Migration(version: 1, name: "pond", sql: "CREATE TABLE pond ()")
            let migrator = Migrator(Conninfo(url: url), changed)
            let error = #expect(throws: MigrationError.changed("0001_pond")) {
                try migrator.migrate()
            }
            #expect(error?.description.contains("0001_pond was changed") == true)
            #expect(throws: MigrationError.changed("0001_pond")) { try migrator.pending() }
        }
    }

    @Test func `leaves nothing of a file that fails`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            let list =
                Self.list + [
                    Migration(version: 3, name: "bad", sql: "CREATE TABLE half (); SELECT 1/0")
                ]
            #expect(
                throws: MigrationError.failed(
                    "0003_bad", .other("22012", message: "division by zero"))
            ) { try Migrator(Conninfo(url: url), list).migrate() }
            #expect(try applied(url) == [1, 2])
            let half = try Session(Conninfo(url: url)).execute("SELECT to_regclass('half')::text")
            #expect(try half.only().textIfPresent(0) == nil)
        }
    }

    @Test func `refuses a file that ends its transaction`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            let list = [Migration(version: 1, name: "early", sql: "SELECT 1; COMMIT")]
            #expect(throws: MigrationError.endedTransaction("0001_early")) {
                try Migrator(Conninfo(url: url), list).migrate()
            }
            let versions = try applied(url)
            #expect(versions.isEmpty)
        }
    }

    @Test func `refuses gaps and repeats`() {
        let list = [
            Migration(version: 3, name: "c", sql: ""), Migration(version: 1, name: "a", sql: ""),
        ]
        #expect(throws: MigrationError.misnumbered(1)) {
            try Migrator(Conninfo(url: ""), list).migrate()
        }
    }

    /// A number that was passed over is applied when its file comes, after later ones.
    @Test func `takes a list with gaps, and fills them`() async throws {
        try await TestDatabase.withDatabase { url in
            let conninfo = Conninfo(url: url)
            let late = Migration(version: 3, name: "late", sql: "ALTER TABLE pond ADD depth int8")
            let last = Migration(version: 5, name: "last", sql: "CREATE TABLE reed (id int8)")
            _ = try Migrator(conninfo, Self.list + [last]).migrate()
            #expect(try applied(url) == [1, 2, 5])
            let filled = Self.list + [late, last]
            #expect(try Migrator(conninfo, filled).pending() == [late])
            #expect(try Migrator(conninfo, filled).migrate().map(\.migration) == [late])
            // Which is then a step that the binary without it does not know.
            #expect(throws: MigrationError.newerSchema(version: 3, minimumBinary: 3)) {
                try Migrator(conninfo, Self.list + [last]).migrate()
            }
        }
    }

    @Test(arguments: [
        ("-- Adds a table.\n-- min-binary: 2\nSELECT 1", 2), ("-- min-binary: 2", 2),
        ("SELECT 1\n-- min-binary: 2", 7), ("-- min-binary: two\n", 7), ("", 7),
    ])
    func `reads from a file which binaries may work beside it`(_ sql: String, _ minimum: Int) {
        #expect(Migration(version: 7, name: "x", sql: sql).minimumBinary == minimum)
    }

    @Test func `starts on a newer schema only if that allows it`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            let conninfo = Conninfo(url: url)
            let gentle = Migration(version: 3, name: "gentle", sql: "", minimumBinary: 2)
            _ = try Migrator(conninfo, Self.list + [gentle]).migrate()
            #expect(try Migrator(conninfo, Self.list).migrate().isEmpty)
            let error = #expect(
                throws: MigrationError.newerSchema(version: 2, minimumBinary: 2)
            ) { try Migrator(conninfo, Array(Self.list.prefix(1))).migrate() }
            #expect(error?.description.contains("start a newer one") == true)
        }
    }

    @Test func `waits for another that is at work, and finds nothing left to do`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            let slow =
                Self.list + [
                    Migration(version: 3, name: "slow", sql: "SELECT pg_sleep(0.2)"),
                    Migration(version: 4, name: "last", sql: "CREATE TABLE last ()"),
                ]
            let counts = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await onThread {
                            try Migrator(Conninfo(url: url), slow).migrate().count
                        }
                    }
                }
                return try await group.reduce(0, +)
            }
            #expect(counts == 4)
            #expect(try applied(url) == [1, 2, 3, 4])
        }
    }

    @Test func `gives up on another that works too long`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            _ = try Migrator(Conninfo(url: url), []).migrate()
            let holder = try Session(Conninfo(url: url))
            try holder.run("BEGIN")
            try holder.execute("SELECT pg_advisory_xact_lock(x'75c3b3e5a96241df'::bigint)")
            var migrator = Migrator(Conninfo(url: url), Self.list)
            migrator.lockWait = .milliseconds(20)
            #expect(throws: MigrationError.busy) { try migrator.migrate() }
        }
    }

    @Test func `gives way to those who hold a lock, and tries again`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            _ = try Migrator(Conninfo(url: url), Self.list).migrate()
            let list =
                Self.list + [
                    Migration(version: 3, name: "alter", sql: "ALTER TABLE pond ADD b int")
                ]
            var migrator = Migrator(Conninfo(url: url), list)
            migrator.lockTimeout = .milliseconds(10)
            migrator.maxAttempts = 2
            let holder = try Session(Conninfo(url: url))
            try holder.run("BEGIN")
            try holder.run("LOCK TABLE pond IN ACCESS SHARE MODE")
            #expect(throws: MigrationError.failed("0003_alter", .lockTimeout)) {
                try migrator.migrate()
            }
            try holder.run("COMMIT")
            #expect(try migrator.migrate().count == 1)
        }
    }
}
