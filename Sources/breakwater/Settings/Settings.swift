import API
import ControlPlane
/// What `sysconf` is for.
import Glibc
import HTTP
import IO
import Outbound
import Postgres

/// All that an operator may set, with the shipped defaults.
struct Settings: Sendable {
    var listen = [Address.tcp(host: "127.0.0.1", port: 8080)]
    var data = "./.breakwater"
    var databaseURL: String?
    var databaseMigrationURL: String?
    var databaseListenURL: String?
    var operatorKey: String?
    /// One at most.
    var secretKey: [SecretKey] = []
    var secretKeyPrevious: [SecretKey] = []
    var postgresBinaries: String?
    var postgresUser: String?
    /// Event loops, each a thread with its own listener, connections and batches. On a small machine
    /// PostgreSQL needs the other cores; a second loop on two cores gained nothing (measured).
    var loops = max(1, Settings.processors / 2)
    var logLevel = LogLevel.info
    var preparedStatements = true
    var drainDelay: Duration = .seconds(0)
    var drain: Duration = .seconds(25)

    var http = HTTPLimits()
    var deadlines = HTTPDeadlines()
    var api = APISettings()
    var cors: CORS?
    var keys = KeyCache.Settings()
    var failedKeys = FailedKeys.Settings()
    var ledger = Ledger.Settings()
    var breakers = Breakers.Settings()
    var attempts = Attempts.Settings()
    var creations = Creations.Settings()
    var sandboxes = Sandboxes.Settings()
    var sandboxTasks = SandboxTasks.Settings()
    var reconciler = Reconciler.Settings()
    /// How often what time decides about sandboxes is looked for.
    var sweepInterval: Duration = .seconds(5)
    var eventWriter = EventWriter.Settings()
    var events = EventHub.Settings()
    var mayKill = true
    var sample = SandboxSampleJob.Settings()
    var probe = ProbeJob.Settings()
    var cleanup = CleanupJob.Settings()
    var scheduler = Scheduler.Settings()
    var classifier = Classifier.Settings()
    var retry = RetryPolicy.Settings()
    var retryBudget = RetryBudget.Settings()
    var statementTimeout: Duration = .seconds(5)
    var lockTimeout: Duration = .seconds(2)
    var databaseDeadline: Duration = .seconds(8)
    var connectWait: Duration = .seconds(1)
    var maxQueued = 10_000
    var outbound = HTTPClient.Settings()
    var budget = CreationBudget.Settings()
    var alerts = AlertJob.Settings()
    var alertSender = AlertSender.Settings()

    /// The private cluster of a data folder, unless a database is given.
    var usesPrivateCluster: Bool { databaseURL == nil }

    static var processors: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

    enum LogLevel: String, Sendable, CaseIterable { case info, warning, error }
}

extension Settings {
    /// The table. Order is that of the docs.
    static let table: [Setting] =
        service + database + limits + outboundTable + ledgerAndJobs + breakerTable + retries
        + sandboxTable
        + eventTable + alertTable

    private static let service: [Setting] = [
        Setting(
            name: "listen", help: "where to serve: host:port or unix:/path, several with commas"
        ) {
            text, settings throws(SettingsError) in
            var addresses: [Address] = []
            for part in text.split(separator: ",") {
                guard let address = Address(String(part)) else {
                    throw SettingsError("must be host:port, [host]:port or unix:/path, not \(part)")
                }
                addresses.append(address)
            }
            if addresses.isEmpty { throw SettingsError("must name an address") }
            settings.listen = addresses
        } show: {
            $0.listen.map(\.description).joined(separator: ",")
        },
        Setting(
            name: "data",
            help: "folder of the private PostgreSQL, the operator key and the secret key"
        ) {
            text, settings throws(SettingsError) in
            if text.isEmpty { throw SettingsError("must not be empty") }
            settings.data = text
        } show: {
            $0.data
        },
        .text(
            "operatorKey", \.operatorKey, isSecret: true,
            "operator key to accept, e2b_ and 64 hex digits; without it the first start makes one"),
        .secretKeys(
            "secretKey", \.secretKey,
            "key that seals stored secrets, 32 octets in hex or base64; beside a private PostgreSQL the first start makes one",
            atMost: 1),
        .secretKeys(
            "secretKeyPrevious", \.secretKeyPrevious,
            "keys that sealed secrets before, with commas: they open and no longer seal", atMost: 16
        ),
        .int(
            "loops", \.loops, 1...256,
            "event loops, each a thread; half the cores, so that PostgreSQL has the rest"),
        Setting(name: "logLevel", help: "what is logged at least: info, warning or error") {
            text, settings throws(SettingsError) in
            guard let level = LogLevel(rawValue: text) else {
                throw SettingsError("must be info, warning or error")
            }
            settings.logLevel = level
        } show: {
            $0.logLevel.rawValue
        },
        .duration(
            "drainDelayS", \.drainDelay, 0...300,
            "on stop: not ready for so long before it stops accepting, for load balancers"),
        .duration("drainS", \.drain, 0...3600, "on stop: requests in hand may finish for so long"),
    ]

