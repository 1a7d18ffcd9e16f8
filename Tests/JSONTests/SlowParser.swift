import JSON

/// A second JSON parser to hold the first one against.
///
/// Recursive descent over Unicode scalars, every rule where RFC 8259 has it, no thought of speed;
/// it reads text without `JSONReader` and its scanners.
struct SlowParser {
    private struct Refused: Error {}

    private var rest: ArraySlice<Unicode.Scalar>
    private var depth = 0

    /// The document's value, nil if it has to be refused under the default limits.
    static func parse(_ bytes: [UInt8]) -> JSONValue? {
        let limits = JSONLimits.default
        guard bytes.count <= limits.maxBytes,
            let text = String(validating: bytes, as: UTF8.self)
        else { return nil }
        var parser = SlowParser(rest: Array(text.unicodeScalars)[...])
        parser.space()
        guard let value = try? parser.value() else { return nil }
        parser.space()
        return parser.rest.isEmpty ? value : nil
    }

    private mutating func value() throws -> JSONValue {
        switch rest.first {
        case "{": return try object()
        case "[": return try array()
        case "\"": return .string(try string())
        case "t": return try literal("true", .bool(true))
        case "f": return try literal("false", .bool(false))
        case "n": return try literal("null", .null)
        default: return try number()
        }
    }

    private mutating func object() throws -> JSONValue {
        var members: [JSONMember] = []
        try enter("{")
        while rest.first != "}" {
            if !members.isEmpty { try comma() }
            let name = try string()
            space()
            try take(":")
            space()
            members.append(JSONMember(name: name, value: try value()))
            space()
        }
        try leave("}")
        let names = Set(members.map { Array($0.name.unicodeScalars) })
        guard names.count == members.count, members.count <= JSONLimits.default.maxMembers
        else { throw Refused() }
        return .object(members)
    }

    private mutating func array() throws -> JSONValue {
        var elements: [JSONValue] = []
        try enter("[")
        while rest.first != "]" {
            if !elements.isEmpty { try comma() }
            elements.append(try value())
            space()
        }
        try leave("]")
        return .array(elements)
    }

    private mutating func string() throws -> String {
        var units: [UInt16] = []
        try take("\"")
        while let scalar = rest.popFirst() {
            switch scalar {
            case "\"":
                guard let text = String(validating: units, as: UTF16.self),
                    text.utf8.count <= JSONLimits.default.maxStringBytes
                else { throw Refused() }
                return text
            case "\\": units.append(try escape())
            case "\u{0}"..."\u{1F}": throw Refused()
            default: units.append(contentsOf: String(scalar).utf16)
            }
        }
        throw Refused()
    }

    private mutating func escape() throws -> UInt16 {
        let named: [Unicode.Scalar: UInt16] = [
            "\"": 0x22, "\\": 0x5C, "/": 0x2F, "b": 0x08, "f": 0x0C, "n": 0x0A, "r": 0x0D,
            "t": 0x09,
        ]
        guard let scalar = rest.popFirst() else { throw Refused() }
        if let unit = named[scalar] { return unit }
        let digits = String(String.UnicodeScalarView(rest.prefix(4)))
        rest = rest.dropFirst(4)
        guard scalar == "u", digits.utf8.count == 4, digits.allSatisfy(\.isHexDigit),
            digits.allSatisfy(\.isASCII), let unit = UInt16(digits, radix: 16)
        else { throw Refused() }
        return unit
    }

    private mutating func number() throws -> JSONValue {
        let characters = rest.prefix { "+-.eE0123456789".unicodeScalars.contains($0) }
        rest = rest.dropFirst(characters.count)
        let text = String(String.UnicodeScalarView(characters))
        guard text.wholeMatch(of: /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+\-]?[0-9]+)?/) != nil,
            text.utf8.count <= JSONLimits.default.maxNumberBytes,
            let number = JSONNumber(text)
        else { throw Refused() }
        return .number(number)
    }

    // MARK: Tokens

    private mutating func literal(_ name: String, _ value: JSONValue) throws -> JSONValue {
        for scalar in name.unicodeScalars { try take(scalar) }
        return value
    }

    private mutating func enter(_ bracket: Unicode.Scalar) throws {
        try take(bracket)
        depth += 1
        guard depth <= JSONLimits.default.maxDepth else { throw Refused() }
        space()
    }

    private mutating func leave(_ bracket: Unicode.Scalar) throws {
        try take(bracket)
        depth -= 1
    }

    private mutating func comma() throws {
        try take(",")
        space()
    }

    private mutating func take(_ scalar: Unicode.Scalar) throws {
        guard rest.popFirst() == scalar else { throw Refused() }
    }

    private mutating func space() {
        rest = rest.drop { [" ", "\t", "\n", "\r"].contains($0) }
    }
}
