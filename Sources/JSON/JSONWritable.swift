/// A value that can be written into a document.
package protocol JSONWritable {
    /// Writes exactly one value.
    func write(to writer: inout JSONWriter)
}

extension JSONWritable {
    /// The value as a document of its own.
    package func encoded(capacity: Int = 256) -> [UInt8] {
        var writer = JSONWriter(capacity: capacity)
        write(to: &writer)
        return writer.bytes
    }
}

extension String: JSONWritable {
    package func write(to writer: inout JSONWriter) { writer.string(self) }
}

extension Bool: JSONWritable {
    package func write(to writer: inout JSONWriter) { writer.literal(self ? "true" : "false") }
}

extension FixedWidthInteger where Self: JSONWritable {
    package func write(to writer: inout JSONWriter) {
        writer.integer(isNegative: self < 0, magnitude: UInt64(magnitude))
    }
}

extension Int: JSONWritable {}
extension Int32: JSONWritable {}
extension Int64: JSONWritable {}
extension UInt64: JSONWritable {}

extension Double: JSONWritable {
    /// The shortest text that reads back as the same double; `null` for infinities and what is not
    /// a number, which JSON cannot say (RFC 8259 section 6).
    package func write(to writer: inout JSONWriter) {
        if isFinite { writer.literal(description) } else { writer.null() }
    }
}

extension Array: JSONWritable where Element: JSONWritable {
    package func write(to writer: inout JSONWriter) {
        writer.array { writer in
            for element in self { writer.value(element) }
        }
    }
}

extension JSONNumber: JSONWritable {
    package func write(to writer: inout JSONWriter) { writer.literal(text) }
}

extension JSONValue: JSONWritable {
    package func write(to writer: inout JSONWriter) {
        switch self {
        case .null: writer.null()
        case .bool(let value): writer.value(value)
        case .number(let value): writer.value(value)
        case .string(let value): writer.value(value)
        case .array(let elements): writer.value(elements)
        case .object(let members):
            writer.object { writer in
                for member in members { writer.member(member.name, member.value) }
            }
        }
    }
}