    private static let database: [Setting] = [
        .database(
            "databaseURL", \.databaseURL,
            "PostgreSQL 15 or newer as a libpq URL; without it a private one is started in the data folder"
        ),
        .database(
            "databaseMigrationURL", \.databaseMigrationURL,
            "direct URL of a login that may migrate; as DATABASE_URL if not given"),
        .database(
            "databaseListenURL", \.databaseListenURL,
            "direct URL for LISTEN, by which moves of breakers are known at once; as DATABASE_URL if not given and no pooler in transaction mode stands before it"
        ),
        .text(
            "postgres.binaries", \.postgresBinaries,
            "folder of initdb and postgres; the newest found if not given"),
        .text(
            "postgres.user", \.postgresUser,
            "who the private PostgreSQL runs as when started by root"),
        .bool(
            "postgres.preparedStatements", \.preparedStatements,
            "false behind a pooler in transaction mode"),
        .duration(
            "postgres.statementTimeoutMs", \.statementTimeout, 100...60_000,
            "longest a statement may run"),
        .duration(
            "postgres.lockTimeoutMs", \.lockTimeout, 100...60_000,
            "longest a statement may wait for a lock"),
        .duration(
            "postgres.deadlineMs", \.databaseDeadline, 200...120_000,
            "longest from a call to its answer; then the connection is given up"),
        .duration(
            "postgres.connectWaitMs", \.connectWait, 0...60_000,
            "longest a call waits for a lost connection to be back"),
    ]

    private static let limits: [Setting] = [
        .int(
            "http.requestLineBytes", \.http.requestLineBytes, 512...65_536,
            "longest request line (RFC 9112 section 3 wants 8,000)"),
        .int(
            "http.headBytes", \.http.headBytes, 1024...262_144,
            "longest head: 32 KiB holds the cookies of a large company"),
        .int("http.fieldCount", \.http.fieldCount, 10...1000, "most header fields of a request"),
        .int(
            "http.bodyBytes", \.http.bodyBytes, 1024...67_108_864,
            "longest body where a route does not say less"),
        .int(
            "http.connections", \.http.connections, 1...1_000_000,
            "most open connections of a loop; others wait in the backlog"),
        .int(
            "http.connectionsPerAddress", \.http.connectionsPerAddress, 1...1_000_000,
            "most of one address"),
        .duration(
            "http.headS", \.deadlines.head, 1...600,
            "longest for a whole head, from its first octet"),
        .duration("http.bodyS", \.deadlines.body, 1...3600, "longest for a whole body"),
        .duration(
            "http.idleS", \.deadlines.idle, 1...3600,
            "longest between two requests; longer than a proxy's"),
        .duration(
            "http.parkMs", \.deadlines.park, 1...3_600_000,
            "silence after which a connection gives back its task"),
        .duration(
            "http.writeStallS", \.deadlines.writeStall, 1...600,
            "longest that a client may read nothing"),
        .trustedProxies, .corsOrigins,
        .int("api.pageSize", \.api.pageSize, 1...200, "items of a page unless the caller says"),
        .int(
            "api.maxBodyBytes", \.api.maxBodyBytes, 1024...1_048_576,
            "longest JSON body of an API call"),
        .int(
            "api.maxBatchBodyBytes", \.api.maxBatchBodyBytes, 1024...16_777_216,
            "longest JSON body of a batch of 1,000"),
        .int(
            "api.maxInFlightPerTenant", \.api.maxInFlightPerTenant, 1...1_000_000,
            "requests of a tenant in hand at a time on an instance; past it 429"),
        .int(
            "api.exportPageRows", \.api.exportPageRows, 10...5000,
            "rows of an export that are read, held and sent at a time"),
        .duration(
            "api.storeRetryAfterS", \.api.storeRetryAfter, 1...300,
            "Retry-After while the database is away"),
        .duration(
            "keys.pollMs", \.keys.pollInterval, 50...800,
            "how often changed keys are asked for; a revocation is promised within 1 s"),
        .duration("keys.lifetimeS", \.keys.lifetime, 1...3600, "longest that a key is remembered"),
        .int(
            "keys.failuresPerMinute", \.failedKeys.perMinute, 1...1_000_000,
            "wrong keys a minute from one client address; past it 429 without a look-up"),
        .int(
            "keys.failureBurst", \.failedKeys.burst, 1...1_000_000,
            "wrong keys from one client address at once"),
        .int(
            "keys.failureAddresses", \.failedKeys.addresses, 100...1_000_000,
            "client addresses with wrong keys that are watched; all beyond share one bucket"),
        .duration(
            "sessions.idleS", \.keys.sessions.idle, 60...86_400,
            "a session that nobody used for so long is over; an open page uses it"),
        .duration(
            "sessions.lifetimeS", \.keys.sessions.lifetime, 60...2_678_400,
            "the end of a session, however much it is used"),
        .int(
            "sessions.perKey", \.keys.sessions.perKey, 1...1_000,
            "sessions of a key at a time; the oldest gives way"),
        .bool(
            "sessions.secure", \.api.secureCookies,
            "cookies for TLS alone, also where no trusted proxy says that it is there"),
    ]

