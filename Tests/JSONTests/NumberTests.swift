import JSON
import TestSupport
import Testing

@Suite(.proves("H2")) struct `A JSON number` {
    @Test(arguments: [
        ("0", 0), ("-0", 0), ("7", 7), ("-7", -7), ("0.0", 0), ("-0.0e5", 0), ("0e1", 0),
        ("0E-999", 0), ("0e99999999999999999999", 0), ("1.0", 1), ("1e2", 100), ("1E+2", 100),
        ("100e-2", 1), ("1.50e1", 15), ("123456789012345678", 123_456_789_012_345_678),
        ("9223372036854775807", Int.max), ("-9223372036854775808", Int.min),
        ("9223372036854775807.000", Int.max), ("-9.223372036854775808e18", Int.min),
        ("92233720368547758070e-1", Int.max), ("1000000000000000000", 1_000_000_000_000_000_000),
        ("0.00000000000000000001e20", 1), ("10000000000000000000000000e-25", 1),
    ])
    func `is an integer if its value is one`(_ literal: String, _ value: Int) throws {
        #expect(try integer(literal) == value)
        #expect(try number(literal)?.int == value)
    }

    @Test(arguments: ["1.5", "-0.1", "1e-1", "15e-1", "0.1e0", "1e-99999999999999999999"])
    func `is no integer if it has a fraction`(_ literal: String) throws {
        #expect(throws: JSONError.self) { try integer(literal) }
        #expect(refusal(of: literal, integer)?.code == .type)
        #expect(try number(literal)?.int == nil)
    }

    @Test(arguments: [
        "9223372036854775808", "-9223372036854775809", "1e19", "1e400", "-1e400",
        "99999999999999999999", "1e99999999999999999999", "92233720368547758080e-1",
    ])
    func `is refused as an integer if Int does not hold it`(_ literal: String) throws {
        #expect(refusal(of: literal, integer)?.code == .range)
        #expect(try number(literal)?.int == nil)
    }

    @Test func `is held to the range that its reader gives`() {
        func error(_ literal: String) -> JSONError? {
            refusal(of: literal) { reader throws(JSONError) in _ = try reader.readInt(in: 1...5) }
        }
        #expect(error("1") == nil)
        #expect(error("5.0") == nil)
        #expect(error("0")?.code == .range)
        #expect(error("6")?.code == .range)
        #expect(error("6")?.message == "expected an integer from 1 to 5")
        #expect(error("\"1\"")?.code == .type)
        #expect(error("null")?.code == .type)
    }

    @Test(arguments: [
        "0", "-0", "1", "0.1", "-2.5", "1e22", "1e23", "1e-22", "1e-23", "123456789012345",
        "1234567890123456", "9007199254740993", "5e-324", "2.2250738585072011e-308", "1e-400",
        "1.7976931348623157e308", "0.1e1", "123e-2", "3.14159265358979323846264338327950288",
        "100000000000000000000000000000000000000000000000000000000000e-59",
    ])
    func `reads as the nearest double`(_ literal: String) throws {
        var reader = JSONReader(ascii: literal)
        let value = try reader.readDouble()
        let expected = try #require(Double(literal))
        #expect(value.bitPattern == expected.bitPattern)
    }

    @Test func `is refused as a double past the largest`() throws {
        for literal in ["1e400", "-1e400", "1.8e308", "1e99999999999999999999"] {
            let error = refusal(of: literal) { reader throws(JSONError) in
                _ = try reader.readDouble()
            }
            #expect(error?.code == .range)
            #expect(try number(literal)?.double == nil)
        }
    }

    @Test func `keeps every digit where it is only passed on`() throws {
        let literal = "-12345678901234567890.12345678901234567890E+0400"
        let value = try read("[\(literal)]")
        #expect(text(value.encoded()) == "[\(literal)]")
    }

    @Test func `is bounded in length`() {
        let limits = JSONLimits(maxNumberBytes: 10)
        #expect(refusal("1234567890", limits: limits) == nil)
        #expect(refusal("12345678901", limits: limits)?.code == .length)
        #expect(refusal("1.23456e01", limits: limits) == nil)
    }

    @Test func `agrees with slow exact arithmetic on random literals`() throws {
        var random = SeededGenerator(seed: 1)
        for _ in 0..<20_000 {
            let literal = randomLiteral(&random)
            let expected = slowInteger(literal)
            #expect(try number(literal)?.int == expected, "\(literal)")
            var reader = JSONReader(ascii: literal)
            #expect(try reader.readDouble().bitPattern == Double(literal)?.bitPattern, "\(literal)")
        }
    }

    // MARK: Helpers

    private func integer(_ literal: String) throws(JSONError) -> Int {
        var reader = JSONReader(ascii: literal)
        let value = try reader.readInt(in: .min ... .max)
        try reader.finish()
        return value
    }

    private func integer(_ reader: inout JSONReader) throws(JSONError) {
        _ = try reader.readInt(in: .min ... .max)
    }

    private func number(_ literal: String) throws -> JSONNumber? {
        guard case .number(let number) = try read(literal) else { return nil }
        return number
    }

    private func randomLiteral(_ random: inout SeededGenerator) -> String {
        func digits(_ count: Int) -> String {
            (0..<count).map { _ in
                String(Bool.random(using: &random) ? 0 : Int.random(in: 0...9, using: &random))
            }
            .joined()
        }
        var literal = Bool.random(using: &random) ? "-" : ""
        literal +=
            Int.random(in: 0...4, using: &random) == 0
            ? "0"
            : "\(Int.random(in: 1...9, using: &random))"
                + digits(.random(in: 0...21, using: &random))
        if Bool.random(using: &random) {
            literal += "." + digits(.random(in: 1...8, using: &random))
        }
        if Bool.random(using: &random) {
            literal += ["e", "E", "e+", "e-"].randomElement(using: &random) ?? "e"
            literal += String(Int.random(in: 0...25, using: &random))
        }
        return literal
    }

    /// Shifts the decimal point by hand in the text, then lets the standard library read it.
    private func slowInteger(_ literal: String) -> Int? {
        let sign = literal.hasPrefix("-") ? "-" : ""
        let parts = literal.dropFirst(sign.count).lowercased().split(separator: "e")
        let mantissa = parts[0].split(separator: ".")
        var whole = String(mantissa[0])
        var fraction = mantissa.count > 1 ? String(mantissa[1]) : ""
        let exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
        for _ in 0..<max(0, exponent) {
            whole.append(fraction.isEmpty ? "0" : fraction.removeFirst())
        }
        for _ in 0..<max(0, -exponent) {
            fraction = String(whole.popLast() ?? "0") + fraction
        }
        guard fraction.allSatisfy({ $0 == "0" }) else { return nil }
        return Int(sign + (whole.isEmpty ? "0" : whole))
    }
}

extension JSONReader {
    fileprivate init(ascii text: String) { self.init([UInt8](text.utf8)) }
}
