import Glibc

/// How many files this process may open. Every connection is one, and shells allow 1,024 unless asked
/// for more.
enum FileLimit {
    private static let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)

    private static var both: rlimit {
        var limit = rlimit()
        _ = unsafe getrlimit(resource, &limit)
        return limit
    }

    /// As many as `raise` gets.
    static var most: UInt64 { UInt64(both.rlim_max) }

    /// Takes as many as may be had without being root.
    static func raise() {
        var limit = both
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(resource, &limit)
    }
}
