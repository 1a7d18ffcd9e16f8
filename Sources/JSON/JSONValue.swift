/// A document of unknown shape, held so that writing it again gives the same document.
///
/// Equal only if octet for octet the same once white space and escapes are put aside: members in
/// the same order, numbers written alike (`1` is not `1.0`), strings of the same scalars.
package enum JSONValue: Sendable {
    case null
    case bool(Bool)
    case number(JSONNumber)
    case string(String)
    case array([JSONValue])
    case object([JSONMember])

    /// The member of that name, nil where there is none or where this is no object.
    package subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
    }
}

/// A name with its value, one of an object's.
package struct JSONMember: Sendable {
    package let name: String
    package let value: JSONValue

    package init(name: String, value: JSONValue) {
        self.name = name
        self.value = value
    }
}

/// A number as its sender wrote it, of any size and precision.
package struct JSONNumber: Hashable, Sendable {
    /// A literal by RFC 8259 section 6.
    package let text: String

    init(text: String) { self.text = text }

    /// A literal by RFC 8259 section 6, nil for any other text.
    package init?(_ text: String) {
        let bytes = [UInt8](text.utf8)
        guard let literal = try? NumberLiteral(bytes.span, from: 0), literal.end == bytes.count
        else { return nil }
        self.text = text
    }

    package init(_ value: Int) { text = String(value) }

    /// The exact integer, nil for a fraction or what `Int` does not hold.
    package var int: Int? {
        guard case .exact(let value)? = literal({ $0.integer(in: $1) }) else { return nil }
        return value
    }

    /// The nearest double, nil past the largest one.
    package var double: Double? {
        literal { $0.double(in: $1) }.flatMap { $0.isFinite ? $0 : nil }
    }

    private func literal<Value>(_ read: (NumberLiteral, [UInt8]) -> Value) -> Value? {
        let bytes = [UInt8](text.utf8)
        guard let literal = try? NumberLiteral(bytes.span, from: 0) else { return nil }
        return read(literal, bytes)
    }
}

// MARK: - Equality by scalars

// `String` equates canonically equivalent texts, which RFC 8259 section 8.3 does not.
extension JSONValue: Hashable {
    package static func == (a: JSONValue, b: JSONValue) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.number(let a), .number(let b)): a == b
        case (.string(let a), .string(let b)): a.utf8.elementsEqual(b.utf8)
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)): a == b
        default: false
        }
    }

    package func hash(into hasher: inout Hasher) {
        switch self {
        case .null: hasher.combine(0)
        case .bool(let value): hasher.combine(value)
        case .number(let value): hasher.combine(value)
        case .string(let value): hasher.combine(scalarsOf: value)
        case .array(let elements): hasher.combine(elements)
        case .object(let members): hasher.combine(members)
        }
    }
}

extension JSONMember: Hashable {
    package static func == (a: JSONMember, b: JSONMember) -> Bool {
        a.name.utf8.elementsEqual(b.name.utf8) && a.value == b.value
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(scalarsOf: name)
        hasher.combine(value)
    }
}

extension Hasher {
    fileprivate mutating func combine(scalarsOf text: String) {
        for octet in text.utf8 { combine(octet) }
        combine(UInt8.max)  // in no UTF-8: ends the text
    }
}
