import JSON

/// libFuzzer's entry: reads `count` octets as a document and stops the process if a promise breaks.
@_cdecl("LLVMFuzzerTestOneInput")
package func fuzzJSON(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: count))
    let outcome = read(bytes)
    agreesWithSkip(bytes, outcome)
    agreesWithSlowParser(bytes, outcome)
    staysWithinTighterLimits(bytes, outcome)
    switch outcome {
    case .success(let value):
        roundTrips(value)
        standsInAnArray(bytes, value)
        pointersResolve(bytes, value)
    case .failure(let error):
        precondition(0...bytes.count ~= error.offset, "the offset lies in the document")
        precondition(error.pointer.utf8.count <= 1024 && error.message.utf8.count < 100)
    }
    return 0
}

private func read(
    _ bytes: [UInt8], limits: JSONLimits = .default
) -> Result<JSONValue, JSONError> {
    Result { () throws(JSONError) in try JSONReader.decode(from: bytes, limits: limits) }
}

/// `skip` accepts and refuses what `readValue` does, for the same reason at the same place.
private func agreesWithSkip(_ bytes: [UInt8], _ outcome: Result<JSONValue, JSONError>) {
    var reader = JSONReader(bytes)
    do throws(JSONError) {
        try reader.skip()
        try reader.finish()
        guard case .success = outcome else { preconditionFailure("only skip accepts") }
    } catch {
        precondition(outcome == .failure(error), "skip refuses otherwise than read")
    }
}

private func agreesWithSlowParser(_ bytes: [UInt8], _ outcome: Result<JSONValue, JSONError>) {
    precondition((try? outcome.get()) == SlowParser.parse(bytes), "two parsers disagree")
}

/// Limits only take away: what passes tight ones is the value that the default ones give.
private func staysWithinTighterLimits(
    _ bytes: [UInt8], _ outcome: Result<JSONValue, JSONError>
) {
    let tight = JSONLimits(
        maxBytes: 200, maxDepth: 3, maxStringBytes: 8, maxNumberBytes: 6, maxMembers: 3,
        maxElements: 4)
    if case .success(let value) = read(bytes, limits: tight) {
        precondition(outcome == .success(value), "a tighter limit lets more through")
    }
    let loose = JSONLimits(refusesDuplicateKeys: false)
    if case .success(let value) = outcome {
        precondition(read(bytes, limits: loose) == .success(value), "a looser one lets less in")
    }
}

/// What is written is read back the same, and written the same again.
private func roundTrips(_ value: JSONValue) {
    let encoded = value.encoded()
    precondition(read(encoded) == .success(value), "written, then read: another value")
    precondition((try? read(encoded).get())?.encoded() == encoded)
}

private func standsInAnArray(_ bytes: [UInt8], _ value: JSONValue) {
    let wrapped = [UInt8(ascii: "["), UInt8(ascii: "\n")] + bytes + [UInt8(ascii: "]")]
    switch read(wrapped) {
    case .success(let array): precondition(array == .array([value]))
    case .failure(let error): precondition(error.code == .depth, "refused only inside an array")
    }
}

// MARK: - Pointers

/// The pointer that an error would have at a value leads to that value, or to one around it where
/// it was cut; a document of 512 octets makes none of 1,024, even if each is escaped.
private func pointersResolve(_ bytes: [UInt8], _ root: JSONValue) {
    var reader = JSONReader(bytes)
    var seen: [(pointer: String, value: JSONValue)] = []
    guard (try? collect(&reader, &seen)) != nil else { preconditionFailure("read, then refused") }
    for (pointer, value) in seen {
        // By octets: to `String`, an accent joins the slash or tilde before it.
        let steps = pointer.utf8.split(
            separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        let found = steps.dropFirst().reduce(root as JSONValue?) { $0?.step($1) }
        precondition(
            bytes.count <= 512 ? found == value : found != nil, "the pointer leads elsewhere")
    }
}

/// Walks with the typed readers, noting at most 40 values: each pointer walks the document again.
private func collect(
    _ reader: inout JSONReader, _ seen: inout [(pointer: String, value: JSONValue)]
) throws(JSONError) {
    let kind = try reader.peek()
    if seen.count < 40 {
        var copy = reader
        let value = try copy.readValue()
        let pointer = reader.failure(.range, "").pointer
        precondition(copy.failure(.range, "").pointer == pointer, "before and after it differ")
        seen.append((pointer, value))
    }
    switch kind {
    case .object:
        try reader.readObject { _, reader throws(JSONError) in try collect(&reader, &seen) }
    case .array:
        try reader.readArray(maxCount: .max) { _, reader throws(JSONError) in
            try collect(&reader, &seen)
        }
    case .string: _ = try reader.readString(maxBytes: .max)
    case .number: try checkNumber(&reader)
    case .bool: _ = try reader.readBool()
    case .null:
        let isNull = try reader.readNull()
        precondition(isNull)
    }
}

/// The typed readers give what the number's own views give.
private func checkNumber(_ reader: inout JSONReader) throws(JSONError) {
    var (asInt, asDouble) = (reader, reader)
    guard case .number(let number) = try reader.readValue() else { preconditionFailure() }
    precondition((try? asInt.readInt(in: .min ... .max)) == number.int)
    let double = try? asDouble.readDouble()
    precondition(double == number.double)
    precondition(double == Double(number.text).flatMap { $0.isFinite ? $0 : nil })
}

extension JSONValue {
    /// One step of a JSON Pointer (RFC 6901 section 4).
    fileprivate func step(_ token: Substring.UTF8View) -> JSONValue? {
        switch self {
        case .array(let elements):
            return Int(Substring(token)).flatMap { elements.indices ~= $0 ? elements[$0] : nil }
        case .object:
            var name: [UInt8] = []
            var octets = token.makeIterator()
            while let octet = octets.next() {
                let isEscape = octet == UInt8(ascii: "~")
                name.append(isEscape ? octets.next() == UInt8(ascii: "0") ? octet : 0x2F : octet)
            }
            return self[String(decoding: name, as: UTF8.self)]
        default: return nil
        }
    }
}
