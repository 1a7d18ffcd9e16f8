extension JSONReader {
    /// Takes an integer, exactly: `1`, `1.0` and `1e2` are integers, `1.5` is not.
    ///
    /// - Throws: `type` for another kind or a fraction, `range` outside `range`, `length` past
    ///   `JSONLimits.maxNumberBytes`.
    package mutating func readInt(in range: ClosedRange<Int>) throws(JSONError) -> Int {
        let literal = try startNumber("an integer")
        switch literal.integer(in: bytes) {
        case .exact(let value) where range ~= value: return value
        case .exact, .overflow:
            throw failure(
                .range, "expected an integer from \(range.lowerBound) to \(range.upperBound)")
        case .fractional: throw failure(.type, "expected an integer, found a fraction")
        }
    }

    /// Takes a number as the double that is nearest to it; -0 stays -0.
    ///
    /// - Throws: `type` for another kind, `range` past the largest double, `length` past
    ///   `JSONLimits.maxNumberBytes`.
    package mutating func readDouble() throws(JSONError) -> Double {
        let value = try startNumber("a number").double(in: bytes)
        guard value.isFinite else { throw failure(.range, "expected a number that a double holds") }
        return value
    }

    /// Takes a number as it is written.
    mutating func readNumber() throws(JSONError) -> JSONNumber {
        _ = try startNumber("a number")
        return JSONNumber(text: String(decoding: bytes[valueStart..<offset], as: UTF8.self))
    }

    /// Moves past a number and answers it taken apart.
    @inline(__always)
    private mutating func startNumber(_ expected: String) throws(JSONError) -> NumberLiteral {
        let octet = try startValue()
        guard octet == UInt8(ascii: "-") || octet &- UInt8(ascii: "0") < 10 else {
            throw mismatch(expected)
        }
        return try scanNumber()
    }

    /// Moves past the number that starts at `valueStart`.
    mutating func scanNumber() throws(JSONError) -> NumberLiteral {
        let literal: NumberLiteral
        do throws(Unexpected) {
            literal = try NumberLiteral(bytes.span, from: offset)
        } catch {
            throw refusal(error)
        }
        offset = literal.end
        guard offset - valueStart <= limits.maxNumberBytes else {
            throw failure(
                .length, "expected a number of at most \(limits.maxNumberBytes) bytes")
        }
        return literal
    }
}
