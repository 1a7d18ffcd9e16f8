extension Request {
    /// The value of the first field of this name, blanks around it removed; nil if there is none.
    ///
    /// Of `Authorization`, `Content-Type`, `Host`, `Idempotency-Key` and `X-API-Key` the parser
    /// refuses a second, so first and last are the same.
    package func header(_ name: FieldName) -> String? {
        var value: String?
        forEachField { bytes, fieldName, range in
            guard name.isSpelled(by: bytes, in: fieldName) else { return true }
            value = bytes.text(range)
            return false
        }
        return value
    }

    /// The values of all fields of this name, in order, kept apart.
    package func values(_ name: FieldName) -> [String] {
        var values: [String] = []
        forEachField { bytes, fieldName, range in
            if name.isSpelled(by: bytes, in: fieldName) { values.append(bytes.text(range)) }
            return true
        }
        return values
    }

    /// All fields in order, names as sent.
    package var fields: [(name: String, value: String)] {
        var fields: [(name: String, value: String)] = []
        forEachField { bytes, name, value in
            fields.append((bytes.text(name), bytes.text(value)))
            return true
        }
        return fields
    }

    /// Whether `Content-Type` names `type` (lower case, `application/json`), whatever its parameters.
    package func hasContentType(_ type: StaticString) -> Bool {
        var isSame = false
        forEachField { bytes, name, value in
            guard bytes.matches("content-type", in: name) else { return true }
            var past =
                bytes.firstIndex(of: UInt8(ascii: ";"), from: value.lowerBound)
                .map { min($0, value.upperBound) } ?? value.upperBound
            while past > value.lowerBound,
                bytes[past &- 1] == .space || bytes[past &- 1] == .tab
            {
                past &-= 1
            }
            isSame = bytes.matches(type, in: ByteRange(value.lowerBound, past))
            return false
        }
        return isSame
    }

    /// Walks the field lines, which the parser found sound, until `body` says false.
    private func forEachField(_ body: (Span<UInt8>, ByteRange, ByteRange) -> Bool) {
        let bytes = headBytes.span
        var line = head.fields.lowerBound
        while line < head.fields.upperBound {
            guard let feed = bytes.firstIndex(of: .lineFeed, from: line),
                let colon = bytes.firstIndex(of: UInt8(ascii: ":"), from: line)
            else { return }
            var first = colon &+ 1
            var past = feed &- 1
            while first < past, bytes[first] == .space || bytes[first] == .tab { first &+= 1 }
            while past > first, bytes[past &- 1] == .space || bytes[past &- 1] == .tab {
                past &-= 1
            }
            if !body(bytes, ByteRange(line, colon), ByteRange(first, past)) { return }
            line = feed &+ 1
        }
    }
}
