/// A string as it stands in the document: scanned and found good, not yet copied.
struct StringLiteral {
    /// The octets between the quotes.
    let range: Range<Int>

    /// Octets that unescaping takes away; 0 where there is no escape, each of which is longer than
    /// what it stands for.
    let surplus: Int

    var hasEscapes: Bool { surplus > 0 }

    /// Octets of the string in UTF-8, unescaped.
    var count: Int { range.count - surplus }

    /// Scans the string whose first octet behind the opening quote is at `start`.
    ///
    /// - Throws: `syntax` for control characters, bad escapes and a string without end,
    ///   `invalidUTF8`.
    init(_ octets: Span<UInt8>, from start: Int) throws(Unexpected) {
        var surplus = 0
        var index = start
        while index < octets.count {
            let octet = octets[index]
            if octet == UInt8(ascii: "\"") {
                range = start..<index
                self.surplus = surplus
                return
            }
            if octet == UInt8(ascii: "\\") {
                let escape = try Self.escape(octets, at: index)
                index += escape.count
                surplus += escape.count - escape.encodedCount
            } else if octet >= 0x80 {
                index += try Self.multibyteCount(octets, at: index)
            } else if octet < 0x20 {
                throw Unexpected(.syntax, at: index, "expected no control character in a string")
            } else {
                index += 1
            }
        }
        throw .end(octets)
    }

    /// Checks the escape at `index`; tells its octets, and those of what it stands for in UTF-8.
    private static func escape(
        _ octets: Span<UInt8>, at index: Int
    ) throws(Unexpected) -> (count: Int, encodedCount: Int) {
        guard index + 1 < octets.count else { throw .end(octets) }
        switch octets[index + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
            UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return (2, 1)
        case UInt8(ascii: "u"): break
        default: throw Unexpected(.syntax, at: index, "expected an escape of RFC 8259 section 7")
        }
        switch try codeUnit(octets, at: index) {
        case 0..<0x80: return (6, 1)
        case 0x80..<0x800: return (6, 2)
        case 0xD800..<0xDC00:
            let low = index + 6
            guard low + 1 < octets.count, octets[low] == UInt8(ascii: "\\"),
                octets[low + 1] == UInt8(ascii: "u"),
                try 0xDC00..<0xE000 ~= codeUnit(octets, at: low)
            else {
                throw Unexpected(
                    .invalidUTF8, at: index, "expected a low surrogate after a high one")
            }
            return (12, 4)
        case 0xDC00..<0xE000:
            throw Unexpected(.invalidUTF8, at: index, "expected a high surrogate before a low one")
        default: return (6, 3)
        }
    }

    /// The UTF-16 code unit of the `\uXXXX` at `index`.
    private static func codeUnit(
        _ octets: Span<UInt8>, at index: Int
    ) throws(Unexpected) -> UInt32 {
        var unit: UInt32 = 0
        for place in (index + 2)..<(index + 6) {
            guard place < octets.count else { throw .end(octets) }
            guard let digit = octets[place].hexDigitValue else {
                throw Unexpected(.syntax, at: place, "expected four hexadecimal digits after \\u")
            }
            unit = unit << 4 | digit
        }
        return unit
    }

    /// Checks a sequence of two to four octets by the table of RFC 3629 section 4 (no overlong
    /// form, no surrogate, nothing past U+10FFFF) and answers its length.
    private static func multibyteCount(
        _ octets: Span<UInt8>, at index: Int
    ) throws(Unexpected) -> Int {
        let count: Int
        let second: ClosedRange<UInt8>
        switch octets[index] {
        case 0xC2...0xDF: (count, second) = (2, 0x80...0xBF)
        case 0xE0: (count, second) = (3, 0xA0...0xBF)
        case 0xE1...0xEC, 0xEE, 0xEF: (count, second) = (3, 0x80...0xBF)
        case 0xED: (count, second) = (3, 0x80...0x9F)
        case 0xF0: (count, second) = (4, 0x90...0xBF)
        case 0xF1...0xF3: (count, second) = (4, 0x80...0xBF)
        case 0xF4: (count, second) = (4, 0x80...0x8F)
        default: throw Unexpected(.invalidUTF8, at: index, "expected UTF-8")
        }
        guard index + count <= octets.count, second ~= octets[index + 1],
            count < 3 || 0x80...0xBF ~= octets[index + 2],
            count < 4 || 0x80...0xBF ~= octets[index + 3]
        else { throw Unexpected(.invalidUTF8, at: index, "expected UTF-8") }
        return count
    }
}
