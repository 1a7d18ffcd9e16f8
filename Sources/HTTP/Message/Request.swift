package import IO

/// One request, checked by the parser.
///
/// It keeps the head as it came and reads on demand, so that a request costs one allocation (two
/// with a body) and what no handler asks for costs nothing.
package struct Request: Sendable {
    /// The request line and fields as received.
    let headBytes: [UInt8]
    let head: RequestHead
    /// The path decoded, if it had escapes; else empty and the head's own bytes serve.
    private let decodedPath: [UInt8]
    /// Where the route's parameters are; set by `Routes`.
    var parameters: [RoutePattern.Parameter] = []

    /// All of the body.
    package var body: [UInt8]
    package let id: RequestID
    /// Seed of a fresh trace, so that asking twice gives the same.
    private let seed: (UInt64, UInt64, UInt64)
    /// The other end of the connection; nil on a Unix socket.
    package let peer: IPAddress?
    /// When its head was complete.
    package let receivedAt: MonotonicInstant
    /// Whether it came over TLS, which ends in front of us: set by who trusts that proxy.
    package var isSecure = false

    init(
        _ head: RequestHead, _ bytes: [UInt8], body: [UInt8] = [], peer: IPAddress?,
        receivedAt: MonotonicInstant, random: inout RandomSource
    ) {
        self.head = head
        headBytes = bytes
        self.body = body
        self.peer = peer
        self.receivedAt = receivedAt
        seed = (random.next(), random.next(), random.next())
        decodedPath =
            head.pathHasEscapes ? PercentEncoding.decodedPath(bytes.span, head.path) ?? [] : []
        let received =
            head.requestID.isEmpty ? nil : RequestID(bytes.span.text(head.requestID))
        id = received ?? RequestID(made: seed.0, seed.1)
    }

    package var method: Method {
        switch head.method {
        case .get: .get
        case .head: .head
        case .post: .post
        case .put: .put
        case .patch: .patch
        case .delete: .delete
        case .options: .options
        case .trace: .trace
        case .connect: .connect
        case .other: .other(headBytes.span.text(head.methodRange))
        }
    }

    /// The decoded path's bytes; "/" separates segments and nothing else.
    @inline(__always) func withPath<Result>(_ body: (Span<UInt8>, ByteRange) -> Result) -> Result {
        head.pathHasEscapes
            ? body(decodedPath.span, ByteRange(0, decodedPath.count))
            : body(headBytes.span, head.path)
    }

    /// The path, decoded.
    package var path: String {
        head.path.isEmpty ? (head.isAsterisk ? "*" : "/") : withPath { $0.text($1) }
    }

    /// Path and query as they came, without scheme and authority.
    package var target: String {
        if head.isAsterisk { return "*" }
        let bytes = headBytes.span
        let path = head.path.isEmpty ? "/" : bytes.text(head.path)
        return head.query.isEmpty ? path : path + "?" + bytes.text(head.query)
    }

    /// 0 for HTTP/1.0, else 1.
    package var minorVersion: Int { head.minorVersion }

    /// The trace that the client sent, or a new one.
    package var trace: TraceContext {
        let parents = values(.traceparent)
        if parents.count == 1, let parent = parents.first,
            let trace = TraceContext(traceparent: parent, tracestate: values(.tracestate))
        {
            return trace
        }
        return TraceContext(traceHigh: seed.0, traceLow: seed.1, parent: 0, isSampled: false)
    }

    /// A span id of our own in that trace, for calls made on the request's behalf; never 0.
    package var span: UInt64 { seed.2 | 1 }

    /// The parameter `{name}` of the route's pattern, decoded; nil if the pattern has none.
    package func parameter(_ name: String) -> String? {
        guard let parameter = parameters.first(where: { $0.name == name }) else { return nil }
        return withPath { bytes, path in
            parameter.range(in: bytes, path).map { bytes.text($0) }
        }
    }
}
