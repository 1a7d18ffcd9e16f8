/// Reads the head of one request, RFC 9112 sections 2 to 5, strictly: what could be read in two ways
/// is refused.
///
/// A pure value: `parse` is given all bytes from the request's start, again with more at the end,
/// until it returns the head's length. It goes by whole lines and remembers where it was, so the
/// answer is the same however the bytes were split, and the work linear.
package struct RequestParser: Sendable {
    private(set) var head = RequestHead()
    private let requestLineBytes: Int
    private let headBytes: Int
    private let maxFieldCount: Int
    /// Start of the line that is not read yet.
    private var line = 0
    /// No line end stands before this.
    private var searched = 0
    /// Where the request line starts: up to two empty lines may stand before it.
    private var start = 0
    private var hasRequestLine = false
    private var seen = SeenFields()
    private var fieldCount = 0

    package init(limits: HTTPLimits) {
        requestLineBytes = limits.requestLineBytes
        headBytes = limits.headBytes
        maxFieldCount = limits.fieldCount
    }

    /// The head's length in octets once it is complete, nil while more is needed.
    package mutating func parse(_ bytes: Span<UInt8>) throws(Refusal) -> Int? {
        if !hasRequestLine {
            guard let end = try requestLineEnd(bytes) else { return nil }
            try readRequestLine(bytes, ByteRange(start, end))
            hasRequestLine = true
            advance(to: end + 2)
            head.fields = ByteRange(line, line)
        }
        while let end = try fieldLineEnd(bytes) {
            if end == line {
                head.fields = ByteRange(head.fields.lowerBound, line)
                try finish()
                return end + 2
            }
            try readField(bytes, ByteRange(line, end))
            advance(to: end + 2)
        }
        return nil
    }

    private mutating func advance(to place: Int) {
        line = place
        searched = place
    }

    // MARK: Lines

    /// Where the request line ends, RFC 9112 section 2.2: CRLF, no bare CR or LF, at most two empty
    /// lines before it.
    private mutating func requestLineEnd(_ bytes: Span<UInt8>) throws(Refusal) -> Int? {
        while start < bytes.count, bytes[start] == .carriageReturn {
            guard start + 1 < bytes.count else { return nil }
            guard bytes[start + 1] == .lineFeed else { throw .bareCarriageReturn }
            guard start < 4 else { throw .malformed("more than two empty lines before a request") }
            start += 2
            advance(to: start)
        }
        let longest = start + requestLineBytes
        guard let end = try lineEnd(bytes, before: longest) else {
            if bytes.count >= longest {
                throw Refusal(.uriTooLong, "the request line is too long")
            }
            return nil
        }
        return end
    }

    /// Where a field line ends, within what is left of the head's size.
    private mutating func fieldLineEnd(_ bytes: Span<UInt8>) throws(Refusal) -> Int? {
        let longest = start + headBytes
        guard let end = try lineEnd(bytes, before: longest) else {
            if bytes.count >= longest { throw Refusal(.headTooLarge, "the head is too large") }
            return nil
        }
        return end
    }

    /// Where the line's CR is, if its LF is among the first `limit` bytes.
    @inline(__always) private mutating func lineEnd(
        _ bytes: Span<UInt8>, before limit: Int
    ) throws(Refusal) -> Int? {
        guard let feed = bytes.firstIndex(of: .lineFeed, from: searched), feed < limit else {
            searched = bytes.count
            return nil
        }
        guard feed > line, bytes[feed &- 1] == .carriageReturn else { throw .bareLineFeed }
        return feed &- 1
    }

    // MARK: Request line

    /// `method SP request-target SP HTTP-version`, RFC 9112 section 3.
    private mutating func readRequestLine(
        _ bytes: Span<UInt8>, _ line: ByteRange
    ) throws(Refusal) {
        var place = line.lowerBound
        while place < line.upperBound, ByteSet.token.contains(bytes[place]) { place &+= 1 }
        guard place > line.lowerBound, place < line.upperBound, bytes[place] == .space else {
            throw .malformed("a method is a token followed by one space")
        }
        head.methodRange = ByteRange(line.lowerBound, place)
        head.method = MethodToken(bytes, in: head.methodRange)
        let target = place &+ 1
        // The version is the line's last word; the target takes no space.
        let version = line.upperBound &- 8
        guard version > target, bytes.firstIndex(of: .space, from: target) == version &- 1 else {
            throw .malformed("a request line is method, target and version")
        }
        try readVersion(bytes, version)
        if head.method == .connect {
            throw Refusal(.notImplemented, "CONNECT is not for this server")
        }
        try head.readTarget(bytes, ByteRange(target, version &- 1))
    }

    /// `HTTP/1.0` or `HTTP/1.1`; 1.2 to 1.9 count as 1.1 (RFC 9110 section 2.5).
    private mutating func readVersion(_ bytes: Span<UInt8>, _ place: Int) throws(Refusal) {
        guard bytes.equals("HTTP/", in: ByteRange(place, place &+ 5)), bytes[place &+ 5].isDigit,
            bytes[place &+ 6] == UInt8(ascii: "."), bytes[place &+ 7].isDigit
        else { throw .malformed("a version is HTTP/1.0 or HTTP/1.1") }
        guard bytes[place &+ 5] == UInt8(ascii: "1") else {
            throw Refusal(.httpVersionNotSupported, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        }
        head.minorVersion = bytes[place &+ 7] == UInt8(ascii: "0") ? 0 : 1
    }

    // MARK: Fields

    /// `field-name ":" OWS field-value OWS`, RFC 9112 section 5. No folding, no space before the
    /// colon.
    private mutating func readField(_ bytes: Span<UInt8>, _ line: ByteRange) throws(Refusal) {
        fieldCount &+= 1
        guard fieldCount <= maxFieldCount else {
            throw Refusal(.headTooLarge, "too many fields")
        }
        let field = try FieldLine(bytes, line)
        try head.take(field, bytes, &seen)
    }

    /// The rules that need the whole head, RFC 9112 sections 3.2 and 6.
    private mutating func finish() throws(Refusal) {
        if head.minorVersion > 0 && !seen.contains(.host) {
            throw .malformed("HTTP/1.1 needs a Host field")
        }
        if seen.contains(.transferEncoding) {
            if seen.contains(.contentLength) {
                throw .malformed("Content-Length and Transfer-Encoding exclude each other")
            }
            if head.minorVersion == 0 { throw .malformed("HTTP/1.0 has no Transfer-Encoding") }
        }
        // RFC 9110 section 10.1.1: HTTP/1.0 clients do not know 100.
        if head.minorVersion == 0 { head.expectation = .none }
    }
}

extension Refusal {
    static let bareLineFeed = Refusal.malformed("a line ends with CR LF, not with LF alone")
    static let bareCarriageReturn = Refusal.malformed("a CR stands only before a LF")
}
