/// One field line of a head or a trailer section, checked: where its name and its value are.
struct FieldLine {
    let name: ByteRange
    let value: ByteRange

    /// Reads `field-name ":" OWS field-value OWS`, RFC 9112 section 5; `line` is without its CR LF.
    init(_ bytes: Span<UInt8>, _ line: ByteRange) throws(Refusal) {
        var place = line.lowerBound
        while place < line.upperBound, ByteSet.token.contains(bytes[place]) { place &+= 1 }
        guard place > line.lowerBound, place < line.upperBound,
            bytes[place] == UInt8(ascii: ":")
        else { throw Self.badName(bytes, line, place) }
        name = ByteRange(line.lowerBound, place)
        var first = place &+ 1
        var past = line.upperBound
        while first < past, bytes[first] == .space || bytes[first] == .tab { first &+= 1 }
        while past > first, bytes[past &- 1] == .space || bytes[past &- 1] == .tab { past &-= 1 }
        value = ByteRange(first, past)
        place = first
        while place < past {
            if !bytes[place].isFieldValue {
                throw bytes[place] == .carriageReturn
                    ? .bareCarriageReturn : .malformed("a field value has a control character")
            }
            place &+= 1
        }
    }

    private static func badName(_ bytes: Span<UInt8>, _ line: ByteRange, _ place: Int) -> Refusal {
        if place == line.upperBound { return .malformed("a field needs a colon") }
        let isBlank = bytes[place] == .space || bytes[place] == .tab
        if place == line.lowerBound {
            return isBlank
                ? .malformed("a folded or indented field line")
                : .malformed("a field name is a token")
        }
        return isBlank
            ? .malformed("white space before a field's colon")
            : .malformed("a field name is a token")
    }
}

/// Fields that may stand once at most: who reads the first and who reads the last must agree.
struct SeenFields: OptionSet, Sendable {
    let rawValue: UInt16

    static let host = SeenFields(rawValue: 1 << 0)
    static let contentLength = SeenFields(rawValue: 1 << 1)
    static let transferEncoding = SeenFields(rawValue: 1 << 2)
    static let expect = SeenFields(rawValue: 1 << 3)
    static let authorization = SeenFields(rawValue: 1 << 4)
    static let contentType = SeenFields(rawValue: 1 << 5)
    static let idempotencyKey = SeenFields(rawValue: 1 << 6)
    static let apiKey = SeenFields(rawValue: 1 << 7)
    static let requestID = SeenFields(rawValue: 1 << 8)

    /// Marks a field; false if it was there before.
    mutating func first(_ field: SeenFields) -> Bool { insert(field).inserted }
}

extension RequestHead {
    /// Notes what a field means for the layer itself, RFC 9112 sections 3.2, 6 and 9.
    mutating func take(
        _ field: FieldLine, _ bytes: Span<UInt8>, _ seen: inout SeenFields
    ) throws(Refusal) {
        // By length first: most fields are none of these.
        switch field.name.count {
        case 4 where bytes.matches("host", in: field.name):
            guard seen.first(.host) else { throw .malformed("more than one Host") }
            guard isHost(bytes, field.value) else { throw .malformed("Host is not a host") }
        case 6 where bytes.matches("expect", in: field.name):
            let isKnown =
                seen.first(.expect) && bytes.matches("100-continue", in: field.value)
            expectation = isKnown ? .continue100 : .unknown
        case 6 where bytes.matches("origin", in: field.name): hasOrigin = true
        case 9 where bytes.matches("x-api-key", in: field.name):
            guard seen.first(.apiKey) else { throw .malformed("more than one X-API-Key") }
        case 10 where bytes.matches("connection", in: field.name):
            takeConnection(bytes, field.value)
        case 12 where bytes.matches("content-type", in: field.name):
            guard seen.first(.contentType) else { throw .malformed("more than one Content-Type") }
        case 12 where bytes.matches("x-request-id", in: field.name):
            requestID = seen.first(.requestID) ? field.value : .empty
        case 13 where bytes.matches("authorization", in: field.name):
            guard seen.first(.authorization) else {
                throw .malformed("more than one Authorization")
            }
        case 14 where bytes.matches("content-length", in: field.name):
            guard seen.first(.contentLength) else {
                throw .malformed("more than one Content-Length")
            }
            framing = .length(try contentLength(bytes, field.value))
        case 15 where bytes.matches("idempotency-key", in: field.name):
            guard seen.first(.idempotencyKey) else {
                throw .malformed("more than one Idempotency-Key")
            }
        case 17 where bytes.matches("transfer-encoding", in: field.name):
            guard seen.first(.transferEncoding) else {
                throw .malformed("more than one Transfer-Encoding")
            }
            try checkTransferEncoding(bytes, field.value)
            framing = .chunked
        default: break
        }
    }

