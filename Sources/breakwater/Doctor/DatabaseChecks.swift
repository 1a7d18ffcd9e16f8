import ControlPlane
import Postgres

/// The database, as the service and as the migrator would meet it. Reads only.
struct DatabaseChecks {
    let settings: Settings

    func run() -> [Finding] {
        guard let database = Database.attach(settings, instance: "doctor") else {
            return [
                .ok("database", "the private PostgreSQL does not run; `breakwater serve` starts it")
            ]
        }
        let serving: Session
        let migrating: Session
        do throws(PostgresError) {
            serving = try connect(database.serving)
            migrating = try connect(database.migrating)
        } catch {
            let setting =
                settings.usesPrivateCluster
                ? "the data folder" : "DATABASE_URL and DATABASE_MIGRATION_URL"
            return [
                .problem(
                    "database", "no answer: \(error.reason)", "Start it, or correct \(setting)")
            ]
        }
        let major = serving.serverVersion / 10_000
        guard major >= 15 else {
            return [
                .problem("database.version", "PostgreSQL \(major)", "It must be 15 or newer")
            ]
        }
        return [
            .ok("database", "answers to both logins"),
            .ok("database.version", "PostgreSQL \(major).\(serving.serverVersion % 10_000)"),
        ] + parts(database, serving, migrating)
    }

    /// One part that fails does not take the others' findings with it.
    private func parts(
        _ database: Database, _ serving: Session, _ migrating: Session
    ) -> [Finding] {
        let pooler = PoolerChecks(settings: settings, database: database)
        let roles = RoleChecks(database: database)
        let server = ServerChecks(settings: settings)
        let schema = SchemaChecks(database: database)
        return part { () throws(PostgresError) in try pooler.run(serving, migrating) }
            + part { () throws(PostgresError) in try roles.run(serving, migrating) }
            + part { () throws(PostgresError) in try server.run(migrating) }
            + [schema.migrations]
            + part { () throws(PostgresError) in try schema.run(migrating) }
    }

    private func part(_ body: () throws(PostgresError) -> [Finding]) -> [Finding] {
        do throws(PostgresError) { return try body() } catch {
            return [
                .problem(
                    "database", "a question was not answered: \(error.reason)",
                    "Look at the roles and at who holds locks")
            ]
        }
    }

    /// No question of ours takes longer than 5 s, nor waits for anybody's lock.
    private func connect(_ conninfo: Conninfo) throws(PostgresError) -> Session {
        let session = try Session(conninfo)
        try session.run("SET statement_timeout = '5s'; SET lock_timeout = '1s'")
        return session
    }
}

/// Whether a pooler is between us and the server, and what it lets through.
struct PoolerChecks {
    let settings: Settings
    let database: Database

    func run(_ serving: Session, _ migrating: Session) throws(PostgresError) -> [Finding] {
        var findings: [Finding] = []
        if try isPooled(migrating) {
            findings.append(
                .warning(
                    "database.pooler", "the migrating login goes through a pooler",
                    "Give DATABASE_MIGRATION_URL a direct address"))
        }
        guard try isPooled(serving) else {
            return findings + [
                .ok("database.pooler", "none: the service talks to the server itself")
            ]
        }
        guard try sharesServers(serving) else {
            return findings + [.ok("database.pooler", "one in session mode")]
        }
        findings.append(
            settings.preparedStatements
                ? .problem(
                    "database.pooler", "one in transaction mode",
                    "Set postgres.preparedStatements to false")
                : .ok("database.pooler", "one in transaction mode, and no statement is prepared"))
        return findings
    }

    /// A pooler makes the process number of the log-in up.
    private func isPooled(_ session: Session) throws(PostgresError) -> Bool {
        try process(session) != session.announcedProcess
    }

    private func process(_ session: Session) throws(PostgresError) -> Int32 {
        try session.execute("SELECT pg_backend_pid()").only().int32(0)
    }

    /// In session mode a log-in keeps its server; in transaction mode the next one gets the server
    /// that was given back last. Asked a few times, since others may be served in between.
    private func sharesServers(_ session: Session) throws(PostgresError) -> Bool {
        for _ in 0..<5 {
            let own = try process(session)
            if try process(Session(database.serving)) == own { return true }
        }
        return false
    }
}
