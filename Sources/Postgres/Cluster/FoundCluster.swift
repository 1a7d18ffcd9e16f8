internal import Glibc

/// The private cluster of a data folder as it is found: looks only, changes and starts nothing.
package struct FoundCluster: Hashable, Sendable {
    /// Where its files are, links resolved; nil when none was made yet.
    package let home: String?
    /// The major version that made it; nil when none did.
    package let major: Int?
    /// Whose the files are.
    package let owner: UInt32?
    /// Permission bits of PostgreSQL's own folder.
    package let mode: UInt32?
    /// The running server's process; nil when none runs, as far as this user may see.
    package let processID: Int32?
    private let layout: ClusterLayout?

    package init(dataDirectory: String) {
        guard let home = resolved(dataDirectory + "/postgres"),
            let folder = status(of: home + "/data"),
            let version = readText(home + "/data/PG_VERSION")
        else {
            (home, major, owner, mode) = (resolved(dataDirectory + "/postgres"), nil, nil, nil)
            (processID, layout) = (nil, nil)
            return
        }
        let user = ClusterUser(uid: folder.st_uid, gid: folder.st_gid, launcher: [])
        let layout = ClusterLayout(
            lock: dataDirectory + "/postgres.lock", home: home,
            socketFolder: PidFile(home + "/data/postmaster.pid")?.socketFolder ?? home + "/socket",
            user: user)
        self.home = home
        self.layout = layout
        major = Int(version.filter(\.isNumber))
        owner = folder.st_uid
        mode = folder.st_mode & 0o777
        processID = Postmaster.running(on: layout)?.pid
    }

    /// Where the running server is reached.
    package var socket: String? {
        processID == nil ? nil : layout.map { $0.socketFolder + "/.s.PGSQL.5432" }
    }

    /// For libpq, as the superuser; nil when no server runs.
    package func url(database: String = "breakwater") -> String? {
        processID == nil ? nil : layout?.url(database: database)
    }

    /// The version of the server programs that a start would use.
    package static func installedMajor(
        binaries: String?, for major: Int?
    ) throws(ClusterError) -> Int {
        try Binaries.find(binaries, major: major).major
    }
}
