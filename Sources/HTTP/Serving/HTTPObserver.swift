package import IO

/// Is told what happened, on the loop where it happened: metrics and logs.
///
/// It must not wait. Without an observer nothing of this is computed.
package protocol HTTPObserver: AnyObject, Sendable {
    /// An answer was made (a streamed one: has ended), or a request refused by the parser.
    func finished(_ exchange: Exchange)
    func opened(peer: IPAddress?)
    func closed(peer: IPAddress?, _ end: ConnectionEnd)
}

extension HTTPObserver {
    package func opened(peer: IPAddress?) {}
    package func closed(peer: IPAddress?, _ end: ConnectionEnd) {}
}

/// One request and its answer, as an observer sees them.
package struct Exchange: Sendable {
    /// The route's place in the list of routes; nil if there is no route.
    package let route: Int?
    /// The route's; nil if there is no route.
    package let operationID: String?
    package let status: Status
    /// From the complete head to the end of the answer.
    package let duration: Duration
    /// Octets of head and body.
    package let bytesIn: Int
    /// Octets of the answer's body.
    package let bytesOut: Int
}

/// Why a connection ended.
package enum ConnectionEnd: Hashable, Sendable {
    /// By agreement: the client closed between requests, asked for it, or the answer said so.
    case finished
    /// The client left in the middle of a request or answer.
    case clientGone
    /// Silent for longer than `idle`.
    case idle
    /// A head or body came too slowly (408).
    case requestTooSlow
    /// An answer was not read.
    case readerTooSlow
    /// The parser refused what came.
    case refused
    /// Too many connections from this address (503).
    case addressCap
    /// The server drained.
    case drained
}
