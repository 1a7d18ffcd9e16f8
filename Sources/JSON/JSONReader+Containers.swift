extension JSONReader {
    /// Takes an object, handing each member to `member`, which reads or skips its value.
    ///
    /// - Throws: `type` for another kind, `duplicateKey`, `depth`, `count` past
    ///   `JSONLimits.maxMembers`, `length` for a name past `JSONLimits.maxStringBytes`, and what
    ///   `member` throws.
    package mutating func readObject(
        _ member: (JSONKey, inout JSONReader) throws(JSONError) -> Void
    ) throws(JSONError) {
        guard try startValue() == UInt8(ascii: "{") else { throw mismatch("an object") }
        let start = valueStart
        try open()
        var names = KeySet()
        var count = 0
        if !close(UInt8(ascii: "}")) {
            repeat {
                count += 1
                guard count <= limits.maxMembers else {
                    throw failure(.count, "expected at most \(limits.maxMembers) members")
                }
                let key = try readKey(&names)
                skipWhitespace()
                valueStart = offset
                let valueOffset = offset
                try member(key, &self)
                precondition(offset > valueOffset, "a member's value was neither read nor skipped")
                valueStart = start
            } while try takesAnother(UInt8(ascii: "}"), "expected ',' or '}' after a member")
        }
        depth -= 1
    }

    /// Takes an array, handing each element's index to `element`, which reads or skips it.
    ///
    /// - Throws: `type` for another kind, `count` past `maxCount`, `depth`, and what `element`
    ///   throws.
    package mutating func readArray(
        maxCount: Int,
        _ element: (Int, inout JSONReader) throws(JSONError) -> Void
    ) throws(JSONError) {
        guard try startValue() == UInt8(ascii: "[") else { throw mismatch("an array") }
        let start = valueStart
        try open()
        var count = 0
        if !close(UInt8(ascii: "]")) {
            repeat {
                guard count < maxCount else {
                    throw refusal(.count, at: offset, "expected at most \(maxCount) elements")
                }
                skipWhitespace()
                valueStart = offset
                let valueOffset = offset
                try element(count, &self)
                precondition(offset > valueOffset, "an element was neither read nor skipped")
                valueStart = start
                count += 1
            } while try takesAnother(UInt8(ascii: "]"), "expected ',' or ']' after an element")
        }
        depth -= 1
    }

    /// The refusal of a member that its object does not have; for `readObject`'s closure.
    package func unknownField(_ key: JSONKey) -> JSONError {
        failure(.unknownField, "unexpected member")
    }

    /// The value of a member that must be there; for after `readObject`.
    ///
    /// - Throws: `missingField`, at the object.
    package func require<Value>(_ value: Value?, _ name: String) throws(JSONError) -> Value {
        guard let value else { throw missingField(name) }
        return value
    }

    /// The refusal of an object without a member that it must have; for after `readObject`.
    package func missingField(_ name: String) -> JSONError {
        failure(.missingField, "expected the member \(name)")
    }
}

extension JSONReader {
    /// Takes the bracket that opens a container.
    @inline(__always)
    private mutating func open() throws(JSONError) {
        guard depth < limits.maxDepth else {
            throw refusal(
                .depth, at: offset, "expected at most \(limits.maxDepth) values inside each other")
        }
        depth += 1
        offset += 1
    }

    /// Takes the bracket that closes a container, if it is next.
    @inline(__always)
    private mutating func close(_ bracket: UInt8) -> Bool {
        skipWhitespace()
        guard next == bracket else { return false }
        offset += 1
        return true
    }

    /// After a member or element: takes a comma and answers true, or the bracket and false.
    @inline(__always)
    private mutating func takesAnother(
        _ bracket: UInt8, _ message: String
    ) throws(JSONError) -> Bool {
        if close(bracket) { return false }
        guard let octet = next else { throw unexpectedEnd() }
        guard octet == UInt8(ascii: ",") else { throw refusal(.syntax, at: offset, message) }
        offset += 1
        return true
    }

    /// Takes a member's name and its colon (RFC 8259 section 4).
    @inline(__always)
    private mutating func readKey(_ names: inout KeySet) throws(JSONError) -> JSONKey {
        skipWhitespace()
        let start = offset
        guard let octet = next else { throw unexpectedEnd() }
        guard octet == UInt8(ascii: "\"") else {
            throw refusal(.syntax, at: offset, "expected a member's name in quotes")
        }
        let literal = try scanString()
        guard literal.count <= limits.maxStringBytes else {
            throw refusal(
                .length, at: start,
                "expected a member's name of at most \(limits.maxStringBytes) bytes")
        }
        let name =
            literal.hasEscapes
            ? Unescaped(bytes[literal.range]).bytes : bytes[literal.range]
        if limits.refusesDuplicateKeys {
            let isNew =
                literal.hasEscapes
                ? names.insert(unescaped: name, of: bytes) : names.insert(literal.range, of: bytes)
            guard isNew else { throw duplicate(literal.range) }
        }
        skipWhitespace()
        guard let colon = next else { throw unexpectedEnd() }
        guard colon == UInt8(ascii: ":") else {
            throw refusal(.syntax, at: offset, "expected ':' after a member's name")
        }
        offset += 1
        return JSONKey(bytes: name)
    }

    @inline(never)
    private func duplicate(_ name: Range<Int>) -> JSONError {
        JSONError(
            .duplicateKey,
            at: JSONPath(to: valueStart, in: bytes).pointer(member: bytes[name]),
            offset: name.lowerBound - 1,
            "expected each member once")
    }
}
