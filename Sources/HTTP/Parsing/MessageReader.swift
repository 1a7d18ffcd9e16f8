package import IO

/// Reads requests with their bodies from bytes that come in any pieces: parser and body decoder
/// without a connection, for tests, the fuzzer and calls from inside.
package struct MessageReader {
    private let limits: HTTPLimits
    private let peer: IPAddress?
    private var random: RandomSource
    private var bytes: [UInt8] = []
    private var parser: RequestParser
    /// A request whose body is still coming.
    private var open: (request: Request, body: BodyDecoder, sink: BodySink)?

    package init(
        limits: HTTPLimits = HTTPLimits(), peer: IPAddress? = nil,
        random: RandomSource = RandomSource()
    ) {
        self.limits = limits
        self.peer = peer
        self.random = random
        parser = RequestParser(limits: limits)
    }

    /// Nothing of a request has come since the last one.
    package var isBetweenRequests: Bool { open == nil && bytes.isEmpty }

    /// The requests that `more` completes; nothing may be read after a refusal.
    ///
    /// - Parameter found: gets each request as soon as it is complete, so that those before a refusal
    ///   are not lost.
    package mutating func feed(
        _ more: [UInt8], _ found: (Request) -> Void
    ) throws(Refusal) {
        bytes += more
        while true {
            if open == nil {
                let input = bytes
                guard let length = try parser.parse(input.span) else { return }
                let request = Request(
                    parser.head, input.span.array(ByteRange(0, length)), peer: peer,
                    receivedAt: .now, random: &random)
                bytes.removeFirst(length)
                let sink = BodySink(limit: limits.bodyBytes)
                if case .length(let length) = request.head.framing { try sink.expect(length) }
                open = (request, BodyDecoder(request.head.framing, limits: limits), sink)
            }
            guard var (request, body, sink) = open else { return }
            let used = try body.decode(bytes.span, into: &sink)
            bytes.removeFirst(used)
            if !body.isComplete {
                open = (request, body, sink)
                return
            }
            request.body = sink.bytes
            open = nil
            parser = RequestParser(limits: limits)
            found(request)
        }
    }
}
