extension HTTPClient {
    /// How far a call came. It decides whether the other side may have acted, and is known from
    /// libcurl's callbacks, which come in this order whatever the protocol:
    ///
    /// | phase | it is known that |
    /// |---|---|
    /// | waiting | nothing was called yet: the call waits for a free connection |
    /// | resolve | RESOLVER_START: the name is being looked up |
    /// | connect | OPENSOCKET: an address was found, a socket made |
    /// | tls | SSL_CTX: a socket is connected, the handshake begins |
    /// | sending | PREREQ, the gate: the connection stands, the request begins to go out |
    /// | awaitingHead | READ gave libcurl the last octet of the body, or there is none |
    /// | head | HEADER: an octet of the answer came |
    /// | body | HEADER with the empty line of a final head |
    ///
    /// On a connection that is used again, `sending` follows `waiting`. What libcurl has not taken
    /// from READ cannot have been sent; what it took counts as sent, since it may be. Over HTTP/1.1 a
    /// head is known to be unsent while CURLINFO_REQUEST_SIZE is 0; HTTP/2 has a buffer of its own in
    /// between. None of these facts is ever taken back, also not by a repetition.
    package enum Phase: String, CaseIterable, Hashable, Sendable {
        case waiting, resolve, connect, tls, sending
        case awaitingHead = "awaiting_head"
        case head, body

        /// The other side may have the whole request: everything from here on is ambiguous.
        package var isSent: Bool {
            switch self {
            case .waiting, .resolve, .connect, .tls, .sending: false
            case .awaitingHead, .head, .body: true
            }
        }
    }

    package enum Kind: String, CaseIterable, Hashable, Sendable {
        /// The port answered with a reset: nobody listens.
        case refused
        /// No route, no network.
        case unreachable
        /// The connection ended before the answer was complete: reset or closed.
        case reset
        case timedOut = "timed_out"
        /// The name has no address.
        case name
        /// `AddressRule` refuses every address of the host; nothing was sent, not even a SYN.
        case addressRefused = "address_refused"
        case wrongHost = "wrong_host"
        case expired
        /// Not signed by a CA that we know.
        case untrusted
        /// The TLS handshake failed otherwise.
        case tls
        /// The answer is not HTTP.
        case `protocol`
        /// The answer's head or body is over its bound.
        case tooLarge = "too_large"
        case cancelled
        /// `maxCalls` are in hand.
        case overloaded
        /// The request itself may not be sent; see `detail`.
        case invalid
        case outOfMemory = "out_of_memory"
    }

    /// Why a call has no answer.
    package struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        package let phase: Phase
        package let kind: Kind
        /// For the log: libcurl's words. May name hosts, never holds fields or bodies.
        package let detail: String

        package init(_ phase: Phase, _ kind: Kind, _ detail: String) {
            self.phase = phase
            self.kind = kind
            self.detail = detail
        }

        /// Whether the other side may have acted on the request. False is certain, given a server
        /// that does not act on half a request.
        package var mayHaveBeenApplied: Bool { phase.isSent }

        package var description: String { "\(kind.rawValue) (\(phase.rawValue)): \(detail)" }
    }
}
