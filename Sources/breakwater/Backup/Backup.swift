import ControlPlane
import Glibc
import Postgres

/// Copies the database into a file, also while it is served, and reads the file again.
struct Backup {
    let settings: Settings
    let path: String

    struct Failure: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    /// What was done, a line for people.
    func run() throws -> String {
        guard unsafe access(path, F_OK) != 0 else {
            throw Failure("there is a \(path) already: name another, or move it away")
        }
        let database = try Database.reach(settings, instance: "backup")
        defer { database.close() }
        let session = try database.connect()
        let major = session.serverVersion / 10_000
        let (dump, restore) = (
            try ClientTool.find("pg_dump", binaries: settings.postgresBinaries, server: major),
            try ClientTool.find("pg_restore", binaries: settings.postgresBinaries, server: major)
        )
        let role = try database.roleThatSeesAll(session)
        // The dump and the count see the same moment, whatever is written meanwhile.
        try session.run(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off")
        if let role { try session.run("SET LOCAL ROLE \(role)") }
        let snapshot = try session.execute("SELECT pg_export_snapshot()").only().text(0)
        let counts = try session.rowCounts()

        let part = path + ".part"
        _ = unsafe unlink(part)
        // It holds the hashes of keys.
        umask(0o077)
        do {
            let (keywords, environment) = try database.forTools()
            try dump.run(
                [
                    "--format=custom", "--no-password", "--snapshot=\(snapshot)",
                    "--file=\(part)", "--dbname=\(keywords)",
                ] + (role.map { ["--role=\($0)"] } ?? []), environment: environment)
            let written = try DumpFile(path: part).rowCounts(restore)
            if let difference = difference(counts, written) {
                throw Failure("the file is not what the database held: \(difference)")
            }
        } catch {
            _ = unsafe unlink(part)
            throw error
        }
        guard unsafe rename(part, path) == 0 else {
            throw Failure("cannot rename \(part): \(unsafe String(cString: strerror(errno)))")
        }
        let rows = counts.values.reduce(0, +)
        return "\(path): \(counts.count) tables, \(rows) rows, read again and the same"
    }
}

/// Brings a backup into an empty database, or into a new private one.
struct Restore {
    let settings: Settings
    let path: String

    func run() throws -> String {
        guard unsafe access(path, R_OK) == 0 else { throw Backup.Failure("cannot read \(path)") }
        // Not beside an instance: the folder must be ours alone.
        let database = try Database.open(settings, instance: "restore") { _ in }
        defer { database.close() }
        let session = try database.connect()
        let tool = try ClientTool.find(
            "pg_restore", binaries: settings.postgresBinaries,
            server: session.serverVersion / 10_000)
        try refuseUnlessEmpty(session)
        let wanted = try readable(tool)
        // Roles are the server's, not the database's, so no dump has them.
        guard let roles = Schema.migrations.first else { throw Backup.Failure("no migrations") }
        try session.run("BEGIN; \(roles.sql); COMMIT")
        let (keywords, environment) = try database.forTools()
        try tool.run(
            [
                "--single-transaction", "--exit-on-error", "--no-password",
                "--dbname=\(keywords)", path,
            ], environment: environment)
        let role = try database.roleThatSeesAll(session)
        try session.run("BEGIN READ ONLY; SET LOCAL row_security = off")
        if let role { try session.run("SET LOCAL ROLE \(role)") }
        let found = try session.rowCounts()
        if let difference = difference(wanted, found) {
            throw Backup.Failure("restored, but not the same: \(difference)")
        }
        let rows = found.values.reduce(0, +)
        return
            "restored \(found.count) tables, \(rows) rows, counted and the same; `breakwater serve` next"
    }

    private func readable(_ tool: ClientTool) throws -> RowCounts {
        let counts: RowCounts
        do throws(ClusterError) {
            counts = try DumpFile(path: path).rowCounts(tool)
        } catch { throw Backup.Failure("\(path) is no backup: \(error)") }
        guard counts["public.schema_migration"] != nil else {
            throw Backup.Failure(
                "\(path) is the backup of something else: it has no schema_migration")
        }
        return counts
    }

    private func refuseUnlessEmpty(_ session: Session) throws {
        let things = try session.execute(
            """
            SELECT count(*), min(format('%I.%I', n.nspname, t.name))
            FROM  (SELECT relnamespace, relname AS name FROM pg_class
                   UNION ALL SELECT pronamespace, proname FROM pg_proc) AS t (namespace, name)
            JOIN   pg_namespace AS n ON n.oid = t.namespace
            WHERE  n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
            """
        ).only()
        guard try things.int(0) == 0 else {
            throw Backup.Failure(
                "the database is not empty, it holds \(try things.text(1)) and more: restore into a new "
                    + "one (createdb), or into another data folder")
        }
    }
}

extension Database {
    /// As the migrating login, directly.
    fileprivate func connect() throws -> Session {
        try reaching { () throws(MigrationError) in
            do throws(PostgresError) { return try Session(migrating) } catch {
                throw .postgres(error)
            }
        }
    }

    /// Where PostgreSQL's own tools find the database: a command line that everybody may read, and
    /// an environment that only we and root may.
    fileprivate func forTools() throws(PostgresError) -> (String, [String: String]) {
        let (keywords, password) = try migrating.withoutPassword()
        return (keywords, password.map { ["PGPASSWORD": $0] } ?? [:])
    }

    /// Nil if the login itself sees every row, else the role to become for that.
    ///
    /// - Throws: where neither does. Row-level security is forced even for the owner, so a dump would
    ///   lack the rows of every tenant.
    fileprivate func roleThatSeesAll(_ session: Session) throws -> String? {
        let row = try session.execute(
            """
            SELECT rolname::text, rolsuper OR rolbypassrls, coalesce(
                (SELECT o.rolbypassrls AND pg_has_role(session_user, o.oid, 'MEMBER')
                 FROM pg_roles AS o WHERE o.rolname = 'bw_owner'), false)
            FROM pg_roles WHERE rolname = session_user
            """
        ).only()
        if try row.bool(1) { return nil }
        if try row.bool(2) { return "bw_owner" }
        throw Backup.Failure(
            "row-level security would leave rows out: the login \(try row.text(0)) of \(migratingName) "
                + "neither bypasses it nor may become a bw_owner that does. Give "
                + "DATABASE_MIGRATION_URL a superuser, or as one: ALTER ROLE bw_owner BYPASSRLS; "
                + "GRANT bw_owner TO \(try row.text(0))")
    }
}
