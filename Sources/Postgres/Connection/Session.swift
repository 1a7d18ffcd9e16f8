internal import CLibpq

/// One connection that waits for each answer on the calling thread: for what happens before
/// serving, and for tests. Never on an event loop.
@safe package final class Session {
    private let connection: OpaquePointer
    private var arguments = BindBuffer()

    /// Throws `.unavailable` with libpq's reason.
    package init(_ conninfo: Conninfo) throws(PostgresError) {
        unsafe connection = try conninfo.connect()
    }

    deinit {
        unsafe PQfinish(connection)
    }

    /// The server's version as libpq numbers it: 150018 is 15.18.
    package var serverVersion: Int { Int(unsafe PQserverVersion(connection)) }

    /// The server process by what was said at log-in; a pooler makes a number of its own up.
    package var announcedProcess: Int32 { unsafe PQbackendPID(connection) }

    /// Whether a transaction block is open, healthy or failed.
    package var isInTransaction: Bool {
        unsafe PQtransactionStatus(connection) != PQTRANS_IDLE
    }

    /// Runs one statement with its parameters.
    @discardableResult
    package func execute(
        _ sql: String, _ parameters: Parameter...
    ) throws(PostgresError) -> Rows {
        arguments.encode(parameters)
        let result = unsafe arguments.withArguments { count, types, values, lengths, formats in
            unsafe PQexecParams(connection, sql, count, types, values, lengths, formats, 1)
        }
        guard let result = unsafe result else { throw .connectionLost(.unknown) }
        switch unsafe PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK: return unsafe Rows(taking: result)
        default: throw unsafe failure(result)
        }
    }

    /// Runs a script of any number of statements; outside a transaction block it is one.
    package func run(_ script: String) throws(PostgresError) {
        guard let result = unsafe PQexec(connection, script) else {
            throw .connectionLost(.unknown)
        }
        switch unsafe PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: unsafe PQclear(result)
        default: throw unsafe failure(result)
        }
    }

    private func failure(_ result: OpaquePointer) -> PostgresError {
        defer { unsafe PQclear(result) }
        return unsafe PostgresError(result: result)
    }
}
