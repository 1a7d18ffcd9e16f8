extension RequestHead {
    /// Reads a request target, RFC 9112 section 3.2: `/path?query`, `http://host/path?query`, or `*`
    /// with OPTIONS.
    mutating func readTarget(_ bytes: Span<UInt8>, _ target: ByteRange) throws(Refusal) {
        switch bytes[target.lowerBound] {
        case UInt8(ascii: "/"):
            try readPath(bytes, target)
        case UInt8(ascii: "*") where target.count == 1:
            guard method == .options else { throw .malformed("* is a target for OPTIONS only") }
            isAsterisk = true
        default:
            try readAbsolute(bytes, target)
        }
    }

    /// `absolute-form`: its authority counts instead of Host's, which we need for nothing
    /// (RFC 9112 section 3.2.2). User information is refused (RFC 9110 section 4.2.4).
    private mutating func readAbsolute(
        _ bytes: Span<UInt8>, _ target: ByteRange
    ) throws(Refusal) {
        var place = target.lowerBound
        if target.count > 7, bytes.matches("http://", in: ByteRange(place, place + 7)) {
            place += 7
        } else if target.count > 8, bytes.matches("https://", in: ByteRange(place, place + 8)) {
            place += 8
        } else {
            throw .malformed("a target is a path or an http URI")
        }
        let authority = place
        while place < target.upperBound, bytes[place] != UInt8(ascii: "/"),
            bytes[place] != UInt8(ascii: "?")
        {
            place += 1
        }
        guard isHost(bytes, ByteRange(authority, place)) else {
            throw .malformed("a target's authority is not a host")
        }
        if place == target.upperBound && method == .options {
            isAsterisk = true  // RFC 9112 section 3.2.4
        } else {
            try readPath(bytes, ByteRange(place, target.upperBound))
        }
    }

    /// Path and query: every octet allowed by RFC 3986, escapes sound, no dot segments.
    private mutating func readPath(_ bytes: Span<UInt8>, _ target: ByteRange) throws(Refusal) {
        var place = target.lowerBound
        let end = target.upperBound
        var previous = UInt8(ascii: "/")
        var hasDotSegment = false
        while place < end {
            let byte = bytes[place]
            guard ByteSet.path.contains(byte) else { break }
            if byte == UInt8(ascii: "%") { pathHasEscapes = true }
            if byte == UInt8(ascii: "."), previous == UInt8(ascii: "/") { hasDotSegment = true }
            previous = byte
            place &+= 1
        }
        path = ByteRange(target.lowerBound, place)
        if place < end {
            guard bytes[place] == UInt8(ascii: "?") else {
                throw .malformed("a path has a character that must be escaped")
            }
            try readQuery(bytes, ByteRange(place &+ 1, end))
        }
        if pathHasEscapes {
            guard let decoded = PercentEncoding.decodedPath(bytes, path) else {
                throw .malformed("a path has a bad escape")
            }
            try checkSegments(decoded.span, ByteRange(0, decoded.count))
        } else if hasDotSegment {
            try checkSegments(bytes, path)
        }
    }

    private mutating func readQuery(_ bytes: Span<UInt8>, _ range: ByteRange) throws(Refusal) {
        var hasEscapes = false
        for place in range.lowerBound..<range.upperBound {
            let byte = bytes[place]
            guard ByteSet.query.contains(byte) else {
                throw .malformed("a query has a character that must be escaped")
            }
            if byte == UInt8(ascii: "%") { hasEscapes = true }
        }
        query = range
        if hasEscapes, PercentEncoding.decodedText(bytes, range) == nil {
            throw .malformed("a query has a bad escape")
        }
    }

    /// No `.` or `..`, RFC 3986 section 6.2.2.3: a client removes them, so here they only confuse.
    private func checkSegments(_ bytes: Span<UInt8>, _ path: ByteRange) throws(Refusal) {
        var first = path.lowerBound
        for place in path.lowerBound...path.upperBound
        where place == path.upperBound || bytes[place] == UInt8(ascii: "/") {
            let segment = ByteRange(first, place)
            if bytes.equals(".", in: segment) || bytes.equals("..", in: segment) {
                throw .malformed("a path has a dot segment")
            }
            first = place + 1
        }
    }
}

/// Percent escapes, RFC 3986 section 2.1, decoded once.
enum PercentEncoding {
    /// The path's octets; nil for a broken escape, an escaped "/" or control character, or what is
    /// not UTF-8.
    static func decodedPath(_ bytes: Span<UInt8>, _ range: ByteRange) -> [UInt8]? {
        guard let decoded = decode(bytes, range, plusIsSpace: false, refusing: isUnfitForPath),
            String(validating: decoded, as: UTF8.self) != nil
        else { return nil }
        return decoded
    }

    /// A query's name or value, in which "+" is a space; nil for a broken escape, an escaped NUL, or
    /// what is not UTF-8.
    static func decodedText(_ bytes: Span<UInt8>, _ range: ByteRange) -> String? {
        guard let decoded = decode(bytes, range, plusIsSpace: true, refusing: { $0 == 0 })
        else { return nil }
        return String(validating: decoded, as: UTF8.self)
    }

    private static func isUnfitForPath(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "/") || byte < 0x20 || byte == 0x7F
    }

    private static func decode(
        _ bytes: Span<UInt8>, _ range: ByteRange, plusIsSpace: Bool,
        refusing isUnfit: (UInt8) -> Bool
    ) -> [UInt8]? {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(range.count)
        var place = range.lowerBound
        while place < range.upperBound {
            switch bytes[place] {
            case UInt8(ascii: "%"):
                guard place + 2 < range.upperBound, let high = bytes[place + 1].hexValue,
                    let low = bytes[place + 2].hexValue
                else { return nil }
                let byte = high << 4 | low
                if isUnfit(byte) { return nil }
                decoded.append(byte)
                place += 3
            case UInt8(ascii: "+") where plusIsSpace:
                decoded.append(.space)
                place += 1
            case let byte:
                decoded.append(byte)
                place += 1
            }
        }
        return decoded
    }
}
