/// A second parser, written to be right at a glance and for nothing else: it splits the whole input
/// into lines and goes by the grammar of RFC 9112 and our profile, with none of the first one's code.
struct SlowParser {
    private var rest: ArraySlice<UInt8>
    private let limits: Limits
    private struct Refused: Error { let status: Int }
    private struct Incomplete: Error {}

    /// The limits of the layer, once more.
    struct Limits {
        var requestLine = 8192
        var head = 32_768
        var fields = 100
        var body = 1_048_576
        var chunkExtension = 256
        var chunkExtensions = 16_384
    }

    static func read(_ bytes: [UInt8], limits: Limits = Limits()) -> Reading {
        var parser = SlowParser(rest: bytes[...], limits: limits)
        var reading = Reading()
        do {
            while !parser.rest.isEmpty { reading.messages.append(try parser.message()) }
        } catch let refused as Refused {
            reading.end = .refused(refused.status)
        } catch {
            reading.end = .incomplete
        }
        return reading
    }

    // MARK: Lines

    /// The text before the next CR LF, which is consumed too. `limit` counts octets of the line with its
    /// end.
    private mutating func line(limit: Int, tooLong: Int) throws -> String {
        let window = rest.prefix(max(0, limit))
        guard let feed = window.firstIndex(of: 10) else {
            if rest.count >= limit { throw Refused(status: tooLong) }
            throw Incomplete()
        }
        let text = rest[..<feed]
        guard text.last == 13 else { throw Refused(status: 400) }
        rest = rest[(feed + 1)...]
        // Latin-1: a character an octet, so that nothing is lost or joined.
        return String(String.UnicodeScalarView(text.dropLast().map { Unicode.Scalar($0) }))
    }

    // MARK: Grammar

    private static let letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    private static let digits = "0123456789"
    private static let hex = digits + "abcdefABCDEF"
    private static let tokenScalars = set(letters + digits + "!#$%&'*+-.^_`|~")
    private static let unreserved = letters + digits + "-._~"
    private static let subDelimiters = "!$&'()*+,;="
    private static let pathScalars = set(unreserved + subDelimiters + ":@/%")
    private static let queryScalars = set(unreserved + subDelimiters + ":@/?%[]{}|^`")
    private static let hostScalars = set(unreserved + subDelimiters + "%").subtracting([","])
    private static let addressScalars = set(unreserved + subDelimiters + ":").subtracting([","])

    private static func set(_ text: String) -> Set<Unicode.Scalar> { Set(text.unicodeScalars) }

    private static func consists(_ text: some StringProtocol, of set: Set<Unicode.Scalar>) -> Bool {
        text.unicodeScalars.allSatisfy { set.contains($0) }
    }

    private static func isToken(_ text: some StringProtocol) -> Bool {
        !text.isEmpty && consists(text, of: tokenScalars)
    }

    private static func isFieldText(_ text: some StringProtocol) -> Bool {
        text.unicodeScalars.allSatisfy { $0 == "\t" || ($0.value >= 32 && $0.value != 127) }
    }

    private static func isNumber(_ text: some StringProtocol, _ set: String, max: Int) -> Bool {
        !text.isEmpty && text.unicodeScalars.count <= max && consists(text, of: Self.set(set))
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        var scalars = Array(text.unicodeScalars)
        while let last = scalars.last, last == " " || last == "\t" { scalars.removeLast() }
        while let first = scalars.first, first == " " || first == "\t" { scalars.removeFirst() }
        return String(String.UnicodeScalarView(scalars))
    }

    /// Splits by scalar: to a string CR LF and combining marks are one character with their neighbour.
    private static func split(_ text: String, _ separator: Unicode.Scalar) -> [String] {
        text.unicodeScalars.split(separator: separator, omittingEmptySubsequences: false)
            .map { String(String.UnicodeScalarView($0)) }
    }

    private static func isHost(_ text: String) -> Bool {
        var host = text
        if host.hasPrefix("[") {
            let parts = split(host, "]")
            guard parts.count == 2, parts[0].count > 1,
                consists(parts[0].dropFirst(), of: addressScalars)
            else { return false }
            return parts[1].isEmpty || isPort(parts[1])
        }
        let parts = split(host, ":")
        guard parts.count <= 2 else { return false }
        if parts.count == 2 && !isPort(":" + parts[1]) { return false }
        host = parts[0]
        return !host.isEmpty && consists(host, of: hostScalars) && unescaped(host) != nil
    }

    private static func isPort(_ text: String) -> Bool {
        text.hasPrefix(":") && text.count <= 6 && consists(text.dropFirst(), of: set(digits))
    }

