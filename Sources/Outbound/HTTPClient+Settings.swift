extension HTTPClient {
    package struct Settings: Sendable {
        package var addresses = AddressRule()
        /// Of a call that names none.
        package var deadline: Duration = .seconds(30)
        /// Looking up, connecting and TLS together.
        package var connectTimeout: Duration = .seconds(5)
        /// In hand at once, waiting ones among them; past it `overloaded`.
        package var maxCalls = 1000
        package var connectionsPerHost = 64
        package var connections = 256
        /// A connection that was not used for so long is not used again. Shorter than what servers
        /// keep (60 s and more): the side that sends should be the one that closes.
        package var idle: Duration = .seconds(30)
        /// Longest head of an answer, interim ones among it.
        package var headBytes = 32_768
        package var bodyBytes = 4 << 20
        /// What of a stream is held for a slow reader; past it the sender is held back.
        package var streamBufferBytes = 65_536
        /// PEM file of CAs beside the system's.
        package var caFile: String?
        package var allowsHTTP2 = true
        /// Follow `http_proxy`, `https_proxy` and `no_proxy`. Then the proxy's address is judged, not
        /// the target's, which only the proxy knows.
        package var usesEnvironmentProxy = false

        package init() {}
    }

    /// What one client did since its start.
    package struct Counters: Hashable, Sendable {
        /// `phase` is nil of an answered call.
        package struct Outcome: Hashable, Sendable {
            package let kind: Kind?
            package let phase: Phase?

            package init(kind: Kind?, phase: Phase?) {
                self.kind = kind
                self.phase = phase
            }
        }

        package var calls: [Outcome: Int] = [:]
        package var inFlight = 0
        /// Connections that stood and were used, and uses of one that stood already.
        package var connections = 0
        package var reuses = 0
    }
}
