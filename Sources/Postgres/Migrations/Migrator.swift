internal import Glibc
internal import IO

/// Brings a database's schema to the newest version that this binary knows, before it serves.
///
/// Each step runs in one transaction, under a lock that one migrator holds at a time: of two that
/// start together one works, and the other waits and finds nothing left to do. Blocks the calling
/// thread. Use a direct connection with the migrator's role.
package struct Migrator: Sendable {
    package struct Step: Hashable, Sendable {
        package let migration: Migration
        package let duration: Duration
    }

    private let conninfo: Conninfo
    private let migrations: [Migration]
    /// How long to wait for another migrator.
    package var lockWait: Duration = .seconds(60)
    /// A step that cannot have its locks within this time gives way, since all who come after it
    /// queue behind it, and is tried again up to `maxAttempts` times.
    package var lockTimeout: Duration = .seconds(2)
    package var maxAttempts = 10
    /// The longest that one statement of a step may run.
    package var statementTimeout: Duration = .seconds(600)

    package init(_ conninfo: Conninfo, _ migrations: [Migration]) {
        self.conninfo = conninfo
        self.migrations = migrations
    }

    /// What `migrate` would apply, in order. Changes nothing.
    package func pending() throws(MigrationError) -> [Migration] {
        try checkNumbers()
        let session = try open()
        return try hasTable(session) ? try remaining(session) : migrations
    }

    /// Applies what is missing; answers the steps that this call applied.
    package func migrate() throws(MigrationError) -> [Step] {
        try checkNumbers()
        let session = try open()
        try prepareTable(session)
        var steps: [Step] = []
        while let step = try applyNext(session) { steps.append(step) }
        return steps
    }

    private func checkNumbers() throws(MigrationError) {
        for (before, migration) in zip(migrations, migrations.dropFirst())
        where migration.version <= before.version {
            throw .misnumbered(migration.version)
        }
    }

    private func open() throws(MigrationError) -> Session {
        try postgres { () throws(PostgresError) in try Session(conninfo) }
    }

    private func hasTable(_ session: Session) throws(MigrationError) -> Bool {
        try postgres { () throws(PostgresError) in
            try session.execute("SELECT to_regclass('schema_migration') IS NOT NULL").only().bool(0)
        }
    }

    private func prepareTable(_ session: Session) throws(MigrationError) {
        if try hasTable(session) { return }
        try postgres { () throws(PostgresError) in
            try session.run(
                "BEGIN; SET LOCAL client_min_messages = 'error'; \(lock); \(Self.table); COMMIT")
        }
    }

    /// Applies the first step that is missing under the lock; nil when none is.
    private func applyNext(_ session: Session) throws(MigrationError) -> Step? {
        for attempt in 1... {
            do throws(MigrationError) {
                try postgres { () throws(PostgresError) in try session.run("BEGIN; \(lock)") }
                // Read again for each step: another migrator may have applied it meanwhile.
                let step = try remaining(session).first
                    .map { migration throws(MigrationError) in try apply(migration, session) }
                try postgres { () throws(PostgresError) in try session.run("COMMIT") }
                return step
            } catch {
                try? session.run("ROLLBACK")
                guard case .failed(_, let cause) = error, cause.gaveWay, attempt < maxAttempts
                else { throw error }
                usleep(UInt32.random(in: 100_000...(100_000 * UInt32(attempt) + 100_000)))
            }
        }
        return nil
    }

    private func apply(
        _ migration: Migration, _ session: Session
    ) throws(MigrationError) -> Step {
        let start = MonotonicInstant.now
        do throws(PostgresError) {
            try session.run(
                """
                SET LOCAL lock_timeout = '\(lockTimeout.milliseconds)ms';
                SET LOCAL statement_timeout = '\(statementTimeout.milliseconds)ms'
                """)
            try session.run(migration.sql)
        } catch {
            throw .failed("\(migration)", error)
        }
        guard session.isInTransaction else { throw .endedTransaction("\(migration)") }
        let duration = start.duration(to: .now)
        _ = try postgres { () throws(PostgresError) in
            try session.execute(
                """
                INSERT INTO schema_migration
                    (version, name, checksum, min_binary, duration_ms, applied_by)
                VALUES ($1, $2, \(Self.checksum("$3")), $4, $5,
                        session_user || ' ' || current_setting('application_name'))
                """,
                .int8(Int64(migration.version)), .text(migration.name), .text(migration.sql),
                .int8(Int64(migration.minimumBinary)), .int8(duration.milliseconds))
        }
        return Step(migration: migration, duration: duration)
    }

    /// What is not applied yet, once what is applied has been checked against the files.
    private func remaining(_ session: Session) throws(MigrationError) -> [Migration] {
        let rows = try postgres { () throws(PostgresError) in
            try session.execute(
                """
                SELECT m.version, m.min_binary, m.checksum = \(Self.checksum("file.sql"))
                FROM   schema_migration AS m
                LEFT   JOIN unnest($1::int8[], $2::text[]) AS file (version, sql) USING (version)
                ORDER  BY m.version
                """,
                .int8s(migrations.map { Int64($0.version) }), .texts(migrations.map(\.sql)))
        }
        let known = Dictionary(uniqueKeysWithValues: migrations.map { ($0.version, $0) })
        var applied: Set<Int> = []
        for row in rows {
            let (version, minimum, isSame) = try postgres { () throws(PostgresError) in
                (try row.int(0), try row.int(1), try row.boolIfPresent(2))
            }
            applied.insert(version)
            if let migration = known[version] {
                if isSame == false { throw .changed("\(migration)") }
            } else if known[minimum] == nil {
                throw .newerSchema(version: version, minimumBinary: minimum)
            }
        }
        return migrations.filter { !applied.contains($0.version) }
    }

    /// Runs `body` and names its failure as the migrator's; waiting too long for the lock is `.busy`.
    private func postgres<Answer>(
        _ body: () throws(PostgresError) -> Answer
    ) throws(MigrationError) -> Answer {
        do throws(PostgresError) { return try body() } catch {
            throw error == .lockTimeout ? .busy : .postgres(error)
        }
    }
}

