import Foundation
import Glibc
import Postgres
import Synchronization
import TestSupport

/// A folder of one test's own that others may pass through. It is gone afterwards, and with it
/// what still runs in it: commands by their id, a PostgreSQL that a killed one left behind.
struct Scratch: Sendable {
    let path: String
    private let children = Children()

    private final class Children: Sendable {
        let list = Mutex<[Child]>([])
        let count = Atomic<Int>(0)
    }

    /// How many tests start processes at a time: those with deadlines want a machine that answers.
    private static let places = Places(4)
    private static let counter = Atomic<Int>(0)
    private static let open = Mutex<[String: Scratch]>([:])
    /// On the first use: nothing survives this process if it ends in good order.
    private static let cleansAtExit: Void = {
        atexit {
            Child.endAll()
            for scratch in Scratch.open.withLock({ Array($0.values) }) { scratch.remove() }
        }
    }()

    static func with<Answer: Sendable>(
        _ body: (Scratch) async throws -> Answer
    ) async throws -> Answer {
        await places.take()
        defer { places.giveBack() }
        _ = cleansAtExit
        let number = counter.add(1, ordering: .relaxed).newValue
        let scratch = Scratch(path: "/tmp/bw-e2e-\(getpid())-\(number)")
        guard unsafe mkdir(scratch.path, 0o755) == 0 else {
            throw Failure("cannot make \(scratch.path)")
        }
        open.withLock { $0[scratch.path] = scratch }
        let outcome: Result<Answer, any Error>
        do { outcome = .success(try await body(scratch)) } catch { outcome = .failure(error) }
        try await onThread { scratch.remove() }
        return try outcome.get()
    }

    /// A path in the folder.
    func callAsFunction(_ name: String) -> String { path + "/" + name }

    func write(_ text: String, to name: String) throws {
        let file = self(name)
        let folder = (file as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        try text.write(toFile: file, atomically: true, encoding: .utf8)
    }

    /// Changes who may do what with a file or folder, and whose it is.
    func give(_ name: String, mode: mode_t, to user: uid_t? = nil) throws {
        guard unsafe chmod(self(name), mode) == 0 else { throw Failure("chmod \(name): \(errno)") }
        guard let user else { return }
        guard unsafe chown(self(name), user, user) == 0 else {
            throw Failure("chown \(name): \(errno)")
        }
    }

    func read(_ name: String) throws -> String {
        try String(contentsOfFile: self(name), encoding: .utf8)
    }

    func exists(_ name: String) -> Bool { unsafe access(self(name), F_OK) == 0 }

    /// Starts a command whose output goes to files of its own in the folder.
    func start(_ command: [String], environment: [String: String]) throws -> Child {
        let number = children.count.add(1, ordering: .relaxed).newValue
        let child = try Child(
            command, environment: environment, output: self("\(number).out"),
            errors: self("\(number).err"))
        children.list.withLock { $0.append(child) }
        return child
    }

    private func remove() {
        for child in children.list.withLock({ $0 }) { child.kill9() }
        endServers()
        for home in homes { try? FileManager.default.removeItem(atPath: home) }
        Self.open.withLock { $0[path] = nil }
    }

    /// The folder, and where a data folder in it keeps what its own user cannot reach there.
    private var homes: [String] {
        let names = (try? FileManager.default.subpathsOfDirectory(atPath: path)) ?? []
        return [path]
            + names.filter { $0.hasSuffix("/postgres") }.compactMap {
                try? FileManager.default.destinationOfSymbolicLink(atPath: self($0))
            }
    }

    /// The processes of PostgreSQL that work in this folder, by what the system says of them.
    var servers: [pid_t] {
        let homes = homes
        return processes { program, folder in
            program.hasSuffix("/postgres") && homes.contains { folder.hasPrefix($0 + "/") }
        }
    }

    private func endServers() {
        for round in 0..<1000 {
            let left = servers
            if left.isEmpty { return }
            for pid in left { kill(pid, round < 200 ? SIGQUIT : SIGKILL) }
            usleep(10_000)
        }
    }
}

/// Root runs PostgreSQL as somebody else.
let isRoot = geteuid() == 0

/// The ids of running processes, by their program and working folder.
func processes(where isWanted: (_ program: String, _ folder: String) -> Bool) -> [pid_t] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { pid_t($0) }.filter { pid in
        let files = FileManager.default
        guard let program = try? files.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe"),
            let folder = try? files.destinationOfSymbolicLink(atPath: "/proc/\(pid)/cwd")
        else { return false }
        return isWanted(program, folder)
    }
}

/// Whether a process runs; one that has ended and that nobody reaped does not.
func isRunning(_ pid: pid_t) -> Bool {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
        let end = text.lastIndex(of: ")")
    else { return false }
    return !text[text.index(after: end)...].hasPrefix(" Z")
}
