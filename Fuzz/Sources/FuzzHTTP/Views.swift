@testable import HTTP

// What a request says of itself, held against the plainest reading of its field lines and target, which
// are known to be right by then: the second parser has given the same.

/// Fields by name, and those that mean something to the layer itself.
func checkFields(of request: Request) {
    let fields = request.fields.map { (name: lowercased($0.name), value: $0.value) }
    func values(_ name: String) -> [String] {
        fields.filter { $0.name == name }.map(\.value)
    }
    for (name, _) in fields {
        demandSame(request.values(FieldName(name)), values(name), "other values of \(name)")
        demandSame(request.header(FieldName(name)), values(name).first, "another first of \(name)")
    }
    demandSame(request.header("x-none-such"), values("x-none-such").first, "a field from nowhere")

    let type = values("content-type").first.map { lowercased(trimmed(split($0, ";")[0])) }
    demandSame(request.hasContentType("application/json"), type == "application/json", "type")

    let options = values("connection").flatMap { split($0, ",").map { lowercased(trimmed($0)) } }
    let isPersistent = request.minorVersion == 1 || options.contains("keep-alive")
    demandSame(
        request.head.keepsAlive, isPersistent && !options.contains("close"), "Connection \(options)"
    )

    let expectations = values("expect").map(lowercased)
    let expectation: RequestHead.Expectation =
        expectations.isEmpty || request.minorVersion == 0
        ? .none : expectations == ["100-continue"] ? .continue100 : .unknown
    demandSame(request.head.expectation, expectation, "Expect \(expectations)")

    let framing: RequestHead.Framing =
        !values("transfer-encoding").isEmpty
        ? .chunked : values("content-length").first.flatMap { Int($0) }.map { .length($0) } ?? .none
    demandSame(request.head.framing, framing, "framing")

    let ids = values("x-request-id")
    if ids.count == 1, isRequestID(ids[0]) {
        demandSame(request.id.description, ids[0], "the client's id is not kept")
    } else {
        let id = request.id.description
        demand(id.utf8.count == 32 && isLowerHex(id), "an id made of \(ids): \(id)")
    }
    checkTrace(of: request, values("traceparent"), values("tracestate"))
}

/// Path and query, decoded.
func checkTarget(of request: Request) {
    demandSame(Method(request.method.description), request.method, "a method with two names")
    let target = Array(request.target.utf8)
    let path = Array(target.prefix { $0 != UInt8(ascii: "?") })
    let query = Array(target.dropFirst(path.count + 1))
    demandSame(Array(request.path.utf8), unescaped(path), "the path")

    let items = query.split(separator: UInt8(ascii: "&")).map { item in
        let name = item.prefix { $0 != UInt8(ascii: "=") }
        return [name, item.dropFirst(name.count + 1)].map { part in
            unescaped(part.map { $0 == UInt8(ascii: "+") ? UInt8(ascii: " ") : $0 })
        }
    }
    let found = request.queryItems.map { [Array($0.name.utf8), Array($0.value.utf8)] }
    demandSame(found, items, "the query")
    for item in request.queryItems {
        let first = request.queryItems.first { $0.name == item.name }
        demandSame(request.query(item.name), first?.value, "the first item \(item.name)")
    }
    demandSame(request.query("none such"), nil, "a query item from nowhere")
}

// MARK: - Values

/// One field's value, as each of the readers of such values takes it.
func checkValue(_ text: String) {
    let isQuoted = isQuotedString(text)
    let string = StructuredValue.string(in: text)
    demandSame(string != nil, isQuoted, "a structured string: \(text)")
    if let string {
        // Each string is written in one way only.
        demandSame(StructuredItem(.string(string)).text, text, "read, then written")
    }
    let key = text.utf8.first == UInt8(ascii: "\"") ? string : text
    let isKey = key.map { (1...255).contains($0.utf8.count) && $0.utf8.allSatisfy(isPrintable) }
    demandSame(
        StructuredValue.idempotencyKey(in: text), isKey == true ? key : nil, "a key: \(text)")
    demandSame(RequestID(text)?.description, isRequestID(text) ? text : nil, "an id: \(text)")
    checkTraceParent(text)
}

