internal import CLibpq

extension PostgresError {
    /// The error that a failed result of libpq holds.
    init(result: OpaquePointer) {
        let state = unsafe field(BW_DIAG_SQLSTATE, of: result)
        let message = unsafe field(BW_DIAG_MESSAGE, of: result)
        guard !state.isEmpty else {
            // Made by libpq itself: the connection broke while the answer was on its way.
            self = .connectionLost(.unknown)
            return
        }
        self.init(
            SQLState(rawValue: state), message: message,
            constraint: unsafe field(BW_DIAG_CONSTRAINT, of: result))
    }
}

private func field(_ code: Int32, of result: OpaquePointer) -> String {
    guard let text = unsafe PQresultErrorField(result, code) else { return "" }
    return unsafe String(cString: text)
}

/// libpq's last words about a connection, on one line.
func lastMessage(of connection: OpaquePointer) -> String {
    guard let text = unsafe PQerrorMessage(connection) else { return "" }
    return oneLine(unsafe String(cString: text))
}

package func oneLine(_ text: String) -> String {
    String(text.split(whereSeparator: \.isNewline).joined(separator: "; "))
}
