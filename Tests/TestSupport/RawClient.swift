internal import Glibc
package import IO

/// A client that sends exactly the bytes it is told to.
package final class RawClient {
    private let descriptor: Int32
    private var received: [UInt8] = []

    package init(_ address: Address, receiveBuffer: Int32? = nil) throws {
        switch address {
        case .unix(let path):
            descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            var name = sockaddr_un()
            name.sun_family = sa_family_t(AF_UNIX)
            unsafe withUnsafeMutableBytes(of: &name.sun_path) { bytes in
                unsafe bytes.copyBytes(from: path.utf8)
            }
            try Self.connect(descriptor, name)
        case .tcp(_, let port):
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            if var size = receiveBuffer {
                _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4)
            }
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_port = port.bigEndian
            name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            try Self.connect(descriptor, name)
            var one: Int32 = 1
            _ = unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
        }
    }

    private static func connect<Name>(_ descriptor: Int32, _ name: Name) throws {
        let result = unsafe withUnsafeBytes(of: name) { bytes in
            unsafe Glibc.connect(
                descriptor, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                socklen_t(bytes.count))
        }
        guard result == 0 else { throw Failure.connecting(errno) }
    }

    deinit { Glibc.close(descriptor) }

    package func send(_ text: String) throws { try send(Array(text.utf8)) }

    package func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes[sent...].withUnsafeBytes { rest in
                unsafe Glibc.send(descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure.writing(errno) }
            sent += count
        }
    }

    package func closeWrite() { shutdown(descriptor, Int32(SHUT_WR)) }

    package enum Failure: Error {
        case connecting(Int32), writing(Int32), reading(Int32), timedOut, ended, malformed(String)
    }

    /// Reads once; false at the end of the stream.
    private func fill(_ patience: Duration) throws -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&entry, 1, Int32(patience.milliseconds)) > 0 else {
            throw Failure.timedOut
        }
        var room = [UInt8](repeating: 0, count: 65_536)
        let count = unsafe read(descriptor, &room, room.count)
        guard count >= 0 else { throw Failure.reading(errno) }
        received += room[0..<count]
        return count > 0
    }

    /// One answer; for a request with HEAD say so.
    package func response(toHead: Bool = false, patience: Duration = .seconds(10)) throws
        -> RawResponse
    {
        while true {
            if let (response, used) = try RawResponse.parse(received, toHead: toHead, ended: false)
            {
                received.removeFirst(used)
                return response
            }
            if try !fill(patience) {
                if let (response, _) = try RawResponse.parse(received, toHead: toHead, ended: true)
                {
                    received = []
                    return response
                }
                throw Failure.ended
            }
        }
    }

    /// Whether the server closes in good order within `patience`, having sent nothing more.
    package func isClosed(within patience: Duration = .seconds(5)) -> Bool {
        guard received.isEmpty, let more = try? fill(patience) else { return false }
        return !more
    }

    /// The head alone of an answer whose body is then read with `chunk`.
    package func head(patience: Duration = .seconds(10)) throws -> RawResponse {
        while true {
            if let (response, _) = try RawResponse.parse(received, toHead: true, ended: false),
                let end = received.firstRange(of: Array("\r\n\r\n".utf8))
            {
                received.removeFirst(end.upperBound)
                return response
            }
            if try !fill(patience) { throw Failure.ended }
        }
    }

    /// The next piece of a body in chunks (RFC 9112 section 7.1); nil: it ended soundly.
    package func chunk(patience: Duration = .seconds(10)) throws -> [UInt8]? {
        while true {
            if let end = received.firstRange(of: Array("\r\n".utf8)) {
                let line = String(decoding: received[..<end.lowerBound], as: UTF8.self)
                guard let size = Int(line, radix: 16) else { throw Failure.malformed(line) }
                if size == 0 { return nil }
                if received.count >= end.upperBound + size + 2 {
                    let piece = Array(received[end.upperBound..<end.upperBound + size])
                    received.removeFirst(end.upperBound + size + 2)
                    return piece
                }
            }
            if try !fill(patience) { throw Failure.ended }
        }
    }

    /// What is there, up to `count` octets.
    package func bytes(_ count: Int, patience: Duration = .seconds(10)) throws -> [UInt8] {
        while received.count < count { if try !fill(patience) { break } }
        let taken = Array(received.prefix(count))
        received.removeFirst(taken.count)
        return taken
    }
}

/// An answer taken apart without any help from the code under test.
package struct RawResponse: Equatable {
    package var status: Int
    package var head: String
    package var fields: [(name: String, value: String)]
    package var body: [UInt8]

    package var text: String { String(decoding: body, as: UTF8.self) }

    package func field(_ name: String) -> String? {
        fields.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    package static func == (left: RawResponse, right: RawResponse) -> Bool {
        left.head == right.head && left.body == right.body
    }

    /// The first answer in `bytes` and its octets; nil while it is incomplete.
    static func parse(
        _ bytes: [UInt8], toHead: Bool, ended: Bool
    ) throws -> (RawResponse, Int)? {
        guard let headEnd = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let head = String(decoding: bytes[..<headEnd.lowerBound], as: UTF8.self)
        let lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)
        let words = lines[0].split(separator: " ")
        guard words.count >= 2, words[0] == "HTTP/1.1", let status = Int(words[1]) else {
            throw RawClient.Failure.malformed(head)
        }
        var response = RawResponse(status: status, head: head, fields: [], body: [])
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":"), line[colon...].hasPrefix(": ") else {
                throw RawClient.Failure.malformed(head)
            }
            response.fields.append((String(line[..<colon]), String(line[colon...].dropFirst(2))))
        }
        var rest = bytes[headEnd.upperBound...]
        if toHead || status == 204 || status == 304 || status < 200 {
            return (response, headEnd.upperBound)
        }
        if let text = response.field("Content-Length") {
            guard let length = Int(text) else { throw RawClient.Failure.malformed(head) }
            if rest.count < length { return nil }
            response.body = Array(rest.prefix(length))
            return (response, headEnd.upperBound + length)
        }
        guard response.field("Transfer-Encoding") == "chunked" else {
            response.body = Array(rest)
            return ended ? (response, bytes.count) : nil
        }
        while let end = rest.firstRange(of: Array("\r\n".utf8)) {
            let line = String(decoding: rest[..<end.lowerBound], as: UTF8.self)
            guard let size = Int(line, radix: 16) else { throw RawClient.Failure.malformed(line) }
            rest = rest[end.upperBound...]
            if rest.count < size + 2 { return nil }
            if size == 0 { return (response, rest.startIndex + 2) }
            response.body += rest.prefix(size)
            rest = rest.dropFirst(size + 2)
        }
        return nil
    }
}
