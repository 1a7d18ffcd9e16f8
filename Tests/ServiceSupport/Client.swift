import Glibc
package import IO
package import JSON
package import TestSupport

/// An answer as a client sees it.
package struct Answer: Sendable {
    package let status: Int
    package let fields: [String: String]
    package let text: String

    /// The body as JSON; nil if it is none.
    package var json: JSONValue? { JSONValue(text) }

    /// The name after `urn:breakwater:problem:`.
    package var problem: String? {
        json?["type"]?.text.map { String($0.dropFirst("urn:breakwater:problem:".count)) }
    }
}

private struct AnyJSON: JSONReadable {
    let value: JSONValue
    init(from reader: inout JSONReader) throws(JSONError) { value = try reader.readValue() }
}

extension JSONValue {
    /// Nil if it is no JSON.
    package init?(_ text: String) {
        guard let read = try? JSONReader.decode(AnyJSON.self, from: Array(text.utf8)) else {
            return nil
        }
        self = read.value
    }

    package subscript(index: Int) -> JSONValue? {
        guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
        return elements[index]
    }

    package var text: String? { if case .string(let text) = self { text } else { nil } }
    package var integer: Int? {
        if case .number(let number) = self { Int(number.text) } else { nil }
    }
    package var decimal: Double? {
        if case .number(let number) = self { Double(number.text) } else { nil }
    }
    package var flag: Bool? { if case .bool(let flag) = self { flag } else { nil } }
    package var count: Int? { if case .array(let elements) = self { elements.count } else { nil } }
    package var names: [String]? {
        if case .object(let members) = self { members.map(\.name) } else { nil }
    }
}

extension EventStreamClient.Message {
    package var json: JSONValue? { JSONValue(data) }
}

/// One request a connection, with nothing of the code under test in it.
package struct Client: Sendable {
    package let port: UInt16
    package var key: String?

    package init(_ address: Address, key: String? = nil) {
        if case .tcp(_, let port) = address { self.port = port } else { port = 0 }
        self.key = key
    }

    package func with(key: String?) -> Client {
        var client = self
        client.key = key
        return client
    }

    package func get(_ path: String) async throws -> Answer { try await send("GET", path) }

    package func post(
        _ path: String, _ body: String, _ fields: [String: String] = [:]
    ) async throws -> Answer {
        try await send("POST", path, body, fields)
    }

    /// Sends and waits for the end of the connection.
    package func send(
        _ method: String, _ path: String, _ body: String? = nil, _ fields: [String: String] = [:]
    ) async throws -> Answer {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"
        if let key { head += "Authorization: Bearer \(key)\r\n" }
        if let body {
            if fields["Content-Type"] == nil { head += "Content-Type: application/json\r\n" }
            head += "Content-Length: \(body.utf8.count)\r\n"
        }
        for (name, value) in fields { head += "\(name): \(value)\r\n" }
        let request = Array((head + "\r\n" + (body ?? "")).utf8)
        let port = port
        return try await onThread { try parse(try exchange(request, port)) }
    }
}

package struct ClientFailure: Error { let reason: String }

private func exchange(_ request: [UInt8], _ port: UInt16) throws -> [UInt8] {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { Glibc.close(descriptor) }
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_port = port.bigEndian
    name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let connected = unsafe withUnsafeBytes(of: name) {
        unsafe connect(
            descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
    }
    guard connected == 0 else { throw ClientFailure(reason: "connect: \(errno)") }
    guard unsafe send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count
    else { throw ClientFailure(reason: "send: \(errno)") }
    var answer: [UInt8] = []
    var room = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = unsafe read(descriptor, &room, room.count)
        if count <= 0 { return answer }
        answer += room.prefix(count)
    }
}

private func parse(_ bytes: [UInt8]) throws -> Answer {
    guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else {
        throw ClientFailure(reason: "no answer")
    }
    let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
        .split(separator: "\r\n").map(String.init)
    let words = (lines.first ?? "").split(separator: " ")
    guard words.count >= 2, let status = Int(words[1]) else {
        throw ClientFailure(reason: "malformed")
    }
    var fields: [String: String] = [:]
    for line in lines.dropFirst() {
        guard let colon = line.firstIndex(of: ":") else { continue }
        fields[line[..<colon].lowercased()] = String(line[line.index(colon, offsetBy: 2)...])
    }
    var body = bytes[end.upperBound...]
    // The answer to HEAD has none.
    if fields["transfer-encoding"] == "chunked", !body.isEmpty { body = try joined(body)[...] }
    return Answer(
        status: status, fields: fields, text: String(decoding: body, as: UTF8.self))
}

/// The chunks of a body without what stands between them, RFC 9112 section 7.1.
private func joined(_ bytes: ArraySlice<UInt8>) throws -> [UInt8] {
    var rest = bytes
    var body: [UInt8] = []
    while true {
        guard let line = rest.firstIndex(of: UInt8(ascii: "\r")),
            let size = Int(String(decoding: rest[..<line], as: UTF8.self), radix: 16),
            rest.count >= line - rest.startIndex + size + 4
        else { throw ClientFailure(reason: "the answer was cut off") }
        if size == 0 { return body }
        body += rest[(line + 2)..<(line + 2 + size)]
        rest = rest[(line + 4 + size)...]
    }
}
