/// An answer. The layer adds `Date`, `Content-Length` or `Transfer-Encoding`, `X-Request-Id` and
/// `Connection`; a handler's own fields of those names are left out.
package struct Response: Sendable {
    package enum Body: Sendable {
        case empty
        case bytes([UInt8])
        /// Sent in chunks while it is made; its connection is closed afterwards.
        case stream(Stream)
        /// No answer at all, head included: the connection is closed, by a reset if so wanted. For a
        /// server that plays one that fails.
        case abandoned(byReset: Bool)
    }

    /// Writes a body piece by piece, each `write` waiting until the client has room.
    ///
    /// Runs in a task that is cancelled when the client leaves or the server drains; `write` then
    /// throws, and what it waits for itself must honour the cancellation. Returning ends the body
    /// soundly; throwing anything but `StreamEnded` cuts it off so that the client notices, and
    /// `StreamReset` does so by a reset.
    package typealias Stream = @Sendable (BodyWriter) async throws -> Void

    package var status: Status
    package var contentType: ContentType?
    package var fields: [Field]
    package var body: Body

    package init(
        _ status: Status = .ok, contentType: ContentType? = nil, fields: [Field] = [],
        body: Body = .empty
    ) {
        self.status = status
        self.contentType = contentType
        self.fields = fields
        self.body = body
    }

    /// `application/json`.
    package static func json(_ bytes: [UInt8], status: Status = .ok) -> Response {
        Response(status, contentType: .json, body: .bytes(bytes))
    }

    package static func text(_ text: String, status: Status = .ok) -> Response {
        Response(status, contentType: .text, body: .bytes(Array(text.utf8)))
    }
}

/// A media type that we answer with; others go into `fields`.
package struct ContentType: Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    let text: StaticString

    package init(stringLiteral text: StaticString) { self.text = text }

    package var description: String { text.description }

    package static let json: ContentType = "application/json"
    package static let problem: ContentType = "application/problem+json"
    package static let text: ContentType = "text/plain; charset=utf-8"
    package static let html: ContentType = "text/html; charset=utf-8"
    package static let yaml: ContentType = "application/yaml"
    package static let eventStream: ContentType = "text/event-stream"
}

/// Where a streamed body goes. One task writes at a time.
package struct BodyWriter {
    private let send: @Sendable ([UInt8]) async throws(StreamEnded) -> Void

    package init(_ send: @escaping @Sendable ([UInt8]) async throws(StreamEnded) -> Void) {
        self.send = send
    }

    /// Returns once the kernel has taken all of `bytes`.
    ///
    /// - Throws: `StreamEnded` when there is nobody to write to any more; return then.
    package func write(_ bytes: [UInt8]) async throws(StreamEnded) {
        try await send(bytes)
    }

    package func write(_ text: String) async throws(StreamEnded) {
        try await send(Array(text.utf8))
    }
}

/// Thrown by the maker of a stream that is to end in a reset of its connection.
package struct StreamReset: Error {
    package init() {}
}

/// Why a stream must end before its time.
package enum StreamEnded: Error, Hashable, Sendable {
    /// The client closed its connection or read too slowly.
    case clientGone
    /// The server drains; the body is ended soundly.
    case draining
}
