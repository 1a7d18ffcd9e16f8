internal import Glibc

/// Who the private PostgreSQL runs as: ourselves, or an unprivileged user when we are root, since
/// PostgreSQL refuses to be root.
struct ClusterUser: Hashable, Sendable {
    let uid: uid_t
    let gid: gid_t
    /// What to put before a command so that it runs as this user, in the same process.
    let launcher: [String]

    /// - Parameter name: the user to be when we are root; nil for `postgres`, else `nobody`.
    static func choose(_ name: String?) throws(ClusterError) -> ClusterUser {
        guard geteuid() == 0 else {
            return ClusterUser(uid: geteuid(), gid: getegid(), launcher: [])
        }
        let candidates = name.map { [$0] } ?? ["postgres", "nobody"]
        guard let (uid, gid) = candidates.lazy.compactMap(find).first else {
            throw .noUser("there is no user \(candidates.joined(separator: " or "))")
        }
        guard uid != 0 else { throw .noUser("the user asked for is root too") }
        let paths = ["/usr/bin/setpriv", "/bin/setpriv", "/usr/sbin/setpriv"]
        guard let setpriv = paths.first(where: isExecutable) else {
            throw .noUser("setpriv (package util-linux) is missing")
        }
        return ClusterUser(
            uid: uid, gid: gid,
            launcher: [setpriv, "--reuid=\(uid)", "--regid=\(gid)", "--init-groups"])
    }

    private static func find(_ name: String) -> (uid_t, gid_t)? {
        guard let entry = unsafe getpwnam(name) else { return nil }
        return unsafe (entry.pointee.pw_uid, entry.pointee.pw_gid)
    }

    /// Whether this user may pass through `path` and every folder above it.
    func canReach(_ path: String) -> Bool {
        if launcher.isEmpty { return true }
        var folder = ""
        for part in [""] + path.split(separator: "/").map(String.init) {
            folder += part.isEmpty ? "/" : (folder == "/" ? part : "/" + part)
            guard let status = status(of: folder) else { return false }
            let bit: mode_t = status.st_uid == uid ? 0o100 : status.st_gid == gid ? 0o010 : 0o001
            guard status.st_mode & bit != 0 else { return false }
        }
        return true
    }
}
