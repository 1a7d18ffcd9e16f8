/// A value of a Structured Field, RFC 9651 section 3.3: what we send or read of them.
package enum StructuredValue: Hashable, Sendable {
    /// 15 digits at most.
    case integer(Int64)
    /// Printable ASCII.
    case string(String)
    case token(String)
    case bytes([UInt8])
    case boolean(Bool)
    /// Seconds since 1970, as an integer of 15 digits at most.
    case date(Int64)
}

/// A value with its parameters, in order.
package struct StructuredItem: Hashable, Sendable {
    package var value: StructuredValue
    package var parameters: [Parameter]

    package struct Parameter: Hashable, Sendable {
        package var key: String
        package var value: StructuredValue

        package init(_ key: String, _ value: StructuredValue) {
            self.key = key
            self.value = value
        }
    }

    package init(_ value: StructuredValue, _ parameters: [Parameter] = []) {
        self.value = value
        self.parameters = parameters
    }
}

// MARK: - Serializing, RFC 9651 section 4.1

extension StructuredItem {
    /// Nil if a value does not have the form of its type, e.g. a string that is not ASCII.
    package var text: String? {
        guard var text = value.text else { return nil }
        for parameter in parameters {
            guard StructuredValue.isKey(parameter.key), let value = parameter.value.text else {
                return nil
            }
            text += ";" + parameter.key
            // A parameter that is true is its key alone, section 4.1.1.2.
            if parameter.value != .boolean(true) { text += "=" + value }
        }
        return text
    }
}

extension [StructuredItem] {
    /// A list; nil if an item cannot be written, or if there is none: an empty list is a field that
    /// is not sent (section 3.1).
    package var structuredText: String? {
        var texts: [String] = []
        for item in self {
            guard let text = item.text else { return nil }
            texts.append(text)
        }
        return texts.isEmpty ? nil : texts.joined(separator: ", ")
    }
}

extension StructuredValue {
    var text: String? {
        switch self {
        case .integer(let number): Self.isInteger(number) ? String(number) : nil
        case .date(let seconds): Self.isInteger(seconds) ? "@\(seconds)" : nil
        case .boolean(let flag): flag ? "?1" : "?0"
        case .token(let token): Self.isToken(token) ? token : nil
        case .bytes(let bytes): ":\(base64(bytes)):"
        case .string(let text): Self.quoted(text)
        }
    }

    private static func isInteger(_ number: Int64) -> Bool {
        (-999_999_999_999_999...999_999_999_999_999).contains(number)
    }

    private static func quoted(_ text: String) -> String? {
        var quoted: [UInt8] = [UInt8(ascii: "\"")]
        for byte in text.utf8 {
            guard (0x20..<0x7F).contains(byte) else { return nil }
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                quoted.append(UInt8(ascii: "\\"))
            }
            quoted.append(byte)
        }
        quoted.append(UInt8(ascii: "\""))
        return String(decoding: quoted, as: UTF8.self)
    }

    /// `( ALPHA / "*" ) *( tchar / ":" / "/" )`, section 3.3.4.
    private static func isToken(_ text: String) -> Bool {
        guard let first = text.utf8.first else { return false }
        let isLetter = (first | 0x20) &- UInt8(ascii: "a") < 26
        return (isLetter || first == UInt8(ascii: "*"))
            && text.utf8.allSatisfy {
                ByteSet.token.contains($0) || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "/")
            }
    }

    /// `( lcalpha / "*" ) *( lcalpha / DIGIT / "_" / "-" / "." / "*" )`, section 3.1.2.
    fileprivate static func isKey(_ text: String) -> Bool {
        guard let first = text.utf8.first, isLowerCase(first) || first == UInt8(ascii: "*") else {
            return false
        }
        return text.utf8.allSatisfy { isLowerCase($0) || $0.isDigit || "_-.*".utf8.contains($0) }
    }

    private static func isLowerCase(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "a") < 26 }
}

// MARK: - Reading

extension StructuredValue {
    /// Reads a String (section 4.2.5) that is the whole of a field's value, without parameters.
    package static func string(in text: String) -> String? {
        var rest = text.utf8[...]
        guard rest.popFirst() == UInt8(ascii: "\"") else { return nil }
        var value: [UInt8] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""):
                return rest.isEmpty ? String(decoding: value, as: UTF8.self) : nil
            case UInt8(ascii: "\\"):
                guard let next = rest.popFirst(),
                    next == UInt8(ascii: "\"") || next == UInt8(ascii: "\\")
                else { return nil }
                value.append(next)
            case 0x20..<0x7F: value.append(byte)
            default: return nil
            }
        }
        return nil
    }

    /// Reads an `Idempotency-Key`: a String as the draft has it, or bare as many clients send it.
    ///
    /// 1 to 255 printable ASCII characters; nil for anything else.
    package static func idempotencyKey(in text: String) -> String? {
        let isQuoted = text.utf8.first == UInt8(ascii: "\"")
        guard let key = isQuoted ? string(in: text) : text, (1...255).contains(key.utf8.count),
            key.utf8.allSatisfy({ (0x20..<0x7F).contains($0) })
        else { return nil }
        return key
    }
}

/// RFC 4648 section 4, with padding.
private func base64(_ bytes: [UInt8]) -> String {
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let group = bytes[start..<min(start + 3, bytes.count)]
        let word = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
        for index in 0..<4 {
            let isDigit = index <= group.count
            text.append(isDigit ? digits[word >> (18 - 6 * index) & 63] : UInt8(ascii: "="))
        }
    }
    return String(decoding: text, as: UTF8.self)
}
