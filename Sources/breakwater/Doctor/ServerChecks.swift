import ControlPlane
import IO
import Postgres

/// The server's own settings, its room for us, and its clock.
struct ServerChecks {
    let settings: Settings

    func run(_ session: Session) throws(PostgresError) -> [Finding] {
        let row = try session.execute(
            """
            SELECT current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
                   current_setting('synchronous_commit'), current_setting('data_checksums') = 'on',
                   current_setting('wal_level'),
                   current_setting('max_locks_per_transaction')::int8,
                   current_setting('max_connections')::int8,
                   current_setting('superuser_reserved_connections')::int8,
                   current_setting('max_prepared_transactions')::int8,
                   (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
                   (SELECT count(DISTINCT application_name) FROM pg_stat_activity
                    WHERE application_name ~ '^breakwater/.+:[0-9]+$'),
                   (SELECT count(*) FROM pg_stat_activity
                    WHERE application_name ~ '^breakwater/.+:[0-9]+$'),
                   (SELECT string_agg(coalesce(r.rolname, d.datname, '?'), ', ')
                    FROM pg_db_role_setting AS s LEFT JOIN pg_roles AS r ON r.oid = s.setrole
                    LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
                    WHERE 'synchronous_commit=off' = ANY (s.setconfig))
            """
        ).only()
        return try [durability(row), row.bool(3) ? checksums : noChecksums, wal(row)]
            + [locks(row), connections(row)] + clock(session)
    }

    private func durability(_ row: Row) throws(PostgresError) -> Finding {
        let check = "database.durability"
        for (column, name) in [(0, "fsync"), (1, "full_page_writes")]
        where try !row.bool(.index(column)) {
            return .problem(
                check, "\(name) is off: a crash of the machine loses or destroys data",
                "ALTER SYSTEM SET \(name) = on")
        }
        let commit = try row.text(2)
        let places = try row.textIfPresent(12)
        if ["off", "local"].contains(commit) || places != nil {
            let where_ = places.map { " for \($0)" } ?? ""
            let found = "synchronous_commit is \(places == nil ? commit : "off")\(where_)"
            // On sessions of its own the service sets it for itself.
            return settings.preparedStatements
                ? .warning(check, found + "; the service overrides it", "Set it to on")
                : .problem(check, found + ": a crash loses what was acknowledged", "Set it to on")
        }
        return .ok(check, "fsync, full_page_writes and synchronous_commit are on")
    }

    private let checksums = Finding.ok("database.checksums", "on")
    private let noChecksums = Finding.warning(
        "database.checksums", "off: a damaged page is not noticed",
        "pg_checksums --enable while it is stopped")

    private func wal(_ row: Row) throws(PostgresError) -> Finding {
        let level = try row.text(4)
        return level == "minimal"
            ? .warning(
                "database.wal", "wal_level is minimal: no pg_basebackup, no standby",
                "ALTER SYSTEM SET wal_level = replica, and restart it")
            : .ok("database.wal", "wal_level is \(level)")
    }

    /// A statement takes a lock for each of its keys; each loop has one out on each connection.
    private func locks(_ row: Row) throws(PostgresError) -> Finding {
        let instances = max(1, try row.int(10))
        let capacity = try row.int(5) * (try row.int(6) + (try row.int(8)))
        let needed =
            settings.ledger.maxBatchKeys * settings.ledger.connections * settings.loops * instances
        let found =
            "room for \(capacity) locks; batches take up to \(needed), instances: \(instances)"
        let advice =
            "Raise max_locks_per_transaction (\(try row.int(5)) now) and restart it, "
            + "or lower ledger.maxBatchKeys"
        if capacity < needed { return .problem("database.locks", found, advice) }
        // Others need locks too, a migration one for each partition.
        if capacity < 2 * needed { return .warning("database.locks", found, advice) }
        return .ok("database.locks", found)
    }

    /// Of each loop those that decide, one that reads and one of the creations; one of the jobs, of the events
    /// and of the breakers' hints each, one to migrate.
    private func connections(_ row: Row) throws(PostgresError) -> Finding {
        let each = settings.loops * (settings.ledger.connections + 2) + 4
        let instances = try row.int(10)
        let free = try row.int(6) - (try row.int(7)) - (try row.int(9)) + 2  // these two end
        let needed = max(0, max(1, instances) * each - (try row.int(11)))
        let found =
            "\(free) connections free of \(try row.int(6)); "
            + "an instance takes \(each), \(instances) run"
        let advice = "Raise max_connections, lower loops, or put a pooler in front"
        if free < needed { return .problem("database.connections", found, advice) }
        // The next one of a rolling upgrade.
        if free < needed + each { return .warning("database.connections", found, advice) }
        return .ok("database.connections", found)
    }

    /// The database's clock decides; ours stands in the log and in file times. Half the round trip
    /// is taken off. A clock that goes back under us would be worse than a wrong one.
    private func clock(_ session: Session) throws(PostgresError) -> [Finding] {
        let check = "clock"
        var offsets: [Duration] = []
        var last: Timestamp?
        for _ in 0..<5 {
            let before = Timestamp.now
            let theirs = try session.execute("SELECT clock_timestamp()").only().timestamp(0)
            let after = Timestamp.now
            if let last, theirs < last {
                return [
                    .problem(
                        check, "the database's clock went back while it was watched",
                        "Let a time service slew it; never step it")
                ]
            }
            last = theirs
            let middle = before.microseconds + (after.microseconds - before.microseconds) / 2
            offsets.append(.microseconds(theirs.microseconds - middle))
        }
        let offset = offsets.min { $0.magnitude < $1.magnitude } ?? .zero
        let milliseconds = offset.milliseconds
        let found =
            "the database's is \(milliseconds.magnitude) ms "
            + (milliseconds < 0 ? "behind" : "ahead of") + " this machine's"
        let advice = "Have a time service (chrony) on both machines"
        switch offset.magnitude {
        case .seconds(30)...: return [.problem(check, found, advice)]
        case .seconds(1)...: return [.warning(check, found, advice)]
        default: return [.ok(check, found)]
        }
    }
}

extension Duration {
    fileprivate var magnitude: Duration { self < .zero ? .zero - self : self }
}
