extension JSONReader {
    /// Takes a string of at most `maxBytes` octets of UTF-8, unescaped.
    ///
    /// - Throws: `type` for another kind, `length`, `syntax`, `invalidUTF8`.
    package mutating func readString(maxBytes: Int) throws(JSONError) -> String {
        guard try startValue() == UInt8(ascii: "\"") else { throw mismatch("a string") }
        let literal = try scanString()
        guard literal.count <= maxBytes else {
            throw failure(.length, "expected a string of at most \(maxBytes) bytes")
        }
        guard literal.hasEscapes else {
            return String(decoding: bytes[literal.range], as: UTF8.self)
        }
        return String(decoding: Unescaped(bytes[literal.range]).bytes, as: UTF8.self)
    }

    /// Moves past a string whose opening quote is next, checking all of it.
    @inline(__always)
    mutating func scanString() throws(JSONError) -> StringLiteral {
        do throws(Unexpected) {
            let literal = try StringLiteral(bytes.span, from: offset + 1)
            offset = literal.range.upperBound + 1
            return literal
        } catch {
            throw refusal(error)
        }
    }
}
