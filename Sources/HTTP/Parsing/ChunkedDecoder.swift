/// The chunked transfer coding, RFC 9112 section 7.1, without the white space and bare line feeds
/// that its grammar does not have but some servers take. Extensions are checked and ignored,
/// trailer fields checked and dropped.
struct ChunkedDecoder: Sendable {
    private enum State: Sendable {
        case size
        case data(left: Int)
        case dataEnd
        case trailer
        case complete
    }

    private var state = State.size
    private let limits: HTTPLimits
    private var extensionBytes = 0
    private var trailerBytes = 0
    private var trailerCount = 0
    /// How far the unread line was searched for its end, from where it starts.
    private var searched = 0

    init(limits: HTTPLimits) { self.limits = limits }

    var isComplete: Bool {
        if case .complete = state { return true }
        return false
    }

    /// Works through `bytes`; an unfinished line is left for the next call.
    mutating func decode(_ bytes: Span<UInt8>, into sink: inout BodySink) throws(Refusal) -> Int {
        var place = 0
        while true {
            switch state {
            case .size:
                // 15 digits, the extensions and CR LF.
                let longest = 15 + limits.chunkExtensionBytes + 2
                guard let end = try lineEnd(bytes, place, longest, Self.lineTooLong) else {
                    return place
                }
                let size = try readSize(bytes, ByteRange(place, end))
                try sink.expect(size)
                place = end + 2
                state = size == 0 ? .trailer : .data(left: size)
            case .data(let left):
                let count = min(left, bytes.count - place)
                try sink.take(bytes, ByteRange(place, place + count))
                place += count
                if count < left {
                    state = .data(left: left - count)
                    return place
                }
                state = .dataEnd
            case .dataEnd:
                if place < bytes.count, bytes[place] != .carriageReturn { throw Self.badDataEnd }
                guard place + 1 < bytes.count else { return place }
                guard bytes[place + 1] == .lineFeed else { throw Self.badDataEnd }
                place += 2
                state = .size
            case .trailer:
                let longest = limits.headBytes - trailerBytes
                guard let end = try lineEnd(bytes, place, longest, Self.trailerTooLarge) else {
                    return place
                }
                trailerBytes += end + 2 - place
                if end == place {
                    state = .complete
                } else {
                    trailerCount += 1
                    guard trailerCount <= limits.fieldCount else { throw Self.trailerTooLarge }
                    _ = try FieldLine(bytes, ByteRange(place, end))
                }
                place = end + 2
            case .complete:
                return place
            }
        }
    }

    /// Where the CR of the line at `start` is, if its LF is among the line's first `limit` octets.
    private mutating func lineEnd(
        _ bytes: Span<UInt8>, _ start: Int, _ limit: Int, _ tooLong: Refusal
    ) throws(Refusal) -> Int? {
        guard let feed = bytes.firstIndex(of: .lineFeed, from: start + searched),
            feed - start < limit
        else {
            searched = bytes.count - start
            if searched >= limit { throw tooLong }
            return nil
        }
        searched = 0
        guard feed > start, bytes[feed - 1] == .carriageReturn else { throw .bareLineFeed }
        return feed - 1
    }

    /// `chunk-size [ chunk-ext ]`: 1 to 15 hexadecimal digits, so that it fits.
    private mutating func readSize(_ bytes: Span<UInt8>, _ line: ByteRange) throws(Refusal) -> Int {
        var size = 0
        var place = line.lowerBound
        while place < line.upperBound, let digit = bytes[place].hexValue {
            size = size << 4 | Int(digit)
            place += 1
            guard place - line.lowerBound <= 15 else {
                throw .malformed("a chunk size has more than 15 digits")
            }
        }
        guard place > line.lowerBound else { throw .malformed("a chunk starts with its size") }
        extensionBytes += line.upperBound - place
        guard line.upperBound - place <= limits.chunkExtensionBytes,
            extensionBytes <= limits.chunkExtensionsBytes
        else { throw .malformed("chunk extensions are too long") }
        try checkExtensions(bytes, ByteRange(place, line.upperBound))
        return size
    }

    /// `*( ";" token [ "=" ( token / quoted-string ) ] )`, RFC 9112 section 7.1.1.
    private func checkExtensions(_ bytes: Span<UInt8>, _ range: ByteRange) throws(Refusal) {
        var place = range.lowerBound
        let end = range.upperBound
        func skipToken() -> Bool {
            let first = place
            while place < end, ByteSet.token.contains(bytes[place]) { place += 1 }
            return place > first
        }
        while place < end {
            guard bytes[place] == UInt8(ascii: ";") else { throw Self.badExtension }
            place += 1
            guard skipToken() else { throw Self.badExtension }
            guard place < end, bytes[place] == UInt8(ascii: "=") else { continue }
            place += 1
            if place < end, bytes[place] == UInt8(ascii: "\"") {
                guard let past = quotedStringEnd(bytes, ByteRange(place, end)) else {
                    throw Self.badExtension
                }
                place = past
            } else if !skipToken() {
                throw Self.badExtension
            }
        }
    }

    /// Behind the closing quote of the `quoted-string` that `range` starts with (RFC 9110 5.6.4).
    private func quotedStringEnd(_ bytes: Span<UInt8>, _ range: ByteRange) -> Int? {
        var place = range.lowerBound + 1
        while place < range.upperBound, bytes[place].isFieldValue {
            switch bytes[place] {
            case UInt8(ascii: "\""): return place + 1
            case UInt8(ascii: "\\"):
                place += 1
                guard place < range.upperBound, bytes[place].isFieldValue else { return nil }
                place += 1
            default: place += 1
            }
        }
        return nil
    }

    private static let lineTooLong = Refusal.malformed("a chunk's first line is too long")
    private static let badDataEnd = Refusal.malformed("a chunk's data is not followed by CR LF")
    private static let badExtension = Refusal.malformed("a malformed chunk extension")
    private static let trailerTooLarge = Refusal(
        .headTooLarge, "the trailer section is too large")
}
