/// What a value is, told by its first octet.
package enum JSONKind: String, Hashable, Sendable {
    case object, array, string, number, bool, null
}

/// A pull reader: takes a document apart from front to back, value by value, as its caller asks.
///
/// Strict: the grammar of RFC 8259, in UTF-8 only, without byte order mark; member names unique and
/// escaped surrogates paired, as I-JSON asks (RFC 7493 sections 2.1 and 2.3). What it passes over,
/// also by `skip()`, is checked like what it hands out; only the text behind the offset that it has
/// reached is unseen, so a document is accepted once `finish()` has returned.
///
/// Each `read` takes one whole value. A reader that has thrown is done with: its position is
/// somewhere inside the refused value.
package struct JSONReader {
    let bytes: [UInt8]
    package let limits: JSONLimits

    /// The next octet to look at.
    var offset = 0

    /// The first octet of the value that is being read, or was read last: errors point to it.
    ///
    /// The pointer itself is worked out from the document when there is an error (`JSONPath`), so
    /// that a good document pays one store for it.
    var valueStart = 0

    /// Arrays and objects that are open.
    var depth = 0

    package init(_ bytes: [UInt8], limits: JSONLimits = .default) {
        self.bytes = bytes
        self.limits = limits
    }

    /// The kind of the next value, which is not consumed.
    ///
    /// - Throws: `syntax` where no value begins, `size` for a document that is too long.
    package mutating func peek() throws(JSONError) -> JSONKind {
        switch try startValue() {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        default: throw refusal(.syntax, at: offset, "expected a value")
        }
    }

    /// Takes `true` or `false`.
    package mutating func readBool() throws(JSONError) -> Bool {
        switch try startValue() {
        case UInt8(ascii: "t"):
            try take("true")
            return true
        case UInt8(ascii: "f"):
            try take("false")
            return false
        default: throw mismatch("a boolean")
        }
    }

    /// Takes `null` and answers true; consumes nothing else and answers false.
    package mutating func readNull() throws(JSONError) -> Bool {
        guard try startValue() == UInt8(ascii: "n") else { return false }
        try take("null")
        return true
    }

    /// Ends the document: only white space may follow.
    package mutating func finish() throws(JSONError) {
        skipWhitespace()
        guard offset == bytes.count else {
            throw refusal(.syntax, at: offset, "expected the end of the document")
        }
    }

    /// The refusal of the value that is being read, or was read last.
    ///
    /// Inside the closure of `readObject` or `readArray` that is the member's or element's value,
    /// after it the object or array itself.
    package func failure(_ code: JSONError.Code, _ message: String) -> JSONError {
        refusal(code, at: valueStart, message)
    }
}

// MARK: - What all readers share

extension JSONReader {
    /// The octet at `offset`, or nil at the document's end.
    @inline(__always)
    var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    /// Moves past the white space of RFC 8259 section 2: space, tab, line feed, carriage return.
    @inline(__always)
    mutating func skipWhitespace() {
        while let octet = next, octet <= 0x20,
            octet == 0x20 || octet == 0x0A || octet == 0x0D || octet == 0x09
        {
            offset += 1
        }
    }

    /// Moves to the first octet of the next value and answers it.
    @inline(__always)
    mutating func startValue() throws(JSONError) -> UInt8 {
        if depth == 0 { try checkSize() }
        skipWhitespace()
        valueStart = offset
        guard let octet = next else { throw unexpectedEnd() }
        return octet
    }

    private func checkSize() throws(JSONError) {
        guard bytes.count <= limits.maxBytes else {
            throw refusal(
                .size, at: limits.maxBytes,
                "expected a document of at most \(limits.maxBytes) bytes")
        }
    }

    /// Takes a literal name (RFC 8259 section 3) whose first octet is known to be there.
    mutating func take(_ literal: String) throws(JSONError) {
        let octets = literal.utf8.span
        for index in octets.indices {
            guard next == octets[index] else {
                throw refusal(.syntax, at: offset, "expected the literal \(literal)")
            }
            offset += 1
        }
    }

    /// The refusal of the value at `valueStart` with the octet where reading stopped.
    @inline(never)
    func refusal(_ code: JSONError.Code, at offset: Int, _ message: String) -> JSONError {
        JSONError(
            code, at: JSONPath(to: valueStart, in: bytes).pointer, offset: offset, message)
    }

    func refusal(_ unexpected: Unexpected) -> JSONError {
        refusal(unexpected.code, at: unexpected.offset, unexpected.message)
    }

    @inline(never)
    func unexpectedEnd() -> JSONError {
        refusal(.end(bytes.span))
    }

    /// The refusal of a value of another kind, or of what is no value at all.
    @inline(never)
    func mismatch(_ expected: String) -> JSONError {
        var probe = self
        do throws(JSONError) {
            let kind = try probe.peek()
            return failure(.type, "expected \(expected), found \(kind.article)")
        } catch {
            return error
        }
    }
}

extension JSONKind {
    fileprivate var article: String {
        switch self {
        case .object, .array: "an \(rawValue)"
        case .string, .number: "a \(rawValue)"
        case .bool: "a boolean"
        case .null: "null"
        }
    }
}
