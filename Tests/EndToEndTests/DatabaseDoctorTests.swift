import ControlPlane
import Foundation
import Glibc
import IO
import JSON
import Postgres
import TestSupport
import Testing

@Suite(.proves("H8"), .timeLimit(.minutes(4))) struct `The doctor of a database` {
    private struct Trouble {
        let check: String
        let level: String
        let words: String
        let make: String
        let mend: String
        var flags: [String] = []
    }

    private static let newest = Schema.migrations.last?.version ?? 0

    private static let troubles = [
        Trouble(
            check: "database.roles", level: "problem", words: "bw_app",
            make: "ALTER ROLE bw_app BYPASSRLS", mend: "ALTER ROLE bw_app NOBYPASSRLS"),
        Trouble(
            check: "database.roles", level: "warning", words: "bw_owner does not bypass",
            make: "ALTER ROLE bw_owner NOBYPASSRLS", mend: "ALTER ROLE bw_owner BYPASSRLS"),
        Trouble(
            check: "database.roles", level: "problem", words: "without bw_operator",
            make: "ALTER ROLE bw_operator RENAME TO gone",
            mend: "ALTER ROLE gone RENAME TO bw_operator"),
        Trouble(
            check: "database.isolation", level: "problem", words: "tenant",
            make: "ALTER TABLE tenant NO FORCE ROW LEVEL SECURITY",
            mend: "ALTER TABLE tenant FORCE ROW LEVEL SECURITY"),
        Trouble(
            check: "database.isolation", level: "problem", words: "stray",
            make: "CREATE TABLE stray (tenant_id uuid)", mend: "DROP TABLE stray"),
        Trouble(
            check: "database.schema", level: "problem", words: "was changed",
            make: "UPDATE schema_migration SET checksum = 'x' || checksum WHERE version = 2",
            mend: "UPDATE schema_migration SET checksum = substr(checksum, 2) WHERE version = 2"),
        Trouble(
            check: "database.schema", level: "problem", words: "9999",
            make: """
                INSERT INTO schema_migration VALUES (9999, 'later', 'x', 9999, now(), 1, 'test')
                """, mend: "DELETE FROM schema_migration WHERE version = 9999"),
        Trouble(
            check: "database.schema", level: "ok", words: "all of this binary's",
            make: """
                INSERT INTO schema_migration
                VALUES (9999, 'gentle', 'x', \(newest), now(), 1, 'test')
                """, mend: "DELETE FROM schema_migration WHERE version = 9999"),
        Trouble(
            check: "database.schema", level: "warning", words: "without 0013",
            make: "UPDATE schema_migration SET version = 8888, min_binary = 1 WHERE version = 13",
            mend: "UPDATE schema_migration SET version = 13, min_binary = 9 WHERE version = 8888"),
        Trouble(
            check: "database.durability", level: "problem", words: "full_page_writes",
            make: "ALTER SYSTEM SET full_page_writes = off",
            mend: "ALTER SYSTEM RESET full_page_writes"),
        Trouble(
            check: "database.durability", level: "problem", words: "fsync",
            make: "ALTER SYSTEM SET fsync = off", mend: "ALTER SYSTEM RESET fsync"),
        Trouble(
            check: "database.durability", level: "warning", words: "synchronous_commit",
            make: "ALTER ROLE bw_app SET synchronous_commit = off",
            mend: "ALTER ROLE bw_app RESET synchronous_commit"),
        Trouble(
            check: "database.durability", level: "problem", words: "acknowledged",
            make: "ALTER ROLE bw_app SET synchronous_commit = off",
            mend: "ALTER ROLE bw_app RESET synchronous_commit",
            flags: ["--set", "postgres.preparedStatements=false"]),
        Trouble(
            check: "database.locks", level: "problem", words: "room for", make: "SELECT 1",
            mend: "SELECT 1", flags: ["--set", "loops=20", "--set", "ledger.maxBatchKeys=10000"]),
        Trouble(
            check: "database.connections", level: "problem", words: "of 100", make: "SELECT 1",
            mend: "SELECT 1", flags: ["--set", "loops=60"]),
        // Its clock is shadowed, as a machine with a wrong one would answer.
        Trouble(
            check: "clock", level: "problem", words: "ms ahead",
            make: """
                CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql
                RETURN pg_catalog.clock_timestamp() + interval '1 hour';
                ALTER DATABASE breakwater SET search_path = public, pg_catalog
                """,
            mend: """
                ALTER DATABASE breakwater RESET search_path; DROP FUNCTION public.clock_timestamp()
                """),
        Trouble(
            check: "clock", level: "problem", words: "went back",
            make: """
                CREATE SEQUENCE public.back;
                CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql
                RETURN pg_catalog.clock_timestamp() - nextval('public.back') * interval '1 s';
                ALTER DATABASE breakwater SET search_path = public, pg_catalog
                """,
            mend: """
                ALTER DATABASE breakwater RESET search_path;
                DROP FUNCTION public.clock_timestamp(); DROP SEQUENCE public.back
                """),
        Trouble(
            check: "jobs.leases", level: "warning", words: "cleanup of gone:1",
            make: """
                UPDATE job SET holder = 'gone:1', lease_until = now() - interval '1 hour'
                WHERE name = 'cleanup'
                """, mend: "UPDATE job SET holder = NULL WHERE name = 'cleanup'"),
        Trouble(
            check: "jobs.failures", level: "warning", words: "cleanup (3 times: no disk)",
            make: """
                UPDATE job SET failures = 3, detail = '{"error": "no disk"}' WHERE name = 'cleanup'
                """, mend: "UPDATE job SET failures = 0 WHERE name = 'cleanup'"),
        Trouble(
            check: "jobs.partitions", level: "warning", words: "usage_log for",
            make: """
                DO $$ DECLARE p regclass; BEGIN FOR p IN SELECT inhrelid FROM pg_inherits
                WHERE inhparent = 'usage_log'::regclass LOOP EXECUTE 'DROP TABLE ' || p; END LOOP;
                END $$
                """, mend: "SELECT bw_make_partitions('usage_log', NULL, 2)"),
    ]

    /// One private server whose instance was killed, so that nobody mends what the test breaks.
    @Test func `finds each thing that is broken in it, and nothing once it is mended`() async throws
    {
        try await Scratch.with { scratch in
            let instance = try await scratch.serve()
            instance.child.signal(SIGKILL)
            _ = try await instance.child.ended()
            #expect(try await scratch.doctor().bad.isEmpty)
            for trouble in Self.troubles {
                try await scratch.script(trouble.make)
                let report = try await scratch.doctor(trouble.flags)
                #expect(
                    report.level(trouble.check) == trouble.level,
                    "\(trouble.make): \(report.bad)")
                #expect(
                    report.found(trouble.check).contains(trouble.words), "\(report.bad)")
                try await scratch.script(trouble.mend)
            }
            #expect(try await scratch.doctor().bad.isEmpty)
        }
    }

    @Test func `looks whether its logins may become what they must`() async throws {
        try await Database.with(ownSessions: true) { url, scratch in
            let name = "lonely_\(getpid())"
            try await Database.execute(url, "CREATE ROLE \(name) LOGIN")
            let lonely = url + " user=\(name)"
            var environment = ["DATABASE_URL": lonely, "DATABASE_MIGRATION_URL": url]
            let serving = try await scratch.doctor(environment: environment)
            #expect(serving.found("database.roles").contains("\(name) of DATABASE_URL"))
            #expect(serving.level("database.roles") == "problem")
            environment = ["DATABASE_URL": url, "DATABASE_MIGRATION_URL": lonely]
            let migrating = try await scratch.doctor(environment: environment)
            #expect(migrating.found("database.roles").contains("DATABASE_MIGRATION_URL"))
            #expect(migrating.level("database.schema") == "problem")
            // Behind a pooler nobody becomes bw_app: the login itself must be no superuser.
            let pooled = try await scratch.doctor(
                ["--set", "postgres.preparedStatements=false"], environment: ["DATABASE_URL": url])
            #expect(pooled.level("database.roles") == "problem")
            #expect(pooled.found("database.roles").contains("does not hold"))
            try await Database.execute(url, "DROP ROLE \(name)")
        }
    }

    @Test(
        .enabled(if: unsafe access(pgbouncer, X_OK) == 0, "pgbouncer is not installed"),
        arguments: [("transaction", "problem"), ("session", "ok")])
    func `knows a pooler, and its mode`(_ mode: String, _ level: String) async throws {
        try await Database.with(ownSessions: true) { url, scratch in
            // The server's socket folder, from libpq's keywords or URL.
            let session = try Session(Conninfo(url: url, instance: "test"))
            let row = try session.execute(
                """
                SELECT split_part(current_setting('unix_socket_directories'), ',', 1),
                       current_setting('port'), current_database()::text, session_user::text
                """
            ).only()
            let port = try freePort()
            try scratch.write(
                """
                [databases]
                * = host=\(try row.text(0)) port=\(try row.text(1)) user=\(try row.text(3))
                [pgbouncer]
                listen_addr = 127.0.0.1
                listen_port = \(port)
                unix_socket_dir =
                auth_type = any
                pool_mode = \(mode)
                logfile = \(scratch("pgbouncer.log"))
                user = \(isRoot ? "postgres" : "")
                ignore_startup_parameters = extra_float_digits
                """, to: "pgbouncer.ini")
            try scratch.write("", to: "pgbouncer.log")
            try scratch.give("pgbouncer.log", mode: 0o666)
            let pooler = try scratch.start(
                [pgbouncer, scratch("pgbouncer.ini")],
                environment: ["PATH": "/usr/sbin:/usr/bin:/bin"])
            let pooled = "postgresql://x@127.0.0.1:\(port)/\(try row.text(2))"
            try await eventually("pgbouncer answers") {
                (try? await Database.execute(pooled, "SELECT 'there'")) == "there"
            }
            let environment = ["DATABASE_URL": pooled, "DATABASE_MIGRATION_URL": url]
            let report = try await scratch.doctor(environment: environment)
            #expect(report.level("database.pooler") == level, "\(report.bad)")
            #expect(report.found("database.pooler").contains("\(mode) mode"))
            let careful = try await scratch.doctor(
                ["--set", "postgres.preparedStatements=false"], environment: environment)
            #expect(careful.level("database.pooler") == "ok")
            let indirect = try await scratch.doctor(environment: ["DATABASE_URL": pooled])
            #expect(indirect.found("database.pooler").contains("the migrating login goes through"))
            pooler.signal(SIGTERM)
            _ = try await pooler.ended()
        }
    }
}

private let pgbouncer = "/usr/sbin/pgbouncer"

/// One that was free a moment ago.
private func freePort() throws -> UInt16 {
    let found = try Listener.open(.tcp(host: "127.0.0.1", port: 0), reusePort: false)
    close(found.descriptor)
    guard case .tcp(_, let port) = found.address else { throw Failure("no port") }
    return port
}
