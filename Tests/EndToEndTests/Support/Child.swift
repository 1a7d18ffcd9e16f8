import Glibc
import IO
import Synchronization

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A process that a test started: it gets signals by its id alone, and never outlives this one.
final class Child: Sendable {
    enum End: Hashable, Sendable {
        case exited(Int32)
        case killed(by: Int32)
    }

    let pid: pid_t
    /// Where standard output and standard error go.
    let output: String
    let errors: String
    private let end = Mutex<End?>(nil)

    /// - Parameter command: the program's path and its arguments; it sees `environment` alone.
    init(
        _ command: [String], environment: [String: String], output: String, errors: String
    ) throws {
        self.output = output
        self.errors = errors
        pid = try spawn(command, environment, output, errors)
        Self.living.withLock { $0[pid] = self }
    }

    /// How it ended; nil while it runs. Reaps it: its id means nothing from then on.
    var state: End? {
        end.withLock { end in
            if let end { return end }
            var status: Int32 = 0
            guard unsafe waitpid(pid, &status, WNOHANG) == pid else { return nil }
            let signal = status & 0x7f
            let found = signal == 0 ? End.exited(status >> 8 & 0xff) : .killed(by: signal)
            end = found
            Self.living.withLock { $0[pid] = nil }
            return found
        }
    }

    /// Does nothing once it has ended.
    func signal(_ number: Int32) {
        if state == nil { kill(pid, number) }
    }

    /// Its end, which must come within `limit`.
    func ended(within limit: Duration = .seconds(60)) async throws -> End {
        try await eventually("process \(pid) ends", within: limit) { self.state }
    }

    /// Ends it now. Blocks for the moment that this takes.
    func kill9() {
        signal(SIGKILL)
        for _ in 0..<500 where state == nil { usleep(10_000) }
    }

    private static let living = Mutex<[pid_t: Child]>([:])

    /// For the end of the test process, whatever its cause that still runs handlers.
    static func endAll() {
        for child in living.withLock({ Array($0.values) }) { child.kill9() }
    }
}

private func spawn(
    _ command: [String], _ environment: [String: String], _ output: String, _ errors: String
) throws -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    let mode = O_WRONLY | O_CREAT | O_APPEND
    unsafe posix_spawn_file_actions_addopen(&actions, 1, output, mode, 0o644)
    unsafe posix_spawn_file_actions_addopen(&actions, 2, errors, mode, 0o644)
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    var all = sigset_t()
    unsafe sigemptyset(&none)
    unsafe sigfillset(&all)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setsigdefault(&attributes, &all)
    unsafe posix_spawnattr_setflags(
        &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    let words = unsafe command.map { unsafe strdup($0) }
    let variables = unsafe environment.map { unsafe strdup("\($0.key)=\($0.value)") }
    defer { unsafe (words + variables).forEach { unsafe free($0) } }
    var pid = pid_t()
    let code = unsafe posix_spawn(
        &pid, command[0], &actions, &attributes, words + [nil], variables + [nil])
    guard code == 0 else {
        throw Failure("cannot start \(command[0]): \(unsafe String(cString: strerror(code)))")
    }
    return pid
}

/// Asks until there is an answer, for at most `limit`.
func eventually<Answer: Sendable>(
    _ what: String, within limit: Duration = .seconds(30),
    _ answer: @Sendable () async throws -> Answer?
) async throws -> Answer {
    let deadline = MonotonicInstant.now.advanced(by: limit)
    while true {
        if let answer = try await answer() { return answer }
        guard MonotonicInstant.now < deadline else {
            throw Failure("waited \(limit) in vain until \(what)")
        }
        try await Task.sleep(for: .milliseconds(10))
    }
}

/// The same for what is true or false.
func eventually(
    _ what: String, within limit: Duration = .seconds(30), _ isSo: @Sendable () async throws -> Bool
) async throws {
    try await eventually(what, within: limit) { () async throws -> Void? in
        try await isSo() ? () : nil
    }
}
