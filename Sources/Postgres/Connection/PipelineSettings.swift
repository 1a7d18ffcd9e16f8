internal import IO

extension Pipeline {
    package struct Settings: Sendable {
        package var conninfo: Conninfo

        /// `SET ROLE` after connecting; nil stays what the URL logs in as.
        package var role: String?
        /// A statement that runs longer is cancelled by the server.
        package var statementTimeout: Duration = .seconds(5)
        /// A stuck peer turns into an error, not into a queue.
        package var lockTimeout: Duration = .seconds(2)
        /// An interactive transaction whose body stalls loses its connection.
        package var idleInTransactionTimeout: Duration = .seconds(10)
        /// `plan_cache_mode`, e.g. `force_generic_plan`; nil leaves the server's.
        package var planCacheMode: String?
        /// False behind a pooler in transaction mode: no named statements, and no session settings,
        /// which would stay with a backend that others use; give them by `ALTER ROLE ... SET`.
        package var ownsSession = true
        /// A channel to LISTEN on: a name of ours, which needs no quotes. Not behind a pooler in
        /// transaction mode, which would listen for somebody else.
        package var channel: String?

        /// Calls in the pipe and waiting; past it `.overloaded`.
        package var maxQueued = 4_096
        /// From the call to its answer, at most; past it the connection is given up, since an
        /// answer that does not come blocks all behind it. Longer than `statementTimeout`.
        package var deadline: Duration = .seconds(8)
        /// How long after the loss of a connection calls wait for the next one; later ones fail at
        /// once until it is there.
        package var connectWait: Duration = .seconds(1)
        /// The first pause after a failed try to connect; each doubles up to `maxBackoff`, then a
        /// random half is taken off.
        package var minBackoff: Duration = .milliseconds(100)
        package var maxBackoff: Duration = .seconds(2)

        package init(_ conninfo: Conninfo) {
            self.conninfo = conninfo
        }

        package init(url: String) {
            self.init(Conninfo(url: url))
        }
    }
}

extension Pipeline.Settings {
    /// Values are parameters, never part of the text.
    var sessionSetUp: [Pipeline.Step] {
        guard ownsSession else { return [] }
        var settings = [
            ("statement_timeout", "\(statementTimeout.milliseconds)"),
            ("lock_timeout", "\(lockTimeout.milliseconds)"),
            (
                "idle_in_transaction_session_timeout", "\(idleInTransactionTimeout.milliseconds)"
            ),
            ("synchronous_commit", "on"),
        ]
        if let planCacheMode { settings.append(("plan_cache_mode", planCacheMode)) }
        if let role { settings.append(("role", role)) }
        let calls = settings.indices.map {
            "set_config($\(2 * $0 + 1), $\(2 * $0 + 2), false)"
        }
        let setUp: Pipeline.Step = (
            Statement("", "SELECT " + calls.joined(separator: ", ")),
            settings.flatMap { [.text($0.0), .text($0.1)] }
        )
        return [setUp] + (channel.map { [(Statement("", "LISTEN \($0)"), [])] } ?? [])
    }

    /// The pause after `failures` tries in a row, with `random` in 0...1.
    func backoff(after failures: Int, random: Double) -> Duration {
        let doublings = Double(1 << min(max(failures - 1, 0), 20))
        let full = min(minBackoff.seconds * doublings, maxBackoff.seconds)
        return .milliseconds(Int64((full * (1 - random / 2) * 1_000).rounded()))
    }
}

extension Statement {
    static let begin = Statement("breakwater_begin", "BEGIN")
    static let commit = Statement("breakwater_commit", "COMMIT")
    static let rollback = Statement("breakwater_rollback", "ROLLBACK")
}
