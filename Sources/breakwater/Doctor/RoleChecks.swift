import Postgres

/// Which roles there are, who may become whom, and for whom row-level security holds.
struct RoleChecks {
    let database: Database

    private static let roles = ["bw_owner", "bw_app", "bw_ledger", "bw_operator"]

    func run(_ serving: Session, _ migrating: Session) throws(PostgresError) -> [Finding] {
        let check = "database.roles"
        let missing = try migrating.execute(
            """
            SELECT r FROM unnest($1::text[]) AS r
            WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r)
            """, .texts(Self.roles)
        ).map { row throws(PostgresError) in try row.text(0) }
        if missing.count == Self.roles.count { return [try firstStart(migrating)] }
        guard missing.isEmpty else {
            return [
                .problem(
                    check, "without \(missing.joined(separator: ", "))",
                    "Run `breakwater restore` into an empty database, or make them again as "
                        + "migrations/0001_roles.sql does")
            ]
        }
        var findings = try [
            becomes(serving, "bw_app", "DATABASE_URL"),
            becomes(migrating, "bw_owner", database.migratingName),
        ].compactMap { $0 }
        findings += try security(serving, migrating)
        return findings.isEmpty
            ? [.ok(check, "all there, and each login may become what it must")] : findings
    }

    private func firstStart(_ migrating: Session) throws(PostgresError) -> Finding {
        let mayMake = try migrating.execute(
            "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = session_user"
        ).only().bool(0)
        return mayMake
            ? .ok("database.roles", "none yet: the first start makes them")
            : .problem(
                "database.roles", "none yet, and the login may not make any",
                "Migrate once as a superuser, or ALTER ROLE ... CREATEROLE")
    }

    private func becomes(
        _ session: Session, _ role: String, _ setting: String
    ) throws(PostgresError) -> Finding? {
        let row = try session.execute(
            "SELECT session_user::text, pg_has_role(session_user, $1, 'MEMBER')", .text(role)
        ).only()
        if try row.bool(1) { return nil }
        return .problem(
            "database.roles", "the login \(try row.text(0)) of \(setting) may not become \(role)",
            "GRANT \(role) TO \(try row.text(0))")
    }

    private func security(
        _ serving: Session, _ migrating: Session
    ) throws(PostgresError) -> [Finding] {
        var findings: [Finding] = []
        let sees = try migrating.execute(
            """
            SELECT string_agg(rolname, ', ') FROM pg_roles
            WHERE rolname IN ('bw_app', 'bw_ledger', 'bw_operator') AND (rolsuper OR rolbypassrls)
            """
        ).only().textIfPresent(0)
        if let sees {
            findings.append(
                .problem(
                    "database.roles", "row-level security does not hold for \(sees)",
                    "ALTER ROLE ... NOSUPERUSER NOBYPASSRLS"))
        }
        // Behind a pooler in transaction mode the service works as what it logs in as.
        if database.role == nil {
            let login = try serving.execute(
                """
                SELECT rolname::text, rolsuper OR rolbypassrls FROM pg_roles
                WHERE rolname = session_user
                """
            ).only()
            if try login.bool(1) {
                findings.append(
                    .problem(
                        "database.roles",
                        "the service would work as \(try login.text(0)), for which row-level "
                            + "security does not hold",
                        "Log in as bw_app: ALTER ROLE bw_app LOGIN, and name it in DATABASE_URL"))
            }
        }
        let owner = try migrating.execute(
            "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = 'bw_owner'"
        ).only().bool(0)
        if !owner {
            findings.append(
                .warning(
                    "database.roles",
                    "bw_owner does not bypass row-level security: a migration that fills rows finds none",
                    "As a superuser: ALTER ROLE bw_owner BYPASSRLS"))
        }
        return findings
    }
}