private func isQuotedString(_ text: String) -> Bool {
    var inner = Array(text.utf8)
    guard inner.count >= 2, inner.first == UInt8(ascii: "\""),
        inner.removeLast() == UInt8(ascii: "\"")
    else { return false }
    inner.removeFirst()
    guard inner.allSatisfy(isPrintable) else { return false }
    var place = 0
    while place < inner.count {
        if inner[place] == UInt8(ascii: "\"") { return false }
        if inner[place] == UInt8(ascii: "\\") {
            place += 1
            guard place < inner.count, [0x22, 0x5C].contains(inner[place]) else { return false }
        }
        place += 1
    }
    return true
}

private func isRequestID(_ text: String) -> Bool {
    (1...128).contains(text.utf8.count)
        && text.utf8.allSatisfy { "._-".utf8.contains($0) || isAlphanumeric($0) }
}

private func isPrintable(_ byte: UInt8) -> Bool { (0x20...0x7E).contains(byte) }

private func isAlphanumeric(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
    default: false
    }
}

// MARK: - Traces, W3C Trace Context section 3.2

private func isLowerHex(_ text: String) -> Bool {
    text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
}

/// The parts of a `traceparent`, or nil.
private func traceParts(_ text: String) -> [String]? {
    let parts = split(text, "-")
    guard parts.count >= 4, zip(parts, [2, 32, 16, 2]).allSatisfy({ $0.utf8.count == $1 }),
        parts.prefix(4).allSatisfy(isLowerHex), parts[0] != "ff",
        parts[0] != "00" || parts.count == 4, parts[1].contains(where: { $0 != "0" }),
        parts[2].contains(where: { $0 != "0" })
    else { return nil }
    return parts
}

private func checkTraceParent(_ text: String) {
    let trace = TraceContext(traceparent: text)
    guard let parts = traceParts(text) else {
        return demandSame(trace, nil, "a traceparent that is none: \(text)")
    }
    guard let trace else { fatalError("a sound traceparent is refused: \(text)") }
    let flags = UInt8(parts[3], radix: 16) ?? 0
    demandSame(trace.traceID, parts[1], "the trace's id")
    demandSame(trace.parent, UInt64(parts[2], radix: 16), "the parent's id")
    demandSame(trace.isSampled, flags % 2 == 1, "whether it is sampled")
    demandSame(
        trace.traceparent(span: trace.parent),
        "00-\(parts[1])-\(parts[2])-\(trace.isSampled ? "01" : "00")", "a traceparent passed on")
}

private func checkTrace(of request: Request, _ parents: [String], _ states: [String]) {
    let trace = request.trace
    demandSame(request.trace, trace, "asked twice, another trace")
    guard parents.count == 1, let parts = traceParts(parents[0]) else {
        return demand(
            trace.parent == 0 && trace.state == nil && trace.traceHigh | trace.traceLow != 0,
            "no new trace: \(trace)")
    }
    demandSame(trace.traceID, parts[1], "the request's trace")
    let state = states.joined(separator: ",")
    let isKept = (1...512).contains(state.utf8.count) && split(state, ",").count <= 32
    demandSame(trace.state, isKept ? state : nil, "tracestate")
}

// MARK: - Text by octets

func lowercased(_ text: String) -> String {
    String(decoding: text.utf8.map { (0x41...0x5A).contains($0) ? $0 + 32 : $0 }, as: UTF8.self)
}

/// Parts between separators: at least one.
func split(_ text: String, _ separator: Unicode.Scalar) -> [String] {
    text.utf8.split(separator: UInt8(ascii: separator), omittingEmptySubsequences: false)
        .map { String(decoding: $0, as: UTF8.self) }
}

private func trimmed(_ text: String) -> String {
    var bytes = Array(text.utf8)[...]
    while let byte = bytes.first, byte == 0x20 || byte == 0x09 { bytes.removeFirst() }
    while let byte = bytes.last, byte == 0x20 || byte == 0x09 { bytes.removeLast() }
    return String(decoding: bytes, as: UTF8.self)
}

/// Escapes replaced; they are known to be sound.
private func unescaped(_ bytes: [UInt8]) -> [UInt8] {
    var rest = bytes[...]
    var octets: [UInt8] = []
    while let byte = rest.popFirst() {
        guard byte == UInt8(ascii: "%") else {
            octets.append(byte)
            continue
        }
        let digits = String(decoding: rest.prefix(2), as: UTF8.self)
        guard let octet = UInt8(digits, radix: 16) else {
            fatalError("a broken escape: %\(digits)")
        }
        octets.append(octet)
        rest = rest.dropFirst(2)
    }
    return octets
}
