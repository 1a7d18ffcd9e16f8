internal import Glibc

/// A program to start: as which user, with what, and where its output goes.
struct Program {
    let path: String
    var arguments: [String] = []
    let user: ClusterUser
    /// Output and errors are appended to this file, mode 0600.
    let log: String

    /// PostgreSQL's own variables (`PGPORT`, `PGDATA`, ...) must not reach the private cluster.
    private static let environment = [
        "PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC",
    ]

    /// Starts it in a session of its own, so that an interrupt from the terminal reaches us alone,
    /// with default signals and none of our descriptors.
    func spawn() throws(ClusterError) -> pid_t {
        let command = user.launcher + [path] + arguments
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_addopen(
            &actions, 1, log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0o600)
        unsafe posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // All of ours, close-on-exec or not: a postmaster that outlives us must not keep our port.
        for descriptor in names(in: "/proc/self/fd").compactMap({ Int32($0) }) where descriptor > 2
        {
            unsafe posix_spawn_file_actions_addclose(&actions, descriptor)
        }

        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        unsafe sigemptyset(&none)
        unsafe sigfillset(&all)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        // POSIX_SPAWN_SETSID is hidden by feature macros; its value is part of glibc's ABI.
        let setsid: Int32 = 0x80
        unsafe posix_spawnattr_setflags(
            &attributes,
            Int16(Int32(POSIX_SPAWN_SETSIGMASK) | Int32(POSIX_SPAWN_SETSIGDEF) | setsid))

        var pid = pid_t()
        let code = unsafe withCStrings(command) { arguments in
            unsafe withCStrings(Self.environment) { environment in
                let arguments = unsafe arguments.map { unsafe UnsafeMutablePointer(mutating: $0) }
                let environment = unsafe environment.map {
                    unsafe UnsafeMutablePointer(mutating: $0)
                }
                return unsafe posix_spawn(
                    &pid, command[0], &actions, &attributes, arguments, environment)
            }
        }
        guard code == 0 else { throw .system(code: code, call: "start", path: path) }
        return pid
    }

    /// Runs it to its end. Throws `.failed` with the end of its output unless it exits with 0.
    func run() throws(ClusterError) {
        let pid = try spawn()
        var status: Int32 = 0
        while unsafe waitpid(pid, &status, 0) < 0 {
            guard errno == EINTR else { throw systemError("wait for", path) }
        }
        guard status == 0 else {
            throw .failed(program: path, output: oneLine(readText(log, limit: 2_000) ?? ""))
        }
    }
}
