/// The text of a string literal that has been scanned, its escapes replaced (RFC 8259 section 7).
struct Unescaped {
    private(set) var bytes: ArraySlice<UInt8>

    init(_ literal: ArraySlice<UInt8>) {
        guard var offset = literal.firstIndex(of: UInt8(ascii: "\\")) else {
            bytes = literal
            return
        }
        bytes = []
        bytes.reserveCapacity(literal.count)
        bytes.append(contentsOf: literal[..<offset])
        while offset < literal.endIndex {
            let octet = literal[offset]
            offset += 1
            guard octet == UInt8(ascii: "\\"), offset < literal.endIndex else {
                bytes.append(octet)
                continue
            }
            let escape = literal[offset]
            offset += 1
            switch escape {
            case UInt8(ascii: "b"): bytes.append(0x08)
            case UInt8(ascii: "f"): bytes.append(0x0C)
            case UInt8(ascii: "n"): bytes.append(0x0A)
            case UInt8(ascii: "r"): bytes.append(0x0D)
            case UInt8(ascii: "t"): bytes.append(0x09)
            case UInt8(ascii: "u"): appendScalar(from: literal, &offset)
            default: bytes.append(escape)  // a quote, backslash or slash stands for itself
            }
        }
    }

    /// Appends what `\uXXXX` at `offset` stands for, both halves of a surrogate pair.
    private mutating func appendScalar(from literal: ArraySlice<UInt8>, _ offset: inout Int) {
        var value = Self.hex(literal[offset..<(offset + 4)]) ?? 0
        offset += 4
        if value >> 10 == 0xD800 >> 10 {
            let low = Self.hex(literal[(offset + 2)..<(offset + 6)]) ?? 0
            value = 0x10000 + (value & 0x3FF) << 10 + (low & 0x3FF)
            offset += 6
        }
        let scalar = Unicode.Scalar(value) ?? "\u{FFFD}"
        bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
    }

    /// The value of hexadecimal digits, or nil if there is another octet among them.
    private static func hex(_ digits: ArraySlice<UInt8>) -> UInt32? {
        digits.reduce(0) { value, digit in
            value.flatMap { value in digit.hexDigitValue.map { value << 4 | $0 } }
        }
    }
}
