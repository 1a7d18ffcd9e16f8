internal import Glibc

/// A running server: a child of ours, or one that an earlier service left behind.
struct Postmaster: Hashable, Sendable {
    let pid: pid_t
    /// Clock ticks from boot to its start: with it a reused pid is told apart.
    private let startedAt: String
    let isChild: Bool

    init?(pid: pid_t, isChild: Bool) {
        guard let startedAt = Self.startTime(of: pid) else { return nil }
        self.pid = pid
        self.startedAt = startedAt
        self.isChild = isChild
    }

    /// The server that works on the folder of `layout` by the evidence of the system, not of the
    /// file alone: its pid file names a process of PostgreSQL whose working folder is the data.
    static func running(on layout: ClusterLayout) -> Postmaster? {
        guard let pid = PidFile(layout.pidFile)?.pid,
            servers(on: layout).contains(pid)
        else { return nil }
        return Postmaster(pid: pid, isChild: false)
    }

    /// All server processes on the folder, a lost postmaster's backends among them.
    static func servers(on layout: ClusterLayout) -> [pid_t] {
        names(in: "/proc").compactMap { pid_t($0) }.filter { pid in
            guard linkTarget("/proc/\(pid)/cwd") == layout.data,
                let program = linkTarget("/proc/\(pid)/exe")
            else { return false }
            return program.hasSuffix("/postgres") || program.hasSuffix("/postgres (deleted)")
        }
    }

    /// Reaps it if it was a child of ours that has ended.
    var isAlive: Bool {
        if isChild {
            var status: Int32 = 0
            if unsafe waitpid(pid, &status, WNOHANG) == pid { return false }
        }
        return Self.startTime(of: pid) == startedAt
    }

    /// SIGINT asks for a fast shutdown, SIGQUIT for an immediate one.
    func signal(_ number: Int32) {
        if isAlive { kill(pid, number) }
    }

    /// Waits for its end; false when it still runs after `milliseconds`.
    func waitForEnd(milliseconds: Int) -> Bool {
        for _ in 0...(milliseconds / 10) {
            if !isAlive { return true }
            usleep(10_000)
        }
        return false
    }

    /// Stops it: politely, then by force. Committed data is safe either way.
    func stop(milliseconds: Int) {
        signal(SIGINT)
        if waitForEnd(milliseconds: milliseconds) { return }
        signal(SIGQUIT)
        if waitForEnd(milliseconds: 5_000) { return }
        signal(SIGKILL)
        _ = waitForEnd(milliseconds: 1_000)
    }

    /// Field 22 of /proc/<pid>/stat (proc(5)), counted after the name, which may hold anything; nil
    /// when there is no such process, or only what is left of one that has ended.
    private static func startTime(of pid: pid_t) -> String? {
        guard let text = readText("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else {
            return nil
        }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return String(fields[19])
    }
}

/// `postmaster.pid`, one value a line: pid, data folder, start time, port, socket folder, address,
/// shared memory key, status (PostgreSQL's `utils/pidfile.h`).
struct PidFile {
    let pid: pid_t
    let socketFolder: String
    let isReady: Bool

    init?(_ path: String) {
        guard let text = readText(path) else { return nil }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard let first = lines.first, let pid = pid_t(first), pid > 1 else { return nil }
        self.pid = pid
        socketFolder = lines.count > 4 ? String(lines[4]) : ""
        isReady = lines.count > 7 && lines[7].hasPrefix("ready")
    }
}
