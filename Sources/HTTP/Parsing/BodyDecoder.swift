/// Takes one request's body off the wire by its framing, RFC 9112 section 6.
///
/// A pure value: `decode` is given the bytes at hand, says how many it used up, and is given the rest
/// again with more at its end.
package struct BodyDecoder: Sendable {
    private enum State: Sendable {
        case length(Int)  // octets left
        /// Apart: its size would be part of every connection's memory.
        indirect case chunked(ChunkedDecoder)
    }

    private var state: State

    init(_ framing: RequestHead.Framing, limits: HTTPLimits) {
        switch framing {
        case .none: state = .length(0)
        case .length(let length): state = .length(length)
        case .chunked: state = .chunked(ChunkedDecoder(limits: limits))
        }
    }

    /// The whole body, and with chunks its trailer section, is off the wire.
    package var isComplete: Bool {
        switch state {
        case .length(let left): left == 0
        case .chunked(let decoder): decoder.isComplete
        }
    }

    /// Moves what `bytes` hold of the body into `sink`; returns how many of them are done with.
    package mutating func decode(
        _ bytes: Span<UInt8>, into sink: inout BodySink
    ) throws(Refusal) -> Int {
        switch state {
        case .length(let left):
            let count = min(left, bytes.count)
            try sink.take(bytes, ByteRange(0, count))
            state = .length(left - count)
            return count
        case .chunked(var decoder):
            defer { state = .chunked(decoder) }
            return try decoder.decode(bytes, into: &sink)
        }
    }
}

/// Where a body goes: kept up to a limit, or thrown away up to one.
package struct BodySink: Sendable {
    package private(set) var bytes: [UInt8] = []
    /// Octets of the body so far.
    package private(set) var count = 0
    private let limit: Int
    private let keeps: Bool

    /// - Parameter limit: octets; one more is refused with 413.
    package init(limit: Int, keeps: Bool = true) {
        self.limit = limit
        self.keeps = keeps
    }

    mutating func reserve(_ capacity: Int) { bytes.reserveCapacity(capacity) }

    /// Refuses what is announced and will not fit, before it comes.
    func expect(_ size: Int) throws(Refusal) {
        guard size <= limit - count else {
            throw Refusal(.bodyTooLarge, "the body is larger than this resource takes")
        }
    }

    mutating func take(_ source: Span<UInt8>, _ range: ByteRange) throws(Refusal) {
        try expect(range.count)
        count += range.count
        if keeps { bytes.append(source, in: range) }
    }
}
