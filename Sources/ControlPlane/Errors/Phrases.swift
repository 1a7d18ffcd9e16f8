/// What words say about an error. The order of the cases is that of precedence: in a text that says
/// several things the first one counts.
enum Meaning: Int, CaseIterable, Comparable {
    /// The sandbox runs, and nobody listens on the port.
    case portClosed
    case gone
    case certificate
    /// The template needs a machine that there is none of.
    case incompatible
    case capacity
    case quota
    case rateLimit
    case timeout
    case network
    case auth
    case notFound
    case invalid
    /// Some limit, of what is not said.
    case limit
    /// The bare word: people also write about time-outs that did not happen.
    case timeoutWord
    case unavailable
    case `internal`

    var kind: ErrorKind {
        switch self {
        case .portClosed, .network: .network
        case .gone, .notFound: .notFound
        case .certificate, .auth: .auth
        case .incompatible, .invalid: .invalidRequest
        case .quota, .limit: .quota
        case .rateLimit: .rateLimit
        case .timeout, .timeoutWord: .timeout
        case .capacity, .unavailable: .unavailable
        case .internal: .internal
        }
    }

    static func < (left: Meaning, right: Meaning) -> Bool { left.rawValue < right.rawValue }

    /// Phrases by meaning, in lower case; `*` stands for any one word.
    static let phrases: [(Meaning, [String])] = [
        (.portClosed, ["port is not open"]),
        (
            .gone,
            [
                "sandbox has been reaped", "sandbox was reaped",
                "sandbox exceeded its maximum", "sandbox was terminated",
                "sandbox has been terminated", "sandbox has expired", "sandbox expired",
                "sandbox is no longer", "sandbox no longer", "sandbox * is no longer",
                "sandbox has stopped", "sandbox is stopped", "sandbox does not exist",
                "sandbox doesn't exist",
                "sandbox was not found", "sandbox not found", "sandbox * not found",
                "sandbox * wasn't found", "sandbox wasn't found", "sandbox is probably not running",
                "sandbox was killed", "sandbox has been killed", "sandbox is not running",
                "sandbox * is not running", "likely due to sandbox timeout",
            ]
        ),
        (
            .certificate,
            [
                "certificate is invalid", "certificate expired", "certificate validation",
                "invalid certificate", "bad certificate", "untrusted certificate",
                "certificate verification", "certificate authority",
                "certificate verify failed", "certificate_verify_failed", "self-signed certificate",
                "self signed certificate", "certificate problem", "certificate has expired",
                "certificate is not", "x509", "cannot validate certificate",
                "unable to verify the first certificate", "unable to get local issuer certificate",
                "pkix path", "valid certification path", "certificate is not trusted",
                "altnames", "hostname mismatch",
            ]
        ),
        (.incompatible, ["no compatible node"]),
        (
            .quota,
            [
                "cannot create any more", "can't create any more", "exceeded the maximum number",
                "hit your limit", "reached your limit", "exceeded your limit", "upgrade your plan",
                "insufficient funds", "credit balance", "storage full", "disk full", "disk is full",
                "quota exceeded", "exceeded quota", "exceeded your quota",
                "exceeded your current quota",
                "quota has been exceeded", "exceeds quota", "exceeds your quota", "over quota",
                "daily quota", "monthly quota", "out of resource quota", "resource quota exceeded",
                "quota reached", "quota limit",
                "maximum number of", "maximum volume count", "limit exceeded maximum allowed",
                "cpu limit", "memory limit exceeded", "disk limit", "resource limit reached",
                "sandbox limit", "concurrency limit", "concurrent sandboxes limit", "plan limit",
                "limit of your plan", "limitexceeded.sandboxinstance", "limitexceeded",
                "not enough disk space",
                "not enough space", "no space left on device", "not enough inodes",
                "insufficient_quota", "out of credits", "insufficient credits",
                "insufficient balance", "payment required", "spending limit", "billing limit",
                "usage limit",
            ]
        ),
        (
            .rateLimit,
            [
                "rate-limit", "too many attempts", "request rate", "request limit",
                "requests limit", "requests per hour", "rate quota", "per-minute limit",
                "rate limit", "rate limits", "rate limited", "rate-limited", "rate exceeded",
                "too many requests", "too many concurrent", "throttled", "throttling",
                "rate_limit_exceeded",
                "rate_limited", "toomanyrequests", "too_many_requests", "request limit exceeded",
                "requests per minute", "requests per second", "requests per day", "slow down",
                "resource has been exhausted", "resource_exhausted",
            ]
        ),
        (
            .timeout,
            [
                "in the time allotted", "network timeout", "exceeded header timeout",
                "time limit exceeded", "time limit reached", "exceeded the timeout",
                "timeout elapsed", "timeout was reached", "timed_out", "deadlineexceeded",
                "deadline has passed", "context deadline", "gave up waiting", "no response within",
                "not respond within", "not ready within",
                "timed out", "time out", "timed-out", "deadline exceeded", "deadline_exceeded",
                "timeout error", "timeout exceeded", "timeout expired", "timeout period",
                "timeout occurred", "request timeout", "response timeout", "connect timeout",
                "connection timeout", "read timeout", "write timeout", "gateway timeout",
                "gateway time-out", "handshake timeout", "i/o timeout", "pool timeout",
                "headers timeout", "body timeout", "due to timeout", "timeout awaiting",
                "timeout waiting", "timeout while", "timeout reached", "timeout of",
                "operation timeout", "client.timeout exceeded", "did not finish within",
                "did not respond in time", "did not properly respond", "took too long",
                "likely due to exceeding",
            ]
        ),
        (
            .network,
            [
                "no connection established",
                "reset by peer", "forcibly closed", "closed by remote", "closed the connection",
                "lost connection", "connection dropped", "connection interrupted",
                "connection attempt failed", "connection to * failed", "connection to * refused",
                "premature close", "premature eof", "unexpected end of",
                "closed network connection", "closed idle connection", "client connection lost",
                "software caused connection abort", "remote host closed", "hung up",
                "err_name_not_resolved", "err_internet_disconnected", "nxdomain", "servfail",
                "network failure", "network is down", "network connection", "network unreachable",
                "host unreachable", "unreachable", "protocol error", "ssl error", "tls error",
                "handshake failed", "handshake failure", "eof while reading", "socket exception",
                "websocket closed", "websocket connection", "could not reach", "couldn't reach",
                "cannot reach", "unable to reach", "could not be reached",
                "temporary failure in name",
                "connection reset", "connection refused", "connection aborted", "connection closed",
                "connection broken", "connection lost", "connection terminated",
                "connection failed",
                "connection failure", "connection error", "connection termination",
                "connection was lost", "connection was closed", "connection was reset",
                "connection was refused", "connection appears to be offline",
                "connection reset by peer",
                "connect call failed", "connect error", "network is unreachable", "network error",
                "network connection lost", "network connection was lost",
                "network socket disconnected",
                "no route to host", "host is unreachable", "host is down", "broken pipe",
                "socket hang up", "socket closed", "socket error", "socket idle timeout",
                "other side closed",
                "peer closed connection", "closed connection", "server disconnected",
                "remote end closed", "closed by the remote", "connection closed unexpectedly",
                "disconnect/reset before headers", "stream error", "stream reset", "stream closed",
                "goaway", "transport closing", "transport connection broken", "closing transport",
                "name or service not known", "name resolution", "nodename nor servname",
                "no such host", "no address associated", "could not resolve", "failed to resolve",
                "specified hostname could not be found", "getaddrinfo", "dns", "unknown host",
                "failed to connect", "cannot connect", "could not connect", "couldn't connect",
                "unable to connect", "failed to establish a new connection", "can't reach",
                "failed to fetch", "fetch failed", "recv failure", "send failure",
                "empty reply", "unexpected eof", "eof occurred", "incompleteread",
                "incomplete read",
                "incomplete chunked read", "transfer closed", "complete message body",
                "content-length", "chunked transfer", "payload is not completed",
                "reading a body", "parser received no bytes", "bad gateway", "badstatusline",
                "bad status line", "illegal status line", "invalid status line", "status line",
                "malformed http", "http/0.9", "match the http/1.1 protocol", "parse error",
                "wrong version number", "wrong_version_number", "ssl_error_syscall", "ssl_connect",
                "tls handshake", "ssl handshake", "terminated the handshake", "ssl message",
                "tls connection", "secure tls connection", "proxy connection failed",
                "proxy response", "ssl routines", "subconns are in transientfailure",
                "route request to sandbox", "internet connection", "body length does not match",
                "connectionterminated",
            ]
        ),
        (
            .auth,
            [
                "api key or jwt token", "token is required", "api key not configured",
                "api key is not configured", "api key not set", "api key is missing",
                "set e2b_api_key",
                "invalid key", "invalid_api_key", "api key expired", "api key has expired",
                "missing api key", "no api key", "missing credentials", "no credentials",
                "unable to authenticate", "could not authenticate", "login required",
                "please log in", "insufficient permission", "insufficient permissions",
                "insufficient scope", "lacks permission", "missing permission", "not permitted",
                "token is invalid", "invalid jwt", "jwt expired", "jwt malformed",
                "signaturedoesnotmatch", "signature does not match", "accessdenied",
                "access is denied", "account suspended", "account disabled",
                "account has been disabled", "unauthorised", "invalid authentication",
                "authentication error", "permissiondenied", "invalid authorization",
                "unauthorized", "unauthenticated", "not authenticated", "not authorized",
                "authentication failed", "authentication required", "invalid api key",
                "api key is required", "api key not found", "incorrect api key",
                "api key is invalid",
                "invalid access token", "access token is required", "invalid token",
                "expired token",
                "token has expired", "token expired", "invalid credentials",
                "check your credentials", "bad credentials", "access denied", "permission denied",
                "forbidden", "don't have access", "doesn't have access", "does not have access",
                "no access to", "team is banned", "team is blocked", "account is suspended",
                "authorization header is malformed", "given api key", "access token format",
                "signature is already expired", "valid access token",
            ]
        ),
        (
            .notFound,
            [
                "is not running",
                "wasn't found", "could not find", "couldn't find", "cannot find", "can't find",
                "no such", "unknown sandbox", "unknown template", "no longer available",
                "not_found", "notfound",
                "not found", "does not exist", "doesn't exist", "no such file or directory",
                "no such sandbox", "cannot be found", "could not be found", "can't be found",
                "no longer exists", "has been deleted",
            ]
        ),
        (
            .invalid,
            [
                "invalid", "is not valid", "malformed", "too large", "too long", "larger than max",
                "out of range", "unknown field", "unrecognized", "not allowed", "cannot be empty",
                "must not be", "must be a", "must be an", "must contain", "should be",
                "missing required", "required field", "conflict", "exceeds the maximum",
                "exceeds maximum", "incompatible", "mismatch",
                "bad request", "cannot be greater than", "can't be higher than",
                "must be greater than",
                "must be at least", "must be at most", "must be between", "must be one of",
                "is required", "is not supported", "not supported", "unsupported",
                "invalid argument",
                "invalid request", "validation error", "validation failed", "invalid parameter",
                "invalid value", "invalid format", "invalid name", "invalid url", "invalid id",
                "invalid sandbox", "invalid template", "invalid build", "invalid tag",
                "invalid header",
                "invalid metadata", "already exists", "already used", "already paused",
                "already running", "not implemented", "unprocessable", "empty host",
                "exceeds maximum allowed", "not both", "requires envd",
                "need to update the template",
                "method not allowed",
            ]
        ),
        (
            .capacity,
            [
                "insufficientinstancecapacity", "insufficient resources", "no available capacity",
                "no workers available", "no nodes available", "no available nodes",
                "no runners available", "no available runners", "no machines available",
                "currently at capacity", "high demand",
                "not enough capacity", "no capacity", "insufficient capacity", "out of capacity",
                "at capacity", "capacity exceeded",
            ]
        ),
        (
            .limit,
            [
                "limit exceeded", "limit reached", "limit has been reached", "limit was reached",
                "limit is reached", "exceeded the limit", "exceeds the limit", "exceeds limit",
                "reached the limit", "over the limit", "over limit", "hit the limit", "limit of *",
                "max of *",
            ]
        ),
        (.timeoutWord, ["timeout", "time-out"]),
        (
            .unavailable,
            [
                "server is overloaded", "is overloaded", "too busy", "high load",
                "temporarily down", "is down", "not ready", "is starting", "still starting",
                "warming up", "shutting down", "maintenance", "try again", "please retry",
                "is inactive", "not leader", "no leader", "no response from servers",
                "overloaded_error", "unhealthy", "temporarily",
                "service unavailable", "temporarily unavailable", "currently unavailable",
                "unavailable", "no healthy upstream", "overloaded", "node is busy",
                "server is busy",
                "try again later", "please retry shortly", "try again in a moment",
                "under maintenance", "still transitioning", "currently being", "is being",
            ]
        ),
        (
            .internal,
            [
                "internal_error", "something went wrong", "unexpected error", "unhandled exception",
                "internal failure", "internal_server_error", "error occurred while processing",
                "server_error",
                "internal server error", "internal error", "internal service error",
                "failed to place sandbox", "an unexpected error occurred on the server",
                "server error",
            ]
        ),
    ]

