internal import Glibc
internal import Postgres
internal import Synchronization

/// A real PostgreSQL for tests: `BREAKWATER_TEST_DATABASE_URL` if that is set (its role must be
/// allowed to make databases), else a private cluster of this process.
///
/// The cluster's folder is kept in /tmp between runs, so that only the first pays for `initdb`, and
/// the cluster that a crashed run left behind is taken over by the next. Its `fsync` is off.
///
/// With `BREAKWATER_TEST_POOLER_URL` tests reach their databases through that pooler, which passes every
/// name and user on; databases are made and dropped, and schemas migrated, past it. See
/// `Scripts/pgbouncer-test`.
package enum TestDatabase {
    /// A pooler in transaction mode, whose sessions are not the tests' own.
    private static let pooler = environment("BREAKWATER_TEST_POOLER_URL").map {
        Conninfo(url: $0, instance: "test")
    }
    package static var isPooled: Bool { pooler != nil }

    /// What tests connect with; its `url` names the maintenance database.
    private static let server: Result<Conninfo, any Error> = Result { try start() }
    private static let cluster = Mutex<PrivateCluster?>(nil)
    private static let counter = Atomic<Int>(0)
    /// Tests run all at once; the server has 200 connections.
    private static let places = Places(12)

    /// Gives `body` the URL of a fresh database and drops it afterwards.
    ///
    /// - Parameters:
    ///   - template: a database to copy, e.g. one with the schema in it, that nobody is
    ///     connected to.
    ///   - ownSessions: the test is about what a session keeps, so never through a pooler.
    package static func withDatabase<Answer>(
        template: String? = nil, ownSessions: Bool = false,
        _ body: (_ url: String) async throws -> Answer
    ) async throws -> Answer {
        await places.take()
        defer { places.giveBack() }
        let server = try server.get()
        let name = "test_\(getpid())_\(counter.add(1, ordering: .relaxed).newValue)"
        let session = try Session(server)
        let copy = template.map { " TEMPLATE \"\($0)\"" } ?? ""
        try session.run("CREATE DATABASE \"\(name)\"" + copy)
        let outcome: Result<Answer, any Error>
        do {
            outcome = .success(try await body(try (ownSessions ? server : pooler ?? server).onDatabase(name).url))
        } catch {
            outcome = .failure(error)
        }
        try session.run("DROP DATABASE IF EXISTS \"\(name)\" WITH (FORCE)")
        return try outcome.get()
    }

    /// The way to the same database past the pooler, if there is one; the database may be gone.
    package static func direct(_ url: String) throws -> String {
        guard isPooled, let name = url.firstMatch(of: /test_[0-9]+_[0-9]+/)?.output else { return url }
        return try server.get().onDatabase(String(name)).url
    }

    /// The same as the role of the service, which a pooler's sessions cannot be told to enter.
    package static func serving(_ url: String) -> String { isPooled ? url + " user=bw_app" : url }

    /// Makes a database that stays until the next run, replacing one of that name; answers its URL.
    package static func makeKeptDatabase(_ name: String) throws -> String {
        let server = try server.get()
        let session = try Session(server)
        try session.run("DROP DATABASE IF EXISTS \"\(name)\" WITH (FORCE)")
        try session.run("CREATE DATABASE \"\(name)\"")
        return try server.onDatabase(name).url
    }

    private static func start() throws -> Conninfo {
        if let url = environment("BREAKWATER_TEST_DATABASE_URL") {
            return Conninfo(url: url, instance: "test")
        }
        let cluster = try startCluster()
        self.cluster.withLock { $0 = cluster }
        atexit { TestDatabase.cluster.withLock { $0?.stop() } }
        let conninfo = Conninfo(url: cluster.url(database: "postgres"), instance: "test")
        try dropLeftovers(conninfo)
        return conninfo
    }

    private static func environment(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }

    /// The first folder that no other test process works on.
    private static func startCluster() throws(ClusterError) -> PrivateCluster {
        for slot in 0... {
            var settings = PrivateCluster.Settings(
                dataDirectory: "/tmp/breakwater-test-\(geteuid())-\(slot)")
            settings.overrides = [
                "fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB",
                "max_connections": "200", "max_wal_size": "256MB", "min_wal_size": "64MB",
                "max_locks_per_transaction": "256", "autovacuum": "off",
                "max_prepared_transactions": "8",
            ]
            settings.stopTimeout = .seconds(5)
            do throws(ClusterError) {
                return try PrivateCluster.start(settings)
            } catch {
                guard case .inUse = error, slot < 32 else { throw error }
            }
        }
        throw .noAnswer("every folder is in use")
    }

    private static func dropLeftovers(_ server: Conninfo) throws(PostgresError) {
        let session = try Session(server)
        let rows = try session.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'")
        for row in rows {
            try session.run("DROP DATABASE IF EXISTS \"\(try row.text(0))\" WITH (FORCE)")
        }
    }
}