    /// Octets with escapes replaced; nil if one is broken.
    private static func unescaped(_ text: String) -> [UInt8]? {
        var octets: [UInt8] = []
        var scalars = text.unicodeScalars[...]
        while let scalar = scalars.popFirst() {
            if scalar == "%" {
                let code = String(String.UnicodeScalarView(scalars.prefix(2)))
                guard isNumber(code, hex, max: 2), code.count == 2,
                    let octet = UInt8(code, radix: 16)
                else { return nil }
                octets.append(octet)
                scalars = scalars.dropFirst(2)
            } else {
                octets.append(UInt8(truncatingIfNeeded: scalar.value))
            }
        }
        return octets
    }

    private static func isPath(_ text: String) -> Bool {
        guard consists(text, of: pathScalars), let octets = unescaped(text),
            String(validating: octets, as: UTF8.self) != nil,
            octets.filter({ $0 == 0x2F }).count == text.unicodeScalars.filter({ $0 == "/" }).count,
            !octets.contains(where: { $0 < 32 || $0 == 127 })
        else { return false }
        return !octets.split(separator: 0x2F).contains { $0 == [0x2E] || $0 == [0x2E, 0x2E] }
    }

    private static func isQuery(_ text: String) -> Bool {
        guard consists(text, of: queryScalars), let octets = unescaped(text) else { return false }
        return !octets.contains(0) && String(validating: octets, as: UTF8.self) != nil
    }

    // MARK: Messages

    private mutating func message() throws -> Reading.Message {
        var empty = 0
        while rest.first == 13 {
            guard rest.count > 1 else { throw Incomplete() }
            guard rest[rest.startIndex + 1] == 10, empty < 2 else { throw Refused(status: 400) }
            rest = rest.dropFirst(2)
            empty += 1
        }
        let start = rest.startIndex
        var message = try requestLine()
        var fields: [(name: String, value: String)] = []
        while true {
            let text = try line(limit: limits.head - (rest.startIndex - start), tooLong: 431)
            if text.isEmpty { break }
            if fields.count == limits.fields { throw Refused(status: 431) }
            fields.append(try Self.field(text, after: fields))
        }
        // As the service decodes values: text, not octets.
        message.fields = fields.map { name, value in
            "\(name): "
                + String(decoding: value.unicodeScalars.map { UInt8($0.value) }, as: UTF8.self)
        }
        message.body = try body(fields, message)
        return message
    }

    private mutating func requestLine() throws -> Reading.Message {
        let words = Self.split(try line(limit: limits.requestLine, tooLong: 414), " ")
        guard words.count == 3, Self.isToken(words[0]) else { throw Refused(status: 400) }
        let version = Array(words[2].unicodeScalars)
        guard version.count == 8, words[2].hasPrefix("HTTP/"), version[6] == ".",
            Self.digits.unicodeScalars.contains(version[5]),
            Self.digits.unicodeScalars.contains(version[7])
        else { throw Refused(status: 400) }
        guard version[5] == "1" else { throw Refused(status: 505) }
        guard words[0] != "CONNECT" else { throw Refused(status: 501) }
        return Reading.Message(
            method: words[0], target: try Self.target(words[1], words[0]),
            minorVersion: version[7] == "0" ? 0 : 1, fields: [], body: [])
    }

    private static func target(_ text: String, _ method: String) throws -> String {
        if text == "*" {
            guard method == "OPTIONS" else { throw Refused(status: 400) }
            return "*"
        }
        var text = text
        if !text.hasPrefix("/") {
            let lower = text.lowercased()
            guard let scheme = ["http://", "https://"].first(where: { lower.hasPrefix($0) }) else {
                throw Refused(status: 400)
            }
            text = String(text.dropFirst(scheme.count))
            let authority = String(text.prefix { $0 != "/" && $0 != "?" })
            guard isHost(authority) else { throw Refused(status: 400) }
            text = String(text.dropFirst(authority.count))
            if text.isEmpty && method == "OPTIONS" { return "*" }
            if !text.hasPrefix("/") { text = "/" + text }
        }
        let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard let path = parts.first, isPath(String(path)) else { throw Refused(status: 400) }
        if parts.count == 2 {
            guard isQuery(String(parts[1])) else { throw Refused(status: 400) }
            return parts[1].isEmpty ? String(path) : text
        }
        return text
    }

    /// Names of which a second field is refused.
    private static let single = [
        "host", "content-length", "transfer-encoding", "authorization", "content-type",
        "idempotency-key", "x-api-key",
    ]