extension Migrator {
    /// Ends with the transaction, so that it also holds behind a pooler; a session's lock would
    /// not. The number is the first 8 octets of SHA-256("breakwater migrations").
    private var lock: String {
        """
        SET LOCAL lock_timeout = '\(lockWait.milliseconds)ms';
        SELECT pg_advisory_xact_lock(x'75c3b3e5a96241df'::bigint)
        """
    }

    private static func checksum(_ text: String) -> String {
        "encode(sha256(convert_to(\(text), 'UTF8')), 'hex')"
    }

    private static let table = """
        CREATE TABLE IF NOT EXISTS schema_migration (
            version     bigint      PRIMARY KEY CHECK (version > 0),
            name        text        NOT NULL,
            checksum    text        NOT NULL,
            min_binary  bigint      NOT NULL,
            applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
            duration_ms bigint      NOT NULL,
            applied_by  text        NOT NULL
        );
        COMMENT ON TABLE  schema_migration IS 'Steps of the schema that were applied.';
        COMMENT ON COLUMN schema_migration.checksum IS 'SHA-256 of the file, hex.';
        COMMENT ON COLUMN schema_migration.min_binary IS
            'The lowest version that a binary must know to work on this schema.';
        COMMENT ON COLUMN schema_migration.applied_by IS 'Login role and application name.'
        """
}

extension PostgresError {
    /// Lost against other sessions over a lock; the same step may succeed in a moment.
    fileprivate var gaveWay: Bool {
        switch self {
        case .lockTimeout, .serialization: true
        // Roles are the server's, our lock the database's: two databases of one server that are
        // migrated for the first time at once change the same role.
        case .other(let state, let message):
            state.rawValue == "XX000" && message.contains("tuple concurrently updated")
        default: false
        }
    }
}
