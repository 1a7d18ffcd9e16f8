internal import IO

/// What a pipeline was asked for, and what has come back so far. Belongs to the pipeline's loop.
@safe final class Exchange {
    typealias Outcome = Result<[Rows], PostgresError>

    enum Work {
        /// Statements up to one Sync: the server's implicit transaction.
        case implicit([Pipeline.Step])
        /// BEGIN, the tenant, the steps, Sync, COMMIT, Sync. See `Link.send`.
        case transaction(tenant: UUID?, [Pipeline.Step])
        /// BEGIN and the tenant, and the connection is held until `end`.
        case begin(tenant: UUID?)
        case end(commit: Bool)

        var steps: [Pipeline.Step] {
            switch self {
            case .implicit(let steps), .transaction(_, let steps): steps
            case .begin, .end: []
            }
        }
    }

    /// One message group of the extended protocol, in the order sent; each is answered by results
    /// and then a null.
    enum Command {
        case step
        /// BEGIN, SET LOCAL: must succeed, the rows are nobody's.
        case control
        case commit
        case prepare(String)
    }

    let work: Work
    /// Whether it runs inside a held transaction, past those that wait for its end.
    let isInside: Bool
    private var continuation: UnsafeContinuation<Outcome, Never>?

    var startedAt = MonotonicInstant.now
    var resends = 0

    // Written by `Link.send`, then moved on as results come.
    var commands: [Command] = []
    var syncs = 0
    private(set) var position = 0
    private(set) var rows: [Rows] = []
    private(set) var error: PostgresError?

    init(_ work: Work, isInside: Bool = false, continuation: UnsafeContinuation<Outcome, Never>) {
        self.work = work
        self.isInside = isInside
        unsafe self.continuation = continuation
    }

    /// One whose answer nobody waits for.
    init(unattended work: Work) {
        self.work = work
        isInside = false
        unsafe continuation = nil
    }

    /// Nil once the results of every command have come.
    var command: Command? { position < commands.count ? commands[position] : nil }

    func nextCommand() { position += 1 }

    func take(_ answer: Rows) { rows.append(answer) }

    /// Keeps the first failure: what follows it is only "pipeline aborted".
    func fail(_ failure: PostgresError) {
        if error == nil { error = failure }
    }

    func prepareToSend() {
        commands.removeAll(keepingCapacity: true)
        rows.removeAll(keepingCapacity: true)
        syncs = 0
        position = 0
        error = nil
    }

    /// Answers the caller, once.
    func finish() {
        if let error { finish(throwing: error) } else { resume(.success(rows)) }
    }

    func finish(throwing error: PostgresError) { resume(.failure(error)) }

    private func resume(_ outcome: Outcome) {
        guard let waiting = unsafe continuation else { return }
        unsafe continuation = nil
        unsafe waiting.resume(returning: outcome)
    }
}
