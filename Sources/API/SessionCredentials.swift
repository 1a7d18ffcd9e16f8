internal import ControlPlane
internal import HTTP
internal import IO

/// How a browser is known: by the cookie of a session. What only a page of ours can do is asked for where
/// something is changed, since browsers add cookies to whatever page asks.
enum SessionCookie {
    /// Over TLS under the prefix `__Host-`, which no other host of the domain can set, and no page without TLS
    /// (RFC 6265bis section 4.1.3.2); without TLS, on a machine of one's own, browsers refuse that.
    static func name(isSecure: Bool) -> String {
        isSecure ? "__Host-breakwater-session" : "breakwater-session"
    }

    static func set(_ token: SessionToken, lasts: Int64, isSecure: Bool) -> Field {
        field(token.text, maxAge: lasts, isSecure)
    }

    static func clear(isSecure: Bool) -> Field { field("", maxAge: 0, isSecure) }

    private static func field(_ value: String, maxAge: Int64, _ isSecure: Bool) -> Field {
        Field(
            .setCookie,
            "\(name(isSecure: isSecure))=\(value); Path=/; Max-Age=\(maxAge); HttpOnly; SameSite=Strict"
                + (isSecure ? "; Secure" : ""))
    }

    /// The token of a request; nil if there is none, or two that differ.
    static func token(of request: Request, isSecure: Bool) -> SessionToken? {
        let name = name(isSecure: isSecure)
        var found: Set<String> = []
        for pair in request.values(.cookie).flatMap({ $0.split(separator: ";") }) {
            let words = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard words.count == 2, words[0].drop(while: { $0 == " " }) == name else { continue }
            found.insert(String(words[1]))
        }
        return found.count == 1 ? found.first.flatMap { SessionToken($0) } : nil
    }
}

extension Request {
    /// Whether a browser says that no page of ours sent it: `Sec-Fetch-Site`, or where that is missing
    /// `Origin`. Without both it is no browser that we know of.
    var isFromElsewhere: Bool {
        if let site = header("Sec-Fetch-Site") { return site != "same-origin" && site != "none" }
        guard let origin = header(.origin) else { return false }
        guard let host = header(.host) else { return true }
        return origin != "http://\(host)" && origin != "https://\(host)"
    }

    /// Whether it says at all where it comes from.
    var saysOrigin: Bool { header("Sec-Fetch-Site") != nil || header(.origin) != nil }
}

extension Services {
    /// Whether the client's connection is over TLS, which ends in front of us.
    func isSecure(_ request: Request) -> Bool {
        settings.secureCookies || settings.trustedProxies.isSecure(request)
    }

    /// The caller of a session, if it may do what it asks for.
    ///
    /// Throws 401 for a session that is over, 403 for a call that another page may have sent.
    ///
    /// - Parameter isUse: false where a stream that it began is looked at again.
    func sessionCaller(
        _ token: SessionToken, _ request: Request, isUse: Bool = true
    ) async throws(Failure) -> Caller {
        let address = settings.trustedProxies.client(of: request)
        let keys = keys
        let caller: Caller
        do throws(ControlPlaneError) {
            caller = try await keys.caller(ofKey: token.keyID, from: { address })
            if isUse {
                _ = try await keys.sessions.session(token, of: caller.tenant, from: address)
            } else if try await !keys.sessions.goesOn(token, of: caller.tenant) {
                throw ControlPlaneError.badCredentials
            }
        } catch {
            throw .domain(error)
        }
        guard request.method != .get, request.method != .head else { return caller }
        guard request.saysOrigin, !request.isFromElsewhere else {
            throw .problem(.crossSite("a session's changes must come from this origin's own page"))
        }
        guard let csrf = request.header(.csrfToken), token.matches(csrf: csrf) else {
            throw .problem(
                .crossSite("send the session's csrfToken as X-CSRF-Token with each change"))
        }
        return caller
    }
}

extension Problem {
    static func crossSite(_ detail: String) -> Problem { Problem(.forbidden, detail: detail) }
}

extension FieldName {
    static let csrfToken = FieldName("X-CSRF-Token")
    /// The tenant that an operator acts for.
    static let actingFor = FieldName("Breakwater-Tenant")
}