    /// `Connection`, RFC 9110 section 7.6.1: a list of options, of which two concern us.
    private mutating func takeConnection(_ bytes: Span<UInt8>, _ value: ByteRange) {
        var first = value.lowerBound
        var place = first
        while place <= value.upperBound {
            let isEnd = place == value.upperBound || bytes[place] == UInt8(ascii: ",")
            if isEnd {
                var past = place
                while first < past, bytes[first] == .space || bytes[first] == .tab { first &+= 1 }
                while past > first, bytes[past &- 1] == .space || bytes[past &- 1] == .tab {
                    past &-= 1
                }
                let option = ByteRange(first, past)
                if bytes.matches("close", in: option) { asksClose = true }
                if bytes.matches("keep-alive", in: option) { asksKeepAlive = true }
                first = place &+ 1
            }
            place &+= 1
        }
    }
}

/// `1*DIGIT`, at most 18 of them so that it fits, RFC 9112 section 6.2.
private func contentLength(_ bytes: Span<UInt8>, _ value: ByteRange) throws(Refusal) -> Int {
    guard (1...18).contains(value.count) else {
        throw .malformed("Content-Length is 1 to 18 digits")
    }
    var length = 0
    for place in value.lowerBound..<value.upperBound {
        guard bytes[place].isDigit else { throw .malformed("Content-Length is 1 to 18 digits") }
        length = length &* 10 &+ Int(bytes[place] &- 0x30)
    }
    return length
}

/// `chunked` and nothing else, RFC 9112 section 6.1. Further codings before it are 501; anything
/// else leaves the length unknown and is 400 (section 6.3).
private func checkTransferEncoding(_ bytes: Span<UInt8>, _ value: ByteRange) throws(Refusal) {
    if bytes.matches("chunked", in: value) { return }
    let codings = bytes.text(value).split(separator: ",", omittingEmptySubsequences: false)
        .map(withoutBlanks)
    let areTokens = codings.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy(ByteSet.token.contains) }
    // Only now, as ASCII: in lower case the Kelvin sign is a "k".
    let names = codings.map { $0.lowercased() }
    if areTokens, names.count > 1, names.last == "chunked", !names.dropLast().contains("chunked") {
        throw Refusal(.notImplemented, "only the transfer coding chunked is known here")
    }
    throw .malformed("Transfer-Encoding must be chunked")
}

private func withoutBlanks(_ text: Substring) -> Substring {
    var text = text.drop { $0 == " " || $0 == "\t" }
    while text.last == " " || text.last == "\t" { text.removeLast() }
    return text
}

/// `uri-host [ ":" port ]`, RFC 9110 section 7.2 and RFC 3986 section 3.2.2; not empty.
func isHost(_ bytes: Span<UInt8>, _ value: ByteRange) -> Bool {
    var place = value.lowerBound
    let end = value.upperBound
    guard place < end else { return false }
    if bytes[place] == UInt8(ascii: "[") {
        place &+= 1
        let first = place
        while place < end, ByteSet.bracketedAddress.contains(bytes[place]) { place &+= 1 }
        guard place > first, place < end, bytes[place] == UInt8(ascii: "]") else { return false }
        place &+= 1
    } else {
        let first = place
        while place < end, ByteSet.registeredName.contains(bytes[place]) {
            if bytes[place] == UInt8(ascii: "%") {
                guard place &+ 2 < end, bytes[place &+ 1].hexValue != nil,
                    bytes[place &+ 2].hexValue != nil
                else { return false }
            }
            place &+= 1
        }
        guard place > first else { return false }
    }
    if place == end { return true }
    guard bytes[place] == UInt8(ascii: ":"), end &- place <= 6 else { return false }
    place &+= 1
    while place < end, bytes[place].isDigit { place &+= 1 }
    return place == end
}
