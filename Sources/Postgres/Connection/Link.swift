internal import CLibpq
internal import IO

/// One libpq connection in pipeline mode, watched by a loop. Belongs to that loop's thread.
///
/// Keeps the order of what was sent; a `Pipeline` decides what is sent and what a failure means.
@safe final class Link: Source {
    private let connection: OpaquePointer
    private let loop: EventLoop
    private let descriptor: Int32  // libpq's own; closed by PQfinish
    private weak var pipeline: Pipeline?
    private var arguments = BindBuffer()
    private var prepared: Set<String> = []
    private var usesPreparedStatements: Bool
    private var isWatchingWrites = false
    private var isOpen = true
    private(set) var sent = Fifo<Exchange>()

    /// Takes over a blocking connection.
    init(
        _ connected: Connected, for pipeline: Pipeline, preparedStatements: Bool
    ) throws(PostgresError) {
        guard let connection = unsafe connected.take() else { throw .unavailable("no connection") }
        unsafe self.connection = connection
        self.pipeline = pipeline
        loop = pipeline.loop
        usesPreparedStatements = preparedStatements
        descriptor = unsafe PQsocket(connection)
        guard unsafe PQsetnonblocking(connection, 1) == 0,
            unsafe PQenterPipelineMode(connection) == 1
        else { throw .unavailable(unsafe Postgres.lastMessage(of: connection)) }
        do {
            // Level-triggered: libpq does not always read until the kernel has nothing left.
            try loop.register(
                self, descriptor: descriptor, events: .readable, edgeTriggered: false)
        } catch { throw .unavailable(error.description) }
    }

    deinit {
        unsafe PQfinish(connection)
    }

    /// libpq's last words, for people.
    var lastMessage: String { unsafe Postgres.lastMessage(of: connection) }

    func close() {
        guard isOpen else { return }
        isOpen = false
        loop.deregister(descriptor: descriptor)
    }

    /// Takes what was sent and will have no answer.
    func takeUnanswered() -> [Exchange] { sent.removeAll() }

    func ready(_ events: Events) {
        guard isOpen else { return }
        pipeline?.assumeIsolated { $0.advance() }
    }
}

// MARK: Sending

extension Link {
    /// Queues the messages of `exchange` and pushes them out as far as the socket takes them.
    ///
    /// A transaction's COMMIT comes after a Sync of its own. In one group with the steps it would
    /// be skipped when one fails, and leave the session in the failed transaction, which fails
    /// whatever is in the pipe behind it. So it always arrives: a COMMIT of a failed transaction
    /// rolls it back, silently. Still one round trip.
    ///
    /// False when libpq refuses: the connection is broken.
    func send(_ exchange: Exchange) -> Bool {
        exchange.prepareToSend()
        sent.append(exchange)
        switch exchange.work {
        case .implicit(let steps):
            return send(steps, of: exchange) && sync(exchange) && flush()
        case .transaction(let tenant, let steps):
            return begin(tenant, exchange) && send(steps, of: exchange) && sync(exchange)
                && send(.commit, [], as: .commit, of: exchange) && sync(exchange) && flush()
        case .begin(let tenant):
            return begin(tenant, exchange) && sync(exchange) && flush()
        case .end(let commit):
            return send(
                commit ? .commit : .rollback, [], as: commit ? .commit : .control, of: exchange)
                && sync(exchange) && flush()
        }
    }

    private func begin(_ tenant: UUID?, _ exchange: Exchange) -> Bool {
        guard send(.begin, [], as: .control, of: exchange) else { return false }
        guard let tenant else { return true }
        // A statement, not set_config(): Citus forwards only this to its workers. The text is safe
        // since it is made from a parsed UUID.
        let set = Statement("", "SET LOCAL app.tenant_id = '\(tenant)'")
        return send(set, [], as: .control, of: exchange)
    }

    private func send(_ steps: [Pipeline.Step], of exchange: Exchange) -> Bool {
        for (statement, parameters) in steps {
            guard send(statement, parameters, as: .step, of: exchange) else { return false }
        }
        return true
    }

    private func send(
        _ statement: Statement, _ parameters: [Parameter], as command: Exchange.Command,
        of exchange: Exchange
    ) -> Bool {
        arguments.encode(parameters)
        if statement.name.isEmpty || !usesPreparedStatements {
            exchange.commands.append(command)
            return unsafe arguments.withArguments { count, types, values, lengths, formats in
                unsafe PQsendQueryParams(
                    connection, statement.sql, count, types, values, lengths, formats, 1) == 1
            }
        }
        if prepared.insert(statement.name).inserted {
            exchange.commands.append(.prepare(statement.name))
            let isSent = unsafe arguments.withArguments { count, types, _, _, _ in
                unsafe PQsendPrepare(connection, statement.name, statement.sql, count, types) == 1
            }
            guard isSent else { return false }
        }
        exchange.commands.append(command)
        return unsafe arguments.withArguments { count, _, values, lengths, formats in
            unsafe PQsendQueryPrepared(
                connection, statement.name, count, values, lengths, formats, 1) == 1
        }
    }