    private static func field(
        _ text: String, after others: [(name: String, value: String)]
    ) throws -> (name: String, value: String) {
        let parts = text.unicodeScalars.split(
            separator: ":", maxSplits: 1, omittingEmptySubsequences: false
        ).map { String(String.UnicodeScalarView($0)) }
        guard parts.count == 2, isToken(parts[0]) else { throw Refused(status: 400) }
        let value = trimmed(parts[1])
        guard isFieldText(value) else { throw Refused(status: 400) }
        let name = parts[0].lowercased()
        if single.contains(name), others.contains(where: { $0.name.lowercased() == name }) {
            throw Refused(status: 400)
        }
        switch name {
        case "host": guard isHost(value) else { throw Refused(status: 400) }
        case "content-length":
            guard isNumber(value, digits, max: 18) else { throw Refused(status: 400) }
        case "transfer-encoding":
            if value.lowercased() != "chunked" {
                let codings = split(value.lowercased(), ",").map(trimmed)
                let isKnownForm =
                    codings.allSatisfy { isToken($0) } && codings.count > 1
                    && codings.last == "chunked" && !codings.dropLast().contains("chunked")
                throw Refused(status: isKnownForm ? 501 : 400)
            }
        default: break
        }
        return (parts[0], value)
    }

    private mutating func body(
        _ fields: [(name: String, value: String)], _ message: Reading.Message
    ) throws -> [UInt8] {
        func value(_ name: String) -> String? {
            fields.first { $0.name.lowercased() == name }?.value
        }
        if message.minorVersion == 1, value("host") == nil { throw Refused(status: 400) }
        if value("transfer-encoding") != nil {
            guard value("content-length") == nil, message.minorVersion == 1 else {
                throw Refused(status: 400)
            }
            return try chunks()
        }
        guard let text = value("content-length"), let length = Int(text) else { return [] }
        if length > limits.body { throw Refused(status: 413) }
        guard rest.count >= length else { throw Incomplete() }
        defer { rest = rest.dropFirst(length) }
        return Array(rest.prefix(length))
    }

    private mutating func chunks() throws -> [UInt8] {
        var body: [UInt8] = []
        var extensions = 0
        while true {
            let text = try line(limit: 15 + limits.chunkExtension + 2, tooLong: 400)
            let size = String(
                String.UnicodeScalarView(
                    text.unicodeScalars.prefix { Self.hex.unicodeScalars.contains($0) }))
            let tail = String(String.UnicodeScalarView(text.unicodeScalars.dropFirst(size.count)))
            extensions += tail.unicodeScalars.count
            guard Self.isNumber(size, Self.hex, max: 15),
                tail.unicodeScalars.count <= limits.chunkExtension,
                extensions <= limits.chunkExtensions, Self.areExtensions(tail),
                let count = Int(size, radix: 16)
            else { throw Refused(status: 400) }
            if count > limits.body - body.count { throw Refused(status: 413) }
            if count == 0 { break }
            guard rest.count >= count else { throw Incomplete() }
            body += rest.prefix(count)
            rest = rest.dropFirst(count)
            for octet: UInt8 in [13, 10] {
                guard let next = rest.first else { throw Incomplete() }
                guard next == octet else { throw Refused(status: 400) }
                rest = rest.dropFirst()
            }
        }
        let start = rest.startIndex
        var count = 0
        while true {
            let text = try line(limit: limits.head - (rest.startIndex - start), tooLong: 431)
            if text.isEmpty { return body }
            count += 1
            if count > limits.fields { throw Refused(status: 431) }
            let parts = text.unicodeScalars.split(
                separator: ":", maxSplits: 1, omittingEmptySubsequences: false
            ).map { String(String.UnicodeScalarView($0)) }
            guard parts.count == 2, Self.isToken(parts[0]),
                Self.isFieldText(Self.trimmed(parts[1]))
            else { throw Refused(status: 400) }
        }
    }

    /// `*( ";" token [ "=" ( token / quoted-string ) ] )`
    private static func areExtensions(_ text: String) -> Bool {
        var scalars = text.unicodeScalars[...]
        func token() -> Bool {
            let name = scalars.prefix { tokenScalars.contains($0) }
            scalars = scalars.dropFirst(name.count)
            return !name.isEmpty
        }
        while let first = scalars.popFirst() {
            guard first == ";", token() else { return false }
            guard scalars.first == "=" else { continue }
            scalars = scalars.dropFirst()
            guard scalars.first == "\"" else {
                if token() { continue }
                return false
            }
            scalars = scalars.dropFirst()
            var isClosed = false
            while !isClosed {
                guard let scalar = scalars.popFirst(), isFieldText(String(scalar)) else {
                    return false
                }
                if scalar == "\"" { isClosed = true }
                if scalar == "\\" {
                    guard let next = scalars.popFirst(), isFieldText(String(next)) else {
                        return false
                    }
                }
            }
        }
        return true
    }
}
