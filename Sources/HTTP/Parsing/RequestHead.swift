/// What the parser learnt of a head: places in its bytes and a few facts, trivial to copy.
struct RequestHead: Sendable {
    enum Framing: Hashable, Sendable {
        case none
        case length(Int)
        case chunked
    }

    enum Expectation: Hashable, Sendable {
        case none
        case continue100
        case unknown
    }

    var method = MethodToken.other
    var methodRange = ByteRange.empty
    /// The path as sent, without query. Empty for `OPTIONS *`.
    var path = ByteRange.empty
    /// Without its "?"; empty if there is none.
    var query = ByteRange.empty
    /// Where the field lines are.
    var fields = ByteRange.empty
    var pathHasEscapes = false
    var isAsterisk = false
    /// Minor version of HTTP/1.
    var minorVersion = 1
    var framing = Framing.none
    var expectation = Expectation.none
    /// The options `close` and `keep-alive` of `Connection`.
    var asksClose = false
    var asksKeepAlive = false
    /// The value of a single `X-Request-Id`.
    var requestID = ByteRange.empty

    /// Whether there is an `Origin`: a browser's page asks.
    var hasOrigin = false

    /// RFC 9112 section 9.3.
    var keepsAlive: Bool { !asksClose && (minorVersion > 0 || asksKeepAlive) }
}
