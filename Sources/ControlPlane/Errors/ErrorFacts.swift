/// What is known of an error at the provider. Structured facts decide before the message does.
package struct ErrorFacts: Hashable, Sendable {
    package enum Plane: String, Hashable, Sendable, CaseIterable {
        /// The provider's API: create, list, kill.
        case control
        /// A sandbox itself and the edge in front of it: commands, files.
        case data
    }

    /// How far the call had come when its transport failed.
    package enum Phase: String, Hashable, Sendable, CaseIterable {
        case dns
        case connect
        case tls
        /// The request was written, at least in part; nothing came back.
        case sent
        /// The answer's head was being read.
        case head
        case body

        /// Whether the provider may have got the request.
        var mayHaveArrived: Bool {
            switch self {
            case .dns, .connect, .tls: false
            case .sent, .head, .body: true
            }
        }
    }

    package var plane = Plane.control
    /// HTTP status.
    package var status: Int?
    /// The provider's own name for it, or a code of gRPC or Connect: `sandbox_capacity_unavailable`,
    /// `deadline_exceeded`.
    package var errorCode: String?
    /// Type or code of a client's error: `httpx.ReadTimeout`, `ECONNRESET`, `NSURLErrorDomain -1001`.
    package var exception: String?
    package var phase: Phase?
    /// What the provider asks to wait, in `Retry-After`.
    package var retryAfter: Duration?
    /// The provider's rate-limit fields say that no request is left in the window.
    package var isRateLimitSpent = false
    /// The rest of that window.
    package var windowEnd: Duration?
    package var message = ""

    package init() {}

    /// The message, or where there is none what else says most.
    var words: String {
        guard message.isEmpty else { return message }
        return errorCode ?? exception ?? status.map { "status \($0)" } ?? "no message"
    }

    /// How long the provider wants to be left alone, if it says so.
    var wait: Duration? { retryAfter ?? (isRateLimitSpent ? windowEnd : nil) }
}
