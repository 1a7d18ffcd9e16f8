internal import Glibc

/// The settings of the private cluster (`postgres.md`, 10). `ALTER SYSTEM` overrules them.
struct ClusterConfiguration {
    let layout: ClusterLayout
    /// lz4 where the server was built with it.
    let walCompression: String
    /// Written last, so they win.
    let overrides: [String: String]

    var text: String {
        var lines = [
            "# Written by Breakwater at each start. Put your own settings in with ALTER SYSTEM.",
            line("data_directory", layout.data),
            line("hba_file", layout.data + "/pg_hba.conf"),
            line("ident_file", layout.data + "/pg_ident.conf"),
            "",
            "# Only who may enter the socket's folder can connect.",
            line("listen_addresses", ""),
            line("unix_socket_directories", layout.socketFolder),
            line("unix_socket_permissions", "0700"),
            line("port", "5432"),
            line("max_connections", "100"),
            "",
            "# Nothing acknowledged is ever lost: these stay on.",
            line("fsync", "on"),
            line("full_page_writes", "on"),
            line("synchronous_commit", "on"),
            "",
            line("shared_buffers", "\(Self.sharedBuffers >> 20)MB"),
            line("wal_buffers", "16MB"),
            line("wal_compression", walCompression),
            line("min_wal_size", "256MB"),
            line("max_wal_size", "4GB"),
            line("checkpoint_timeout", "15min"),
            "# A batch holds a lock for each of its keys.",
            line("max_locks_per_transaction", "1024"),
            line("jit", "off"),
            line("autovacuum_naptime", "10s"),
            line("timezone", "UTC"),
            line("log_timezone", "UTC"),
            "",
            "# Values of rows stay out of the log: DETAIL is not written.",
            line("log_error_verbosity", "terse"),
            line("log_line_prefix", "%m [%p] %a "),
        ]
        lines += overrides.sorted { $0.key < $1.key }.map { line($0.key, $0.value) }
        return lines.joined(separator: "\n") + "\n"
    }

    private func line(_ name: String, _ value: String) -> String {
        "\(name) = '\(value.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''"))'"
    }

    /// An eighth of the memory that we may use, from 64 MB to 2 GB. It is taken from the system
    /// only as far as it is filled.
    private static var sharedBuffers: Int {
        let physical = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        let limit = readText("/sys/fs/cgroup/memory.max").flatMap { Int($0.filter(\.isNumber)) }
        return min(max(min(physical, limit ?? physical) / 8, 64 << 20), 2 << 30)
    }
}
