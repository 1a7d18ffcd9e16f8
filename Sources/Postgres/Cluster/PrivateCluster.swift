internal import Glibc
internal import IO
internal import Synchronization

/// A PostgreSQL of our own, for a start without any set-up: made on first use, reached through a
/// Unix socket that only we can reach, watched, started again when it dies, stopped with us.
///
/// Blocks: it belongs on threads of its own, never on an event loop. When the service is killed,
/// PostgreSQL stays, and the next start on the same folder takes it over as it is; when PostgreSQL
/// is killed, `supervise` starts it again and it recovers what was committed.
package final class PrivateCluster: Sendable {
    package struct Settings: Sendable {
        /// Made if missing; what `ClusterLayout` says goes below it.
        package var dataDirectory: String
        /// The folder of `initdb` and `postgres`; nil looks for the newest.
        package var binaries: String?
        /// Who PostgreSQL runs as when we are root; nil: `postgres`, else `nobody`.
        package var user: String?
        /// Made if missing.
        package var database = "breakwater"
        /// Settings of PostgreSQL over ours, by name.
        package var overrides: [String: String] = [:]
        /// How long recovery after a crash may take before a start counts as failed.
        package var startTimeout: Duration = .seconds(120)
        /// How long a polite stop may take before a forced one.
        package var stopTimeout: Duration = .seconds(30)

        package init(dataDirectory: String) {
            self.dataDirectory = dataDirectory
        }
    }

    /// What `supervise` tells of.
    package enum Event: Hashable, Sendable {
        case died
        case restarted
        case restartFailed(ClusterError)
    }

    private struct State {
        var postmaster: Postmaster
        var isStopping = false
        var isRestarting = false
    }

    /// The only role, a superuser: what connects is us.
    package static let superuser = "breakwater"
    private static let maxLogBytes = 8 << 20

    private let settings: Settings
    private let layout: ClusterLayout
    private let binaries: Binaries
    private let lock: FolderLock
    private let state: Mutex<State>
    /// Whether the running server is one that an earlier service left behind.
    package let isAdopted: Bool

    /// Starts the cluster of the folder, makes it on first use, or takes over the one that runs
    /// there; returns when it accepts connections and the database exists.
    ///
    /// - Parameter isCancelled: asked meanwhile; a start that is not wanted any more is undone.
    package static func start(
        _ settings: Settings, isCancelled: () -> Bool = { false }
    ) throws(ClusterError) -> PrivateCluster {
        try PrivateCluster(settings, isCancelled)
    }

    private init(_ settings: Settings, _ isCancelled: () -> Bool) throws(ClusterError) {
        let user = try ClusterUser.choose(settings.user)
        let layout = try ClusterLayout.prepare(settings.dataDirectory, user: user)
        let lock = try FolderLock(layout.lock)
        let binaries = try Self.binaries(settings, layout)
        let starter = ClusterStarter(settings: settings, layout: layout, binaries: binaries)
        try starter.makeDataFolder()
        let (postmaster, isAdopted) = try starter.adoptOrLaunch(isCancelled: isCancelled)
        self.settings = settings
        self.layout = layout
        self.binaries = binaries
        self.lock = lock
        self.isAdopted = isAdopted
        state = Mutex(State(postmaster: postmaster))
    }

    private static func binaries(
        _ settings: Settings, _ layout: ClusterLayout
    ) throws(ClusterError) -> Binaries {
        let version = readText(layout.data + "/PG_VERSION").flatMap { Int($0.filter(\.isNumber)) }
        do throws(ClusterError) {
            return try Binaries.find(settings.binaries, major: version)
        } catch {
            guard case .otherVersion(_, let found, let installed) = error else { throw error }
            throw .otherVersion(folder: layout.data, found: found, installed: installed)
        }
    }

    /// For libpq: the database of the settings, or another one of this cluster.
    package func url(database: String? = nil) -> String {
        layout.url(database: database ?? settings.database)
    }

    /// The server's process, for tests and for `doctor`.
    package var processID: Int32 { state.withLock { $0.postmaster.pid } }

    /// Watches the server until `stop`, on the calling thread: starts it again when it has died,
    /// and keeps its log within bounds (8 MB and one older file of as much).
    package func supervise(_ tell: @Sendable (Event) -> Void = { _ in }) {
        var failures = 0
        while true {
            let (postmaster, isStopping) = state.withLock { ($0.postmaster, $0.isStopping) }
            if isStopping { return }
            trimLog()
            if postmaster.isAlive {
                failures = 0
                usleep(100_000)
                continue
            }
            if failures == 0 { tell(.died) }
            do throws(ClusterError) {
                try restart()
                tell(.restarted)
            } catch {
                tell(.restartFailed(error))
                failures += 1
                let pause = min(100 << min(failures, 6), 5_000)
                for _ in 0..<(pause / 50) where !state.withLock({ $0.isStopping }) {
                    usleep(50_000)
                }
            }
        }
    }

    /// Stops the server and waits for its end. Idempotent.
    package func stop() {
        state.withLock { $0.isStopping = true }
        // A restart that is under way sees that it is not wanted, and undoes itself.
        while state.withLock({ $0.isRestarting }) { usleep(10_000) }
        let postmaster = state.withLock { $0.postmaster }
        postmaster.stop(milliseconds: Int(settings.stopTimeout.milliseconds))
        if layout.socketFolder.hasPrefix("/tmp/") { _ = unsafe rmdir(layout.socketFolder) }
    }

    private func restart() throws(ClusterError) {
        let isWanted = state.withLock { state in
            state.isRestarting = !state.isStopping
            return state.isRestarting
        }
        guard isWanted else { return }
        defer { state.withLock { $0.isRestarting = false } }
        let starter = ClusterStarter(settings: settings, layout: layout, binaries: binaries)
        let (postmaster, _) = try starter.adoptOrLaunch { [self] in
            state.withLock { $0.isStopping }
        }
        state.withLock { $0.postmaster = postmaster }
    }

    /// The server holds the file open for appending, so it is copied and cut, not renamed.
    private func trimLog() {
        guard let status = status(of: layout.log), status.st_size > Self.maxLogBytes else { return }
        let end = readText(layout.log, limit: Self.maxLogBytes) ?? ""
        try? writeText(end, to: layout.log + ".1")
        _ = unsafe chmod(layout.log + ".1", 0o600)
        _ = unsafe truncate(layout.log, 0)
    }
}

extension ClusterLayout {
    func url(database: String) -> String {
        "postgresql:///\(percentEncoded(database))?host=\(percentEncoded(socketFolder))&port=5432"
            + "&user=\(PrivateCluster.superuser)"
    }
}

/// All but the unreserved characters of RFC 3986, 2.3, as `%XX`.
func percentEncoded(_ text: String) -> String {
    var bytes: [UInt8] = []
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"), UInt8(ascii: "~"):
            bytes.append(byte)
        default: bytes += [UInt8(ascii: "%"), hexDigit(byte >> 4), hexDigit(byte)]
        }
    }
    return String(decoding: bytes, as: UTF8.self)
}
