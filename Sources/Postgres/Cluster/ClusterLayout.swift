internal import Glibc

/// Where the private cluster keeps what. All absolute.
///
/// `<data folder>/postgres.lock`  ours, held while a service works on the folder
/// `<home>/`                      ours, others may pass: nothing in it can be planted
/// `<home>/data`                  PostgreSQL's own, private to its user
/// `<home>/postgresql.conf`, `<home>/log`
///
/// `home` is `<data folder>/postgres`, unless we are root and its user cannot get there (a checkout
/// below /root): then it is in /var/lib/breakwater, and `<data folder>/postgres` a link to it.
struct ClusterLayout: Hashable, Sendable {
    let lock: String
    let home: String
    /// Private to PostgreSQL's user; its path leaves room for the socket's name within the 107
    /// octets that a Unix address holds.
    let socketFolder: String
    let user: ClusterUser

    var data: String { home + "/data" }
    var configuration: String { home + "/postgresql.conf" }
    var log: String { home + "/log" }
    var pidFile: String { data + "/postmaster.pid" }

    /// Makes the folders that are missing.
    static func prepare(_ dataDirectory: String, user: ClusterUser) throws(ClusterError) -> Self {
        var path = dataDirectory
        if !path.hasPrefix("/") {
            guard let here = resolved(".") else { throw systemError("realpath", ".") }
            path = here + "/" + path
        }
        try makeFolders(path, mode: 0o755)
        guard let root = resolved(path) else { throw systemError("realpath", path) }

        // Always the same for one folder, so that the next start finds what this one left.
        let mark = hex(fnv1a(root))
        var home = root + "/postgres"
        if !user.canReach(root) {
            home = "/var/lib/breakwater/" + mark
            _ = unsafe symlink(home, root + "/postgres")
        }
        try makeFolders(home, mode: 0o755)
        var socketFolder = home + "/socket"
        if socketFolder.utf8.count > 80 { socketFolder = "/tmp/bw-\(mark)-\(user.uid)" }
        try makePrivateFolder(socketFolder, owner: user)
        return ClusterLayout(
            lock: root + "/postgres.lock", home: home, socketFolder: socketFolder, user: user)
    }

    /// FNV-1a, 64 bit (Fowler, Noll, Vo): stable between runs, unlike Swift's hashes.
    private static func fnv1a(_ text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    private static func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}

/// Holds a file against a second service; the kernel lets go when the process ends in any way.
struct FolderLock: ~Copyable {
    private let file: Int32

    init(_ path: String) throws(ClusterError) {
        let file = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw systemError("open", path) }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            close(file)
            throw .inUse(path: path)
        }
        self.file = file
    }

    deinit {
        close(file)
    }
}
