/// What the names of errors say: types of clients and SDKs, codes of systems and of the provider.
enum ErrorNames {
    /// Names that say nothing about what happened, and those whose words would mislead.
    enum Said: Equatable {
        case meaning(Meaning)
        /// It is this, whatever its message says: a command of the user's own failed.
        case always(ErrorKind)
    }

    /// Codes in capitals, whose words say too little.
    private static let exact: [String: Said] = {
        var names: [String: Said] = [:]
        for name in [
            "ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "EPIPE", "ENOTFOUND", "EAI_AGAIN",
            "EAI_NODATA", "EAI_NONAME", "EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH", "ENETDOWN",
            "ENETRESET", "EPROTO", "ERR_NETWORK", "UND_ERR_INFO", "UND_ERR_SOCKET",
            "UND_ERR_RES_CONTENT_LENGTH_MISMATCH", "IncompleteRead", "RemoteDisconnected",
            "BadStatusLine", "gaierror", "uncleanShutdown",
        ] { names[name] = .meaning(.network) }
        for name in ["ETIMEDOUT", "ESOCKETTIMEDOUT", "deadlineExceeded"] {
            names[name] = .meaning(.timeout)
        }
        for name in [
            "DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN", "CERT_HAS_EXPIRED",
            "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
            "ERR_TLS_CERT_ALTNAME_INVALID",
        ] { names[name] = .meaning(.certificate) }
        for name in ["Throttling", "SlowDown", "RequestLimitExceeded", "ThrottledException"] {
            names[name] = .meaning(.rateLimit)
        }
        for name in [
            "CommandExitException", "CommandExitError", "TemplateException", "TemplateError",
        ] {
            names[name] = .always(.invalidRequest)
        }
        names["proxyAuthenticationRequired"] = .meaning(.auth)
        // Names that only say that there was an error.
        for name in [
            "ModuleNotFoundError", "HTTPError", "HTTPStatusError", "APIError", "ServiceError",
            "ClientResponseError",
        ] {
            names[name] = .always(.unknown)
        }
        return names
    }()

    /// Words of names, in order of precedence as ever. A name is cut at `_`, `.`, `-` and capitals.
    private static let book = PhraseBook([
        (.certificate, ["certificate", "cert"]),
        (.quota, ["quota", "limit exceeded", "not enough space", "insufficient storage"]),
        (
            .rateLimit,
            ["rate limit", "rate limited", "too many requests", "throttling", "throttled"]
        ),
        (.timeout, ["timeout", "timed out", "deadline exceeded", "time out"]),
        (
            .network,
            [
                "connection", "connect", "connector", "network", "socket", "protocol", "read error",
                "write error", "close error", "disconnected", "dns", "ssl", "tls", "hpe",
                "unknown host",
                "no route", "url error", "chunked encoding", "payload", "max retry", "broken pipe",
                "proxy", "bad gateway", "client os error", "eof", "name resolution",
                "incomplete read",
            ]
        ),
        (
            .auth,
            [
                "authentication", "unauthorized", "unauthenticated", "forbidden", "permission",
                "auth", "credentials",
            ]
        ),
        (.notFound, ["not found", "no such"]),
        (
            .invalid,
            [
                "bad request", "invalid", "validation", "unsupported", "missing schema",
                "empty host",
                "empty scheme", "unprocessable",
            ]
        ),
        (.unavailable, ["unavailable", "service busy", "overloaded"]),
        (.internal, ["internal server", "internal error"]),
    ])

    /// - Parameter name: perhaps with the module before it, `httpx.ReadTimeout`.
    static func said(by name: String) -> Said? {
        let last = lastPart(of: name)
        if let known = exact[last] { return known }
        if name.contains("NSURLError"), let code = urlErrorCode(in: name) {
            return .meaning(meaning(ofURLError: code))
        }
        return book.meanings(in: words(of: last)).min().map { .meaning($0) }
    }

    /// A word of a message that is the name of an error and not of something else: it ends as such
    /// names do, or is a code in capitals.
    static func said(inText word: String) -> Said? {
        let last = lastPart(of: word)
        if let known = exact[last] { return known }
        let isName = ["Error", "Exception", "Timeout"].contains {
            last.hasSuffix($0) && last.utf8.count > $0.utf8.count
        }
        let isCode = ["UND_ERR_", "ERR_", "HPE_"].contains { last.hasPrefix($0) }
        guard isName || isCode || word.hasPrefix("HTTPClientError.") else { return nil }
        return book.meanings(in: words(of: last)).min().map { .meaning($0) }
    }

    /// Errors of which the name says that no request was written.
    static func neverLeft(_ name: String?) -> Bool {
        guard let name else { return false }
        let signs: Set<String> = [
            "connect", "dns", "econnrefused", "enotfound", "resolution", "handshake", "refused",
            "pool",
        ]
        return words(of: lastPart(of: name)).contains { signs.contains($0) }
    }

    private static func lastPart(of name: String) -> String {
        String(name.split(whereSeparator: { ".:$".contains($0) }).last ?? "")
    }

    /// `ReadTimeoutError` → read, timeout, error; `RATE_LIMIT_EXCEEDED` → rate, limit, exceeded.
    static func words(of name: String) -> [String] {
        var words: [String] = []
        var word: [UInt8] = []
        let bytes = Array(name.utf8)
        func isUpper(_ index: Int) -> Bool {
            index < bytes.count && (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(bytes[index])
        }
        func isLower(_ index: Int) -> Bool {
            index < bytes.count && (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(bytes[index])
        }
        for (index, byte) in bytes.enumerated() {
            let isBreak =
                isUpper(index) && index > 0 && (!isUpper(index - 1) || isLower(index + 1))
            if isBreak || "_.-: /".utf8.contains(byte), !word.isEmpty {
                words.append(String(decoding: word, as: UTF8.self))
                word = []
            }
            if !"_.-: /".utf8.contains(byte) { word.append(isUpper(index) ? byte | 0x20 : byte) }
        }
        return word.isEmpty ? words : words + [String(decoding: word, as: UTF8.self)]
    }

    /// `NSURLErrorDomain -1001`, `NSURLErrorDomain Code=-1001`.
    static func urlErrorCode(in name: String) -> Int? {
        guard let minus = name.lastIndex(of: "-") else { return nil }
        return Int(name[name.index(after: minus)...].prefix { $0.isASCII && $0.isNumber })
            .map { -$0 }
    }

    /// Foundation's `NSURLError...` constants.
    static func meaning(ofURLError code: Int) -> Meaning {
        switch code {
        case -1001: .timeout
        case -1013, -1012: .auth
        case -1204 ... -1201: .certificate
        case -1000, -1002: .invalid
        default: .network
        }
    }
}
