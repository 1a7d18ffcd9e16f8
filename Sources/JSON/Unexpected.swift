/// What a scanner of one literal refuses: the reader makes a `JSONError` of it by adding the
/// pointer, which a scanner does not know.
struct Unexpected: Error {
    let code: JSONError.Code
    let offset: Int
    let message: String

    @inline(never)
    init(_ code: JSONError.Code, at offset: Int, _ message: String) {
        self.code = code
        self.offset = offset
        self.message = message
    }

    /// The document ends inside the literal.
    static func end(_ octets: Span<UInt8>) -> Unexpected {
        Unexpected(.syntax, at: octets.count, "expected more, the document ends here")
    }
}

extension UInt8 {
    /// The value of a hexadecimal digit in ASCII.
    var hexDigitValue: UInt32? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(self - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(self - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(self - UInt8(ascii: "A") + 10)
        default: nil
        }
    }
}
