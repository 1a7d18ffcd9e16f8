internal import Glibc

/// A client program of PostgreSQL (`pg_dump`, `pg_restore`), run to its end as ourselves.
package struct ClientTool: Hashable, Sendable {
    package let path: String
    package let major: Int

    /// The oldest that knows a server of version `major`: a newer one may write what the server
    /// does not take. Looks where the server programs are looked for.
    package static func find(
        _ name: String, binaries: String?, server major: Int
    ) throws(ClusterError) -> ClientTool {
        let folders = (binaries.map { [$0] } ?? []) + Binaries.candidates()
        let found = folders.map { $0 + "/" + name }.filter(isExecutable)
            .compactMap { path in
                Binaries.version(of: path).map { ClientTool(path: path, major: $0) }
            }
            .filter { $0.major >= major }
        guard let tool = found.min(by: { $0.major < $1.major }) else {
            throw .noTool(name: name, major: major)
        }
        return tool
    }

    /// Runs it; `read` gets what it writes to standard output.
    ///
    /// - Parameter environment: over our own, so that `PGSSLROOTCERT` and its like count.
    /// - Throws: `.failed` with its last words unless it exits with 0.
    package func run(
        _ arguments: [String], environment: [String: String] = [:],
        read: (ArraySlice<UInt8>) -> Void = { _ in }
    ) throws(ClusterError) {
        guard let errors = unsafe tmpfile() else { throw systemError("tmpfile", "") }
        defer { unsafe fclose(errors) }
        var ends: [Int32] = [0, 0]
        guard unsafe pipe(&ends) == 0 else { throw systemError("pipe", "") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        let pid: pid_t
        do throws(ClusterError) {
            pid = try spawn(
                arguments, environment, output: ends[1], errors: unsafe fileno(errors))
        } catch {
            close(ends[1])
            throw error
        }
        close(ends[1])
        var room = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe Glibc.read(ends[0], &room, room.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            read(room[..<count])
        }
        var status: Int32 = 0
        while unsafe waitpid(pid, &status, 0) < 0 {
            guard errno == EINTR else { throw systemError("wait for", path) }
        }
        guard status == 0 else {
            throw .failed(program: path, output: unsafe Self.lastWords(fileno(errors)))
        }
    }

    private func spawn(
        _ arguments: [String], _ more: [String: String], output: Int32, errors: Int32
    ) throws(ClusterError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, output, 1)
        unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2)
        var variables = more.map { "\($0.key)=\($0.value)" } + ["LC_ALL=C"]
        var entry = unsafe environ
        while let text = unsafe entry.pointee {
            let variable = unsafe String(cString: text)
            let name = variable.prefix { $0 != "=" }
            if name != "LC_ALL", more[String(name)] == nil { variables.append(variable) }
            unsafe entry += 1
        }
        var pid = pid_t()
        let code = unsafe withCStrings([path] + arguments) { arguments in
            unsafe withCStrings(variables) { variables in
                unsafe posix_spawn(
                    &pid, path, &actions, nil,
                    arguments.map { unsafe UnsafeMutablePointer(mutating: $0) },
                    variables.map { unsafe UnsafeMutablePointer(mutating: $0) })
            }
        }
        guard code == 0 else { throw .system(code: code, call: "start", path: path) }
        return pid
    }

    private static func lastWords(_ file: Int32) -> String {
        let size = lseek(file, 0, Int32(SEEK_END))
        lseek(file, max(0, size - 2_000), Int32(SEEK_SET))
        var room = [UInt8](repeating: 0, count: 2_000)
        let count = unsafe Glibc.read(file, &room, room.count)
        return oneLine(String(decoding: room.prefix(max(0, count)), as: UTF8.self))
    }
}