    /// Words that are errors where they are the whole last part: `Post "http://...": EOF`.
    static let lastWords: [String: Meaning] = [
        "timeout": .timeout, "timedout": .timeout, "eof": .network, "terminated": .network,
        "aborted": .network, "closed": .network, "forbidden": .auth,
    ]
}

/// Finds phrases in words: each word is looked up once, and what may follow it is compared.
struct PhraseBook {
    private struct Entry {
        let rest: [String]
        let meaning: Meaning
    }

    private let entries: [String: [Entry]]

    static let texts = PhraseBook(Meaning.phrases)
    /// A quota over a short time is a rate.
    static let spans = PhraseBook([
        (
            .rateLimit,
            [
                "per minute", "per second", "per hour", "requestsperminute", "retry in",
                "retry after",
            ]
        )
    ])

    init(_ phrases: [(Meaning, [String])]) {
        var entries: [String: [Entry]] = [:]
        for (meaning, texts) in phrases {
            for text in texts {
                let words = text.split(separator: " ").map(String.init)
                entries[words[0], default: []].append(
                    Entry(rest: Array(words.dropFirst()), meaning: meaning))
            }
        }
        self.entries = entries
    }

    /// The meanings of all phrases in there.
    func meanings(in words: [String]) -> Set<Meaning> {
        var found: Set<Meaning> = []
        for (index, word) in words.enumerated() {
            for entry in entries[word] ?? [] where !found.contains(entry.meaning) {
                if Self.matches(entry.rest, words[(index + 1)...]) { found.insert(entry.meaning) }
            }
        }
        return found
    }

    private static func matches(_ rest: [String], _ words: ArraySlice<String>) -> Bool {
        guard words.count >= rest.count else { return false }
        return zip(rest, words).allSatisfy { $0 == "*" || $0 == $1 }
    }
}