    private func sync(_ exchange: Exchange) -> Bool {
        exchange.syncs += 1
        return unsafe PQpipelineSync(connection) == 1
    }

    /// Writes what libpq holds; watches for room in the socket while some is left.
    private func flush() -> Bool {
        let state = unsafe PQflush(connection)
        guard state >= 0 else { return false }
        let hasMore = state == 1
        guard hasMore != isWatchingWrites else { return true }
        isWatchingWrites = hasMore
        do {
            try loop.modify(
                descriptor: descriptor, events: hasMore ? [.readable, .writable] : .readable,
                edgeTriggered: false)
            return true
        } catch { return false }
    }
}

// MARK: Receiving

extension Link {
    /// Reads what has come and calls `finish` for each exchange that has all its Syncs.
    ///
    /// Only Sync ends an exchange: an implicit transaction commits there, so rows that came before
    /// it may still be undone by a deferred constraint.
    ///
    /// False when the connection is broken; what is left in `sent` has no answer then.
    func receive(_ finish: (Exchange) -> Void) -> Bool {
        guard flush() else { return false }
        repeat {
            guard unsafe PQconsumeInput(connection) == 1 else {
                _ = takeResults(finish)
                return false
            }
            guard takeResults(finish) else { return false }
            // With TLS a part of a record may lie in OpenSSL's buffer, which epoll does not see.
        } while unsafe PQsslInUse(connection) == 1 && hasInput
        return unsafe PQstatus(connection) == CONNECTION_OK
    }

    /// Whether anything came over a channel that the session listens on; what it says is not read.
    func takeNotifications() -> Bool {
        var isAny = false
        while let notification = unsafe PQnotifies(connection) {
            unsafe PQfreemem(notification)
            isAny = true
        }
        return isAny
    }

    private var hasInput: Bool {
        guard let session = unsafe PQsslStruct(connection, "OpenSSL"),
            let pending = unsafe LateSymbols.sslPending
        else { return false }
        return unsafe pending(session) > 0
    }

    private func takeResults(_ finish: (Exchange) -> Void) -> Bool {
        var nulls = 0
        while let exchange = sent.first, unsafe PQisBusy(connection) == 0 {
            guard let result = unsafe PQgetResult(connection) else {
                exchange.nextCommand()
                nulls += 1
                if nulls > 2 { return false }  // libpq has lost count, or we have
                continue
            }
            nulls = 0
            guard unsafe take(result, for: exchange) else { continue }
            _ = sent.popFirst()
            finish(exchange)
            if !isOpen { return true }
        }
        return true
    }

    /// True when `exchange` is complete.
    private func take(_ result: OpaquePointer, for exchange: Exchange) -> Bool {
        switch unsafe PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK:
            let rows = unsafe Rows(taking: result)
            switch exchange.command {
            case .step: exchange.take(rows)
            case .commit where rows.isRollback:
                exchange.fail(.other("25P02", message: "the transaction had failed"))
            case .commit, .control, .prepare, nil: break
            }
            return false
        case PGRES_PIPELINE_SYNC:
            unsafe PQclear(result)
            exchange.syncs -= 1
            return exchange.syncs == 0
        case PGRES_PIPELINE_ABORTED:
            unsafe PQclear(result)
            exchange.fail(.other("25P02", message: "an earlier step had failed"))
        default:
            exchange.fail(unsafe PostgresError(result: result))
            unsafe PQclear(result)
        }
        if case .prepare(let name) = exchange.command { prepared.remove(name) }
        return false
    }

    /// Makes the next use of the statements of `exchange` prepare them anew: the session does not
    /// know them, or knows them with an outdated plan.
    func forgetStatements(of exchange: Exchange, isStale: Bool) {
        for (statement, _) in exchange.work.steps
        where prepared.remove(statement.name) != nil && isStale {
            let deallocate = Statement("", "DEALLOCATE \"\(statement.name)\"")
            _ = send(Exchange(unattended: .implicit([(deallocate, [])])))
        }
    }

    /// From now on sends each statement's text: the session behind a pooler is not always the same.
    func stopPreparing() { usesPreparedStatements = false }
}
