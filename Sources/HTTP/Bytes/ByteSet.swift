/// A set of ASCII octets as two words, so that a look-up touches no memory.
struct ByteSet: Sendable {
    private let low: UInt64
    private let high: UInt64

    init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    @inline(__always) func contains(_ byte: UInt8) -> Bool {
        if byte >= 128 { return false }
        return ((byte < 64 ? low : high) &>> UInt64(byte & 63)) & 1 == 1
    }
}

// `ByteSetTests` holds each constant against the RFC's list of characters.
extension ByteSet {
    /// `tchar`, RFC 9110 section 5.6.2.
    static let token = ByteSet(low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE)
    /// `pchar`, "/" and the "%" of an escape, RFC 3986 section 3.3.
    static let path = ByteSet(low: 0x2FFF_FFF2_0000_0000, high: 0x47FF_FFFE_87FF_FFFF)
    /// `query` (RFC 3986 section 3.4) and the characters ``[]{}|^` `` that browsers leave as they are.
    static let query = ByteSet(low: 0xAFFF_FFF2_0000_0000, high: 0x7FFF_FFFF_EFFF_FFFF)
    /// `reg-name`, RFC 3986 section 3.2.2, which covers IPv4 literals; without the comma, since a list of
    /// hosts is what two readers read differently.
    static let registeredName = ByteSet(low: 0x2BFF_6FF2_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
    /// What may stand between the brackets of an `IP-literal`, RFC 3986 section 3.2.2; no comma either.
    static let bracketedAddress = ByteSet(low: 0x2FFF_6FD2_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
    /// What we accept in an `X-Request-Id`: `[A-Za-z0-9._-]`.
    static let requestID = ByteSet(low: 0x03FF_6000_0000_0000, high: 0x07FF_FFFE_87FF_FFFE)
    /// Digits of either case, RFC 5234 `HEXDIG` and RFC 9112 section 7.1.
    static let hexDigit = ByteSet(low: 0x03FF_0000_0000_0000, high: 0x0000_007E_0000_007E)
}

extension UInt8 {
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20

    @inline(__always) init(ascii scalar: Unicode.Scalar) {
        self = UInt8(truncatingIfNeeded: scalar.value)
    }

    /// `field-content` and the white space inside it: no control octet but HTAB, RFC 9110 section 5.5.
    @inline(__always) var isFieldValue: Bool { (self >= 0x20 && self != 0x7F) || self == .tab }

    @inline(__always) var isDigit: Bool { self &- 0x30 < 10 }

    @inline(__always) var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }

    /// The value of a hexadecimal digit of either case, or nil.
    @inline(__always) var hexValue: UInt8? {
        if isDigit { return self &- 0x30 }
        let letter = (self | 0x20) &- 0x61
        return letter < 6 ? letter + 10 : nil
    }
}
