import ControlPlane
import IO
import Postgres

/// The database that is served: given, or a private one that this process starts and watches.
struct Database: Sendable {
    /// Serves, as bw_app.
    let serving: Conninfo
    /// Migrates: a direct connection of a login that may.
    let migrating: Conninfo
    /// The variable that gives `migrating`.
    let migratingName: String
    /// To be entered after connecting, unless the login is that role.
    let role: String?
    private let cluster: PrivateCluster?

    /// Blocks until the database answers. Throws what an operator must know and do.
    ///
    /// - Parameter isCancelled: asked while a private one starts; then it is stopped again.
    static func open(
        _ settings: Settings, instance: String, isCancelled: () -> Bool = { false },
        _ tell: @escaping Tell
    ) throws -> Database {
        if let url = settings.databaseURL {
            return Database(given: url, settings, instance: instance)
        }
        var wanted = PrivateCluster.Settings(dataDirectory: settings.data)
        wanted.binaries = settings.postgresBinaries
        wanted.user = settings.postgresUser
        let cluster = try PrivateCluster.start(wanted, isCancelled: isCancelled)
        tell(.clusterStarted(dataDirectory: settings.data, adopted: cluster.isAdopted))
        watch(cluster, tell)
        return Database(
            serving: Conninfo(url: cluster.url() + "&user=bw_app", instance: instance),
            migrating: Conninfo(url: cluster.url(), instance: instance),
            migratingName: "the data folder", role: nil, cluster: cluster)
    }

    /// Reaches the database that an instance serves or would serve, and starts nothing: nil for a
    /// private one that does not run.
    static func attach(_ settings: Settings, instance: String) -> Database? {
        if let url = settings.databaseURL {
            return Database(given: url, settings, instance: instance)
        }
        guard let url = FoundCluster(dataDirectory: settings.data).url() else { return nil }
        return Database(
            serving: Conninfo(url: url + "&user=bw_app", instance: instance),
            migrating: Conninfo(url: url, instance: instance),
            migratingName: "the data folder", role: nil, cluster: nil)
    }

    /// The same, or starts the private one for as long as it is needed: close it.
    static func reach(_ settings: Settings, instance: String) throws -> Database {
        try attach(settings, instance: instance)
            ?? open(settings, instance: instance) { _ in }
    }

    private init(given url: String, _ settings: Settings, instance: String) {
        self.init(
            serving: Conninfo(url: url, instance: instance),
            migrating: Conninfo(url: settings.databaseMigrationURL ?? url, instance: instance),
            migratingName: settings.databaseMigrationURL == nil
                ? "DATABASE_URL" : "DATABASE_MIGRATION_URL",
            role: settings.preparedStatements ? "bw_app" : nil, cluster: nil)
    }

    private init(
        serving: Conninfo, migrating: Conninfo, migratingName: String, role: String?,
        cluster: PrivateCluster?
    ) {
        self.serving = serving
        self.migrating = migrating
        self.migratingName = migratingName
        self.role = role
        self.cluster = cluster
    }

    /// What brings the schema to this binary's version.
    private var migrator: Migrator { Migrator(migrating, Schema.migrations) }

    /// What `migrate` would apply.
    func pendingMigrations() throws -> [Migration] {
        try reaching { () throws(MigrationError) in try migrator.pending() }
    }

    /// Brings the schema to this binary's version; answers what it applied.
    @discardableResult
    func migrate(_ tell: Tell) throws -> [Migrator.Step] {
        let steps = try reaching { () throws(MigrationError) in try migrator.migrate() }
        for step in steps {
            tell(
                .migrationApplied(
                    name: step.migration.description, milliseconds: step.duration.milliseconds))
        }
        // Ours alone, and behind a socket that only we reach: the role may log in without more.
        if cluster != nil { try Session(migrating).run("ALTER ROLE bw_app LOGIN") }
        return steps
    }

    /// Says of a given database that cannot be had which setting names it, and what to do.
    func reaching<Answer>(
        _ body: () throws(MigrationError) -> Answer
    ) throws -> Answer {
        do throws(MigrationError) { return try body() } catch {
            guard cluster == nil, case .postgres(.unavailable(let reason)) = error else {
                throw error
            }
            throw SettingsError(
                "the database of \(migratingName) does not answer: \(reason). Start it, or correct "
                    + "the setting; without DATABASE_URL a private one is started")
        }
    }

    /// Stops a private cluster; a given database is not ours to stop.
    func close() { cluster?.stop() }

    private static func watch(_ cluster: PrivateCluster, _ tell: @escaping Tell) {
        startThread {
            cluster.supervise { event in
                switch event {
                case .died: tell(.clusterLost(reason: "PostgreSQL ended; starting it again"))
                case .restarted: tell(.databaseReady)
                case .restartFailed(let error): tell(.clusterLost(reason: "\(error)"))
                }
            }
        }
    }
}
