internal import IO

/// Reads a stream of server-sent events (HTML Living Standard, section 9.2), with nothing of the code under
/// test in it.
package final class EventStreamClient: @unchecked Sendable {
    // Unchecked: one task uses it at a time.
    private let client: RawClient
    private var text: [UInt8] = []
    /// The answer to the request, whose body goes on.
    package let answer: RawResponse
    /// As a browser keeps it, for the next stream.
    package private(set) var lastID: String?
    package private(set) var heartbeats = 0

    package struct Message: Sendable {
        package let event: String
        package let data: String
    }

    package static func open(
        _ port: UInt16, key: String?, cookie: String? = nil, _ query: String = "",
        after id: String? = nil, receiveBuffer: Int32? = nil
    ) async throws -> EventStreamClient {
        try await onThread {
            try EventStreamClient(port, key, cookie, query, after: id, receiveBuffer)
        }
    }

    private init(
        _ port: UInt16, _ key: String?, _ cookie: String?, _ query: String, after id: String?,
        _ buffer: Int32?
    ) throws {
        client = try RawClient(.tcp(host: "127.0.0.1", port: port), receiveBuffer: buffer)
        var request = "GET /v1/events/stream\(query) HTTP/1.1\r\nHost: test\r\n"
        if let key { request += "Authorization: Bearer \(key)\r\n" }
        if let cookie { request += "Cookie: \(cookie)\r\n" }
        if let id { request += "Last-Event-ID: \(id)\r\n" }
        try client.send(request + "\r\n")
        answer = try client.head()
        lastID = id
        // The place at which it begins comes at once.
        if answer.status == 200 { while lastID == id, id == nil { _ = try read(.seconds(10)) } }
    }

    /// The next event; nil: the stream ended soundly. Throws where it was cut off, or nothing came in time.
    package func next(within patience: Duration = .seconds(20)) async throws -> Message? {
        try await onThread { [self] in
            let end = MonotonicInstant.now.advanced(by: patience)
            while true {
                switch try read(MonotonicInstant.now.duration(to: end)) {
                case .message(let message): return message
                case .nothing: continue
                case .end: return nil
                }
            }
        }
    }

    /// The next `count` events.
    package func next(_ count: Int, within patience: Duration = .seconds(20)) async throws
        -> [Message]
    {
        var messages: [Message] = []
        while messages.count < count, let message = try await next(within: patience) {
            messages.append(message)
        }
        return messages
    }

    /// The next `count` events, or those up to where the stream broke.
    package func nextUntilBroken(_ count: Int) async -> [Message] {
        var messages: [Message] = []
        while messages.count < count, let message = try? await next() { messages.append(message) }
        return messages
    }

    private enum Block {
        case message(Message)
        case nothing
        case end
    }

    /// One block, up to its empty line.
    private func read(_ patience: Duration) throws -> Block {
        while true {
            if let end = text.firstRange(of: Array("\n\n".utf8)) {
                let lines = String(decoding: text[..<end.lowerBound], as: UTF8.self)
                    .split(separator: "\n").map(String.init)
                text.removeFirst(end.upperBound)
                return block(lines)
            }
            guard let chunk = try client.chunk(patience: patience) else { return .end }
            text += chunk
        }
    }

    private func block(_ lines: [String]) -> Block {
        var (event, data) = ("message", [String]())
        for line in lines {
            if line.hasPrefix(":") { heartbeats += 1 }
            if line.hasPrefix("id: ") { lastID = String(line.dropFirst(4)) }
            if line.hasPrefix("event: ") { event = String(line.dropFirst(7)) }
            if line.hasPrefix("data: ") { data.append(String(line.dropFirst(6))) }
        }
        if data.isEmpty { return .nothing }
        return .message(Message(event: event, data: data.joined(separator: "\n")))
    }
}
