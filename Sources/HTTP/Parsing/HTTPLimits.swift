/// How much of everything one client may use. Each is a setting of the service.
package struct HTTPLimits: Hashable, Sendable {
    /// Octets of the request line with its line end; 8,000 must fit (RFC 9112 section 3). Past it 414.
    package var requestLineBytes = 8 * 1024
    /// Octets of the head, request line to blank line; at most 1 MiB. Past it 431.
    package var headBytes = 32 * 1024
    /// Field lines of a head, and of a chunked body's trailer section. Past it 431.
    package var fieldCount = 100
    /// Octets of a body, unless its route says otherwise. Past it 413.
    package var bodyBytes = 1024 * 1024
    /// Octets of the extensions of one chunk. Past it 400.
    package var chunkExtensionBytes = 256
    /// Octets of all chunk extensions of one body. Past it 400.
    package var chunkExtensionsBytes = 16 * 1024
    /// Octets of a refused body that are read and thrown away to keep its connection usable.
    package var discardedBodyBytes = 64 * 1024
    /// Octets read and thrown away before a connection with unread input is closed.
    package var lingerBytes = 64 * 1024
    /// Octets of bodies held by one server (loop) while they arrive. Past it 503.
    package var bufferedBodyBytes = 256 * 1024 * 1024
    /// Octets of answers to pipelined requests that are gathered for one send.
    package var gatheredAnswerBytes = 16 * 1024
    /// Open connections of one server (loop). At it, accepting pauses.
    package var connections = 10_000
    /// Open connections of one server (loop) from one IP address; behind a proxy all have the
    /// proxy's. Past it 503. Connections on a Unix socket do not count.
    package var connectionsPerAddress = 4_000

    package init() {}
}

/// How long a client may take. Each is a setting of the service; all are totals, so that a client
/// that sends one octet now and then gains nothing by it.
package struct HTTPDeadlines: Hashable, Sendable {
    /// From a head's first octet to its last. Past it 408.
    package var head: Duration = .seconds(10)
    /// How long a body may come at any rate.
    package var bodyGrace: Duration = .seconds(10)
    /// After the grace a body must have come at this mean rate, octets per second. Below it 408.
    package var bodyRate = 1024
    /// From a body's first octet to its last. Past it 408.
    package var body: Duration = .seconds(60)
    /// Between the end of one answer and the first octet of the next request.
    package var idle: Duration = .seconds(75)
    /// After so long a part of `idle` a connection gives back its task, which is nearly all of its
    /// memory; the next request costs a new one. `docs/benchmarks.md` has the figures.
    package var park: Duration = .milliseconds(250)
    /// How long a reader may take nothing of an answer. Past it its connection is closed.
    package var writeStall: Duration = .seconds(30)
    /// Octets per second that a reader must take on average after the first `writeStall`.
    package var writeRate = 1024
    /// How long input is thrown away before a connection is closed.
    package var linger: Duration = .seconds(1)

    package init() {}
}
