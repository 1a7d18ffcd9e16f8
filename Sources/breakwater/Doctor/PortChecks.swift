import Glibc
import HTTP
import IO

/// Where it would listen, and how many files it may open.
struct PortChecks {
    let settings: Settings

    func run() -> [Finding] { settings.listen.map(listen) + [files] }

    private func listen(_ address: Address) -> Finding {
        let check = "listen"
        if let version = breakwater(at: address) {
            return .ok(check, "Breakwater \(version) serves on \(address)")
        }
        do throws(IOError) {
            try Listener.probe(address)
            return .ok(check, "\(address) is free")
        } catch {
            guard case .system(let code, _) = error else {
                return .problem(check, "\(address): \(error)", "Choose another with --listen")
            }
            switch code {
            case EADDRINUSE:
                let who = holder(of: address).map { " by \($0)" } ?? ""
                return .problem(
                    check, "\(address) is in use\(who)",
                    "Stop who serves there, or choose another address with --listen")
            case EACCES:
                return .problem(
                    check, "\(address) is not for user \(geteuid())",
                    "Choose a port over 1023, or give the binary CAP_NET_BIND_SERVICE")
            case EADDRNOTAVAIL:
                return .problem(
                    check, "\(address) is no address of this machine",
                    "Choose another with --listen")
            default:
                return .problem(check, "\(address): \(error)", "Choose another with --listen")
            }
        }
    }

    /// The version of the instance that answers there.
    private func breakwater(at address: Address) -> String? {
        var url = "\(address)"
        if case .tcp(let host, let port) = address {
            if port == 0 { return nil }
            let named = ["0.0.0.0": "127.0.0.1", "::": "[::1]"][host]
            url = "http://" + (named.map { "\($0):\(port)" } ?? url)
        }
        let client = APIClient(url: url, key: nil, patienceSeconds: 3)
        guard let page = try? client.call("GET", "/metrics"),
            let start = String(decoding: page, as: UTF8.self).split(separator: "\n")
                .first(where: { $0.hasPrefix("breakwater_build_info{version=\"") })
        else { return nil }
        return String(
            start.dropFirst("breakwater_build_info{version=\"".count).prefix { $0 != "\"" })
    }

    /// Connections, and what PostgreSQL, the loops and the log take beside them.
    private var files: Finding {
        let allowed = FileLimit.most
        let needed = UInt64(settings.loops * (settings.http.connections + 8) + 64)
        let found = "\(allowed) open files allowed, \(needed) needed for all connections"
        let advice =
            "ulimit -Hn \(needed) (LimitNOFILE of the systemd unit), or lower http.connections"
        switch grade(allowed, problemBelow: 256, warningBelow: needed) {
        case .ok: return .ok("system.files", found)
        case .warning: return .warning("system.files", found, advice)
        case .problem: return .problem("system.files", found, advice)
        }
    }
}

/// The program that listens there and its process, as far as this user may see: /proc/net/tcp names
/// the socket, /proc/PID/fd who has it.
private func holder(of address: Address) -> String? {
    guard case .tcp(_, let port) = address else { return nil }
    let digits = String(port, radix: 16, uppercase: true)
    let wanted = ":" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
    var sockets: Set<String> = []
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // The listening ones come first, before any number of others.
        for line in (readFile(table, orItsStart: true) ?? "").split(separator: "\n").dropFirst() {
            let fields = line.split(separator: " ")
            // 0A: listening.
            guard fields.count > 9, fields[1].hasSuffix(wanted), fields[3] == "0A" else { continue }
            sockets.insert("socket:[\(fields[9])]")
        }
    }
    for process in folderEntries("/proc") where Int(process) != nil {
        let folder = "/proc/\(process)/fd"
        for file in folderEntries(folder) where sockets.contains(linkTarget("\(folder)/\(file)")) {
            let name = (readFile("/proc/\(process)/comm") ?? "").trimmed
            return "\(name) (process \(process))"
        }
    }
    return nil
}

private func folderEntries(_ path: String) -> [String] {
    guard let folder = unsafe opendir(path) else { return [] }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
        names.append(
            unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
                unsafe name.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            })
    }
    return names
}

private func linkTarget(_ path: String) -> String {
    var room = [CChar](repeating: 0, count: 256)
    let count = unsafe readlink(path, &room, room.count)
    return String(decoding: room.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
