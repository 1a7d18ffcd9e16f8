import IO

@testable import HTTP

/// Reads the input's pieces through a `ByteBuffer`.
func readThroughBuffer(_ input: FuzzInput) -> (Reading, [Request]) {
    var reader = BufferReader(limits: input.limits)
    var reading = Reading()
    do throws(Refusal) {
        for piece in input.pieces { try reader.feed(Array(piece)) }
        reading.end = reader.isBetweenRequests ? .complete : .incomplete
    } catch {
        reading.end = .refused(Int(error.type.status.code))
    }
    reading.messages = reader.requests.map { Reading.Message($0) }
    return (reading, reader.requests)
}

/// What `Connection` does with its input, without a socket: the buffer's used bytes begin anywhere,
/// it grows and moves, and its block goes back to a pool whenever it is empty.
private struct BufferReader: ~Copyable {
    private(set) var requests: [Request] = []
    private let limits: HTTPLimits
    private let pool = BufferPool(limit: 1)
    /// The first block is small, so that it grows; those from the pool are not.
    private var input = ByteBuffer(capacity: 8)
    private var parser: RequestParser
    private var open: (request: Request, body: BodyDecoder, sink: BodySink)?
    private var random = RandomSource(seed: 2)

    init(limits: HTTPLimits) {
        self.limits = limits
        parser = RequestParser(limits: limits)
    }

    var isBetweenRequests: Bool { open == nil && input.isEmpty }

    mutating func feed(_ bytes: [UInt8]) throws(Refusal) {
        if input.capacity == 0 { input = pool.take() }
        input.reserve(bytes.count)
        let filled = unsafe input.fill { room in
            unsafe room.copyBytes(from: bytes)
            return bytes.count
        }
        demandSame(filled, bytes.count, "the buffer took another number")
        while try takeHead(), try takeBody() {}
        if input.isEmpty { park() }
    }

    private mutating func park() {
        var block = ByteBuffer()
        swap(&block, &input)
        pool.give(block)
    }

    /// False while the head is not complete.
    private mutating func takeHead() throws(Refusal) -> Bool {
        if open != nil { return true }
        if input.isEmpty { return false }
        let length = try input.withBytes { bytes throws(Refusal) in try parser.parse(bytes) }
        guard let length else { return false }
        let head = parser.head
        parser = RequestParser(limits: limits)
        let bytes = input.withBytes { $0.array(ByteRange(0, length)) }
        let request = Request(head, bytes, peer: nil, receivedAt: .now, random: &random)
        input.consume(length)
        if case .length(let length) = head.framing, length > limits.bodyBytes {
            throw Refusal(.bodyTooLarge, "the body is larger than this resource takes")
        }
        let body = BodyDecoder(head.framing, limits: limits)
        open = (request, body, BodySink(limit: limits.bodyBytes))
        return true
    }

    /// False while the body is not complete.
    private mutating func takeBody() throws(Refusal) -> Bool {
        guard var (request, body, sink) = open else { return true }
        let used = try input.withBytes { bytes throws(Refusal) in
            try body.decode(bytes, into: &sink)
        }
        input.consume(used)
        open = (request, body, sink)
        guard body.isComplete else { return false }
        request.body = sink.bytes
        requests.append(request)
        open = nil
        return true
    }
}
