/// Writes one document, front to back, into an array of octets.
///
/// What comes out is JSON whatever goes in: UTF-8, with only those escapes that RFC 8259 section 7
/// demands (`"`, `\` and control characters), no white space, commas by itself. Only a call out of
/// place (a second root, a member outside an object) stops the process: our own mistake, never the
/// data's. That an object's names differ from each other is up to the caller.
///
/// ```swift
/// var writer = JSONWriter()
/// writer.object { writer in
///     writer.member("operation", operation)
///     writer.member("retryAfterMs", ifPresent: wait)
///     writer.array("limits") { writer in
///         for limit in limits { writer.value(limit) }
///     }
/// }
/// return writer.bytes
/// ```
package struct JSONWriter {
    package private(set) var bytes: [UInt8]

    /// What may be written next.
    private enum Place {
        case root, firstElement, element, firstMember, member, memberValue, end
    }

    private var place = Place.root

    package init(capacity: Int = 256) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    /// Writes an object whose members `members` writes.
    package mutating func object(_ members: (inout JSONWriter) -> Void) {
        let after = startValue()
        bytes.append(UInt8(ascii: "{"))
        place = .firstMember
        members(&self)
        precondition(place == .firstMember || place == .member, "an object holds members only")
        bytes.append(UInt8(ascii: "}"))
        place = after
    }

    /// Writes an array whose elements `elements` writes.
    package mutating func array(_ elements: (inout JSONWriter) -> Void) {
        let after = startValue()
        bytes.append(UInt8(ascii: "["))
        place = .firstElement
        elements(&self)
        precondition(place == .firstElement || place == .element, "an array holds values only")
        bytes.append(UInt8(ascii: "]"))
        place = after
    }

    /// Writes one value: the root, or an array's next element.
    package mutating func value<Value: JSONWritable>(_ value: Value) { value.write(to: &self) }

    package mutating func null() { literal("null") }

    /// Writes a value that is encoded already: `encoded` has to be one whole JSON value.
    package mutating func raw(_ encoded: [UInt8]) {
        let after = startValue()
        bytes.append(contentsOf: encoded)
        place = after
    }
}

// MARK: - Members

extension JSONWriter {
    package mutating func member<Value: JSONWritable>(_ name: String, _ value: Value) {
        startMember(name)
        value.write(to: &self)
    }

    /// Writes the member unless `value` is nil.
    package mutating func member<Value: JSONWritable>(_ name: String, ifPresent value: Value?) {
        if let value { member(name, value) }
    }

    /// Writes the member, with `null` for nil.
    package mutating func member<Value: JSONWritable>(_ name: String, orNull value: Value?) {
        startMember(name)
        if let value { value.write(to: &self) } else { null() }
    }

    /// Writes a member that is encoded already: `encoded` has to be one whole JSON value.
    package mutating func member(_ name: String, raw encoded: [UInt8]) {
        startMember(name)
        raw(encoded)
    }

    /// Writes a member that is an object.
    package mutating func object(_ name: String, _ members: (inout JSONWriter) -> Void) {
        startMember(name)
        object(members)
    }

    /// Writes a member that is an array.
    package mutating func array(_ name: String, _ elements: (inout JSONWriter) -> Void) {
        startMember(name)
        array(elements)
    }

    /// Writes a member's name and colon; its value has to be the next thing written.
    package mutating func startMember(_ name: String) {
        switch place {
        case .firstMember: append(quoted: name, after: UInt8(ascii: ":"))
        case .member: append(quoted: name, before: UInt8(ascii: ","), after: UInt8(ascii: ":"))
        default: preconditionFailure("a member stands in an object")
        }
        place = .memberValue
    }
}

// MARK: - Scalars

extension JSONWriter {
    mutating func string(_ text: String) {
        let after = startValue()
        append(quoted: text)
        place = after
    }

    /// Writes text that is a JSON value as it stands.
    mutating func literal(_ text: String) {
        let after = startValue()
        bytes.append(contentsOf: text.utf8)
        place = after
    }

    /// Writes an integer in decimal.
    mutating func integer(isNegative: Bool, magnitude: UInt64) {
        let after = startValue()
        var digits = InlineArray<20, UInt8>(repeating: 0)  // UInt64.max has 20
        var start = 20
        var rest = magnitude
        repeat {
            start -= 1
            digits[start] = UInt8(truncatingIfNeeded: rest % 10) + UInt8(ascii: "0")
            rest /= 10
        } while rest > 0
        bytes.append(addingCapacity: 21 - start) { output in
            if isNegative { output.append(UInt8(ascii: "-")) }
            for index in start..<20 { output.append(digits[index]) }
        }
        place = after
    }

    /// Puts a comma before a value if it needs one; answers the place behind the value.
    @inline(__always)
    private mutating func startValue() -> Place {
        switch place {
        case .root: return .end
        case .memberValue: return .member
        case .firstElement: return .element
        case .element:
            bytes.append(UInt8(ascii: ","))
            return .element
        case .firstMember, .member: preconditionFailure("a value in an object needs a name")
        case .end: preconditionFailure("a document has one root")
        }
    }
}

// MARK: - Strings

extension JSONWriter {
    /// Appends a string in quotes, and the octets that stand before and after it, in one go: the
    /// array is checked for room once instead of once an octet.
    private mutating func append(quoted text: String, before: UInt8? = nil, after: UInt8? = nil) {
        let octets = text.utf8.span
        var plainCount = 0
        bytes.append(addingCapacity: octets.count + 4) { output in
            if let before { output.append(before) }
            output.append(UInt8(ascii: "\""))
            while plainCount < octets.count, octets[plainCount].isPlainInString {
                output.append(octets[plainCount])
                plainCount += 1
            }
            guard plainCount == octets.count else { return }
            output.append(UInt8(ascii: "\""))
            if let after { output.append(after) }
        }
        guard plainCount < octets.count else { return }
        append(escaping: text.utf8.dropFirst(plainCount))
        bytes.append(UInt8(ascii: "\""))
        if let after { bytes.append(after) }
    }

    private mutating func append(escaping octets: Substring.UTF8View) {
        for octet in octets {
            switch octet {
            case _ where octet.isPlainInString: bytes.append(octet)
            case UInt8(ascii: "\""): bytes.append(contentsOf: #"\""#.utf8)
            case UInt8(ascii: "\\"): bytes.append(contentsOf: #"\\"#.utf8)
            case 0x08: bytes.append(contentsOf: #"\b"#.utf8)
            case 0x09: bytes.append(contentsOf: #"\t"#.utf8)
            case 0x0A: bytes.append(contentsOf: #"\n"#.utf8)
            case 0x0C: bytes.append(contentsOf: #"\f"#.utf8)
            case 0x0D: bytes.append(contentsOf: #"\r"#.utf8)
            default:
                bytes.append(contentsOf: octet < 0x10 ? #"\u000"#.utf8 : #"\u00"#.utf8)
                bytes.append(contentsOf: String(octet, radix: 16).utf8)
            }
        }
    }
}

extension UInt8 {
    /// Whether the octet stands in a JSON string as it is (RFC 8259 section 7).
    @inline(__always)
    fileprivate var isPlainInString: Bool {
        self >= 0x20 && self != UInt8(ascii: "\"") && self != UInt8(ascii: "\\")
    }
}
