/// A number by the grammar of RFC 8259 section 6, taken apart without losing a digit.
///
/// Its value is `digits` (whole and fraction run together, the point left out) × 10^`scale`, and
/// its sign.
struct NumberLiteral {
    let isNegative: Bool

    /// Where the whole part's digits and the fraction's stand; the fraction may be empty.
    let whole: Range<Int>
    let fraction: Range<Int>

    /// The power of ten that is written out, held within ±2^40, past any document's length.
    let exponent: Int

    /// True for digits alone: no point, no exponent.
    let isPlain: Bool

    /// Behind the last octet.
    let end: Int

    /// Scans the number that starts at `start`.
    ///
    /// - Throws: `syntax`.
    init(_ octets: Span<UInt8>, from start: Int) throws(Unexpected) {
        isNegative = Self.has("-", octets, start)
        let first = isNegative ? start + 1 : start
        whole = try Self.digits(octets, from: first, "expected a digit")
        if whole.count > 1, octets[first] == UInt8(ascii: "0") {
            throw Unexpected(.syntax, at: first, "expected no zero before a number's first digit")
        }
        var offset = whole.upperBound
        let octet = offset < octets.count ? octets[offset] : 0
        if octet != UInt8(ascii: "."), octet | 0x20 != UInt8(ascii: "e") {
            (fraction, exponent, isPlain, end) = (offset..<offset, 0, true, offset)
            return
        }
        isPlain = false
        if octet == UInt8(ascii: ".") {
            fraction = try Self.digits(
                octets, from: offset + 1, "expected a digit after the decimal point")
            offset = fraction.upperBound
        } else {
            fraction = offset..<offset
        }
        (exponent, end) = try Self.exponent(octets, from: offset)
    }

    /// The exponent that may begin at `start`, and the offset behind it.
    private static func exponent(
        _ octets: Span<UInt8>, from start: Int
    ) throws(Unexpected) -> (value: Int, end: Int) {
        guard has("e", octets, start) || has("E", octets, start) else { return (0, start) }
        let isNegative = has("-", octets, start + 1)
        let isSigned = isNegative || has("+", octets, start + 1)
        let digits = try digits(
            octets, from: start + (isSigned ? 2 : 1), "expected a digit in the exponent")
        var value = 0
        for index in digits { value = min(value * 10 + digit(octets[index]), 1 << 40) }
        return (isNegative ? -value : value, digits.upperBound)
    }

    @inline(__always)
    private static func has(
        _ character: Unicode.Scalar, _ octets: Span<UInt8>, _ index: Int
    ) -> Bool {
        index < octets.count && octets[index] == UInt8(ascii: character)
    }

    /// The run of one or more digits from `start` on.
    @inline(__always)
    private static func digits(
        _ octets: Span<UInt8>, from start: Int, _ message: String
    ) throws(Unexpected) -> Range<Int> {
        var index = start
        while index < octets.count, octets[index] &- UInt8(ascii: "0") < 10 { index += 1 }
        guard index > start else {
            throw start < octets.count ? Unexpected(.syntax, at: start, message) : .end(octets)
        }
        return start..<index
    }

    @inline(__always)
    private static func digit(_ octet: UInt8) -> Int { Int(octet &- UInt8(ascii: "0")) }
}

// MARK: - Values

extension NumberLiteral {
    /// What an integer literal comes to.
    enum Integer: Equatable {
        case exact(Int)
        case fractional
        case overflow
    }

    /// The exact integer: `1`, `1.0` and `1e2` are integers, `1.5` and `1e-1` are not.
    @inline(__always)
    func integer(in bytes: [UInt8]) -> Integer {
        guard isPlain, whole.count <= 18 else { return scaledInteger(in: bytes) }
        var value = 0  // below 10^18, so nothing overflows
        for index in whole { value = value &* 10 &+ Self.digit(bytes[index]) }
        return .exact(isNegative ? -value : value)
    }

    @inline(never)
    private func scaledInteger(in bytes: [UInt8]) -> Integer {
        let digits = significantDigits(in: bytes)
        if digits.isEmpty { return .exact(0) }
        let zeros = digits.reversed().prefix { $0 == 0 }.count
        let scale = exponent - fraction.count
        guard scale + zeros >= 0 else { return .fractional }
        guard digits.count + scale <= 19 else { return .overflow }  // Int.max has 19 digits
        var value = 0
        for place in 0..<(digits.count + scale) {
            let digit = place < digits.count ? Int(digits[place]) : 0
            let (shifted, overflowed) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = shifted.addingReportingOverflow(isNegative ? -digit : digit)
            if overflowed || carried { return .overflow }
            value = sum
        }
        return .exact(value)
    }

    /// The nearest double (ties to even), infinite where none is near enough.
    func double(in bytes: [UInt8]) -> Double {
        let digits = whole.count + fraction.count
        let scale = exponent - fraction.count
        if digits <= 15, -22...22 ~= scale {
            // Both numbers are exact doubles, so one rounding gives the nearest (Clinger 1990).
            var mantissa = 0
            for index in whole { mantissa = mantissa * 10 + Self.digit(bytes[index]) }
            for index in fraction { mantissa = mantissa * 10 + Self.digit(bytes[index]) }
            let power = Self.powersOfTen[abs(scale)]
            let value = scale < 0 ? Double(mantissa) / power : Double(mantissa) * power
            return isNegative ? -value : value
        }
        let text = Self.text(bytes[whole], bytes[fraction], exponent: exponent)
        let value = Double(text) ?? .nan
        return isNegative ? -value : value
    }

    private static func text(
        _ whole: ArraySlice<UInt8>, _ fraction: ArraySlice<UInt8>, exponent: Int
    ) -> String {
        let point = fraction.isEmpty ? "" : "."
        return String(decoding: whole, as: UTF8.self) + point
            + String(decoding: fraction, as: UTF8.self) + "e\(exponent)"
    }

    /// The digits' values from the first that is not zero on.
    private func significantDigits(in bytes: [UInt8]) -> [UInt8] {
        let digits = bytes[whole] + bytes[fraction]
        return digits.drop { $0 == UInt8(ascii: "0") }.map { $0 - UInt8(ascii: "0") }
    }

    /// 10^0 to 10^22, the powers that a double holds exactly.
    private static let powersOfTen: [Double] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
        1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    ]
}