    private static let ledgerAndJobs: [Setting] = [
        .int(
            "ledger.maxQueued", \.ledger.maxQueued, 100...1_000_000,
            "calls of a loop that wait for a decision; past it 503"),
        .int(
            "ledger.maxBatch", \.ledger.maxBatch, 1...10_000,
            "calls in one batch: bounds what a call waits for its neighbours"),
        .int(
            "ledger.maxBatchKeys", \.ledger.maxBatchKeys, 1...10_000,
            "keys in one statement, each a lock of the server"),
        .int(
            "ledger.connections", \.ledger.connections, 1...16,
            "connections of a loop that share the keys of a larger batch"),
        .duration(
            "ledger.retentionS", \.ledger.retention, 1...2_678_400,
            "how long records are kept at least; never under the longest window, an hour or more"),
        .optionalInt(
            "ledger.defaultMaxPerHour", \.ledger.defaultMaxPerHour, 0...1_000_000_000,
            "hourly limit of operations without a policy, where the tenant sets none; none if not given"
        ),
        .duration(
            "ledger.denialMemoryMs", \.ledger.denialMemory, 0...60_000,
            "how long at most equal calls are denied from memory"),
        .duration(
            "usage.retentionS", \.cleanup.rollUpRetention, 3600...315_360_000,
            "how long usage by minute and hour is kept"),
        .duration(
            "records.retentionS", \.cleanup.recordRetention, 3600...315_360_000,
            "how long a record can be refunded"),
        .int(
            "cleanup.batchSize", \.ledger.cleanupBatchSize, 1...100_000,
            "rows of a transaction of the manual cleanup"),
        .int(
            "cleanup.maxPerCall", \.ledger.cleanupMaxPerCall, 1...1_000_000,
            "rows of a call of the manual cleanup"),
        .duration(
            "cleanup.intervalS", \.cleanup.interval, 1...86_400,
            "pause between two scheduled cleanups"),
        .duration(
            "tasks.retentionS", \.cleanup.taskRetention, 60...315_360_000,
            "how long ended tasks are kept"),
        .duration(
            "jobs.pollMs", \.scheduler.pollInterval, 100...60_000,
            "how often due jobs are looked for"),
        .duration(
            "jobs.leaseS", \.scheduler.lease, 1...3600,
            "how long a job's holder may be silent before another instance takes over"),
        .duration(
            "jobs.silenceS", \.scheduler.silence, 3...3600,
            "how long an instance may be silent before what it has in hand is settled by others"),
    ]
}
