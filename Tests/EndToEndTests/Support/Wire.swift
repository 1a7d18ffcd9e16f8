import Glibc
import JSON
import TestSupport

/// An answer as it came over the wire.
struct Answer: Sendable {
    let status: Int
    /// Names in lower case.
    let fields: [String: String]
    let text: String

    /// The body as JSON; nil if it is none.
    var json: JSONValue? { JSONValue(text) }

    /// The name after `urn:breakwater:problem:`.
    var problem: String? {
        guard case .string(let urn)? = json?["type"] else { return nil }
        return String(urn.dropFirst("urn:breakwater:problem:".count))
    }
}

extension JSONValue {
    private struct Document: JSONReadable {
        let value: JSONValue
        init(from reader: inout JSONReader) throws(JSONError) { value = try reader.readValue() }
    }

    /// Reads one document and nothing else.
    init?(_ text: String) {
        guard let document = try? JSONReader.decode(Document.self, from: Array(text.utf8)) else {
            return nil
        }
        self = document.value
    }
}

/// A kept connection to an instance. Each call has its own thread and waits at most `patience`.
final class Wire: Sendable {
    private let descriptor: Int32

    init(port: UInt16, patience: Duration = .seconds(20)) throws {
        descriptor = socket(
            AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure("socket: \(errno)") }
        var limit = timeval(tv_sec: Int(patience.components.seconds), tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            _ = unsafe setsockopt(descriptor, SOL_SOCKET, option, &limit, size)
        }
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let connected = unsafe withUnsafeBytes(of: name) {
            unsafe connect(
                descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                socklen_t($0.count))
        }
        guard connected == 0 else {
            let code = errno
            Glibc.close(descriptor)
            throw Failure("connect: \(unsafe String(cString: strerror(code)))")
        }
    }

    deinit { Glibc.close(descriptor) }

    /// Sends a request and waits for its answer.
    func call(
        _ method: String, _ path: String, _ body: String? = nil, key: String? = nil,
        fields: [String: String] = [:]
    ) async throws -> Answer {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: test\r\n"
        if let key { head += "Authorization: Bearer \(key)\r\n" }
        if let body {
            head += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n"
        }
        for (name, value) in fields { head += "\(name): \(value)\r\n" }
        let request = Array((head + "\r\n" + (body ?? "")).utf8)
        return try await onThread { [self] in
            guard
                unsafe send(descriptor, request, request.count, Int32(MSG_NOSIGNAL))
                    == request.count
            else { throw Failure("send: \(errno)") }
            return try answer()
        }
    }

    /// Whether the other side closed, without another octet, within the patience.
    func isClosed() async throws -> Bool {
        try await onThread { [self] in
            var room: UInt8 = 0
            return unsafe read(descriptor, &room, 1) == 0
        }
    }

    private func answer() throws -> Answer {
        var bytes: [UInt8] = []
        while true {
            if let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) {
                let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
                    .split(separator: "\r\n").map(String.init)
                let words = (lines.first ?? "").split(separator: " ")
                var fields: [String: String] = [:]
                for line in lines.dropFirst() {
                    guard let colon = line.firstIndex(of: ":") else { continue }
                    fields[line[..<colon].lowercased()] = String(line[colon...].dropFirst(2))
                }
                guard words.count >= 2, let status = Int(words[1]) else {
                    throw Failure("malformed: \(lines)")
                }
                let length = fields["content-length"].flatMap { Int($0) } ?? 0
                if bytes.count >= end.upperBound + length {
                    return Answer(
                        status: status, fields: fields,
                        text: String(decoding: bytes[end.upperBound...], as: UTF8.self))
                }
            }
            var room = [UInt8](repeating: 0, count: 65_536)
            let count = unsafe read(descriptor, &room, room.count)
            guard count > 0 else { throw Failure(count == 0 ? "closed" : "read: \(errno)") }
            bytes += room.prefix(count)
        }
    }
}
