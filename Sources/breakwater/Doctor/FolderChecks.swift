import Glibc
import Postgres

/// The data folder: room, permissions, and the private PostgreSQL in it.
struct FolderChecks {
    let settings: Settings

    /// `max_wal_size` of the private PostgreSQL is 4 GB, and its log takes 16 MB.
    private static let roomyBytes: UInt64 = 5 << 30
    /// A full disk stops PostgreSQL; this is what it can write within minutes under load.
    private static let leastBytes: UInt64 = 1 << 30
    /// A partition has about ten files, and a day makes fewer than fifty partitions.
    private static let roomyFiles: UInt64 = 10_000
    private static let leastFiles: UInt64 = 1_000

    func run() -> [Finding] {
        guard let place = existing(settings.data) else {
            return [
                .problem("data.folder", "\(settings.data) has no folder above it", "Name another")
            ]
        }
        var findings = [folder(place.path, isThere: place.isWhole)]
        findings += room(place.path)
        if settings.usesPrivateCluster { findings += cluster() }
        return findings
    }

    /// The folder, or the nearest above it that is there already.
    private func existing(_ path: String) -> (path: String, isWhole: Bool)? {
        var path = path
        var isWhole = true
        while unsafe access(path, F_OK) != 0 {
            isWhole = false
            guard let slash = path.lastIndex(of: "/") else { return (".", false) }
            path = slash == path.startIndex ? "/" : String(path[..<slash])
            if path.isEmpty { return nil }
        }
        return (path, isWhole)
    }

    private func folder(_ path: String, isThere: Bool) -> Finding {
        var status = stat()
        guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            return .problem("data.folder", "\(path) is not a folder", "Name another with --data")
        }
        guard unsafe access(path, W_OK | X_OK) == 0 else {
            return .problem(
                "data.folder", "\(path) cannot be written to by user \(geteuid())",
                "Give it to that user, or name another with --data")
        }
        if isThere, status.st_mode & 0o022 != 0 {
            return .problem(
                "data.folder",
                "\(path) can be written to by others (mode \(String(status.st_mode & 0o777, radix: 8)))",
                "chmod go-w \(path)")
        }
        return .ok(
            "data.folder", isThere ? "\(path) is ours" : "\(settings.data) will be made in \(path)")
    }

    private func room(_ path: String) -> [Finding] {
        var disk = statvfs()
        guard unsafe statvfs(path, &disk) == 0 else {
            return [
                .problem("data.space", "the disk of \(path) does not answer", "Look at its mount")
            ]
        }
        let free = UInt64(disk.f_bavail) * UInt64(disk.f_frsize)
        let advice = "Free some, or move the folder: a full disk stops PostgreSQL"
        var findings = [
            Finding(
                check: "data.space",
                level: settings.usesPrivateCluster
                    ? grade(free, problemBelow: Self.leastBytes, warningBelow: Self.roomyBytes)
                    : .ok,
                found: "\(free >> 20) MB free on the disk of \(path)", advice: advice)
        ]
        // Some file systems have no fixed number of files.
        if disk.f_files > 0 {
            let files = UInt64(disk.f_favail)
            findings.append(
                Finding(
                    check: "data.inodes",
                    level: settings.usesPrivateCluster
                        ? grade(
                            files, problemBelow: Self.leastFiles, warningBelow: Self.roomyFiles)
                        : .ok,
                    found: "room for \(files) more files on the disk of \(path)", advice: advice))
        }
        return findings.map {
            $0.level == .ok ? .ok($0.check, $0.found) : $0
        }
    }

    private func cluster() -> [Finding] {
        let found = FoundCluster(dataDirectory: settings.data)
        var findings: [Finding] = []
        do throws(ClusterError) {
            let installed = try FoundCluster.installedMajor(
                binaries: settings.postgresBinaries, for: found.major)
            findings.append(.ok("data.programs", "PostgreSQL \(installed) is installed"))
        } catch {
            findings.append(.problem("data.programs", "\(error)", "That says what to do"))
        }
        guard let home = found.home, let mode = found.mode, let owner = found.owner else {
            return findings + [.ok("data.cluster", "none yet: the first start makes it")]
        }
        if mode & 0o027 != 0 {
            findings.append(
                .problem(
                    "data.cluster",
                    "\(home)/data is open to others (mode \(String(mode, radix: 8)))",
                    "chmod 700 \(home)/data"))
        } else if geteuid() != 0, owner != geteuid() {
            findings.append(
                .problem(
                    "data.cluster", "\(home)/data belongs to user \(owner), we are \(geteuid())",
                    "Start as that user, or give it away with chown -R"))
        } else {
            let state = found.processID.map { "runs as process \($0)" } ?? "does not run"
            findings.append(
                .ok("data.cluster", "made by PostgreSQL \(found.major ?? 0) in \(home), \(state)"))
        }
        if let socket = found.socket { findings.append(length(of: socket)) }
        return findings
    }

    /// A Unix address holds 107 octets; a start moves the socket of a longer path to /tmp.
    private func length(of socket: String) -> Finding {
        let found = "\(socket): \(socket.utf8.count) of 107 octets"
        return socket.utf8.count <= 107
            ? .ok("data.socket", found)
            : .problem("data.socket", found, "Restart it: the next start puts it into /tmp")
    }
}
