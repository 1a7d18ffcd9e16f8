extension JSONReader {
    /// Moves past one value of any kind, checking all of it as `readValue` does.
    package mutating func skip() throws(JSONError) {
        switch try peek() {
        case .null: try take("null")
        case .bool: _ = try readBool()
        case .number: _ = try scanNumber()
        case .string:
            try checkLength(of: scanString())
        case .array:
            try readArray(maxCount: limits.maxElements) { _, reader throws(JSONError) in
                try reader.skip()
            }
        case .object:
            try readObject { _, reader throws(JSONError) in try reader.skip() }
        }
    }

    /// Takes one value of any kind as it stands, checked but not taken apart.
    package mutating func readEncoded() throws(JSONError) -> [UInt8] {
        _ = try startValue()
        let start = offset
        try skip()
        return Array(bytes[start..<offset])
    }

    /// Takes one value of any kind, whole.
    package mutating func readValue() throws(JSONError) -> JSONValue {
        switch try peek() {
        case .null:
            try take("null")
            return .null
        case .bool: return .bool(try readBool())
        case .number: return .number(try readNumber())
        case .string: return .string(try readString(maxBytes: limits.maxStringBytes))
        case .array:
            var elements: [JSONValue] = []
            try readArray(maxCount: limits.maxElements) { _, reader throws(JSONError) in
                elements.append(try reader.readValue())
            }
            return .array(elements)
        case .object:
            var members: [JSONMember] = []
            try readObject { key, reader throws(JSONError) in
                members.append(JSONMember(name: key.string, value: try reader.readValue()))
            }
            return .object(members)
        }
    }

    private func checkLength(of literal: StringLiteral) throws(JSONError) {
        guard literal.count <= limits.maxStringBytes else {
            throw failure(
                .length, "expected a string of at most \(limits.maxStringBytes) bytes")
        }
    }
}

/// A value that can be read from a document.
package protocol JSONReadable {
    /// Takes one whole value from `reader`.
    init(from reader: inout JSONReader) throws(JSONError)
}

extension JSONReader {
    /// Reads a whole document as one value: nothing but white space may stand around it.
    package static func decode<Value: JSONReadable>(
        _: Value.Type = Value.self,
        from bytes: [UInt8],
        limits: JSONLimits = .default
    ) throws(JSONError) -> Value {
        var reader = JSONReader(bytes, limits: limits)
        let value = try Value(from: &reader)
        try reader.finish()
        return value
    }
}

extension JSONValue: JSONReadable {
    package init(from reader: inout JSONReader) throws(JSONError) {
        self = try reader.readValue()
    }
}
