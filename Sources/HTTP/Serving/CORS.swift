/// Lets pages of other origins call, by the CORS protocol of the Fetch standard: a list of exact
/// origins, and never credentials that the browser adds itself (cookies), since keys are sent by name.
package struct CORS: Sendable {
    /// How long a browser may keep a preflight's answer, in seconds: so late may a changed list be.
    static let maxAgeS = 600
    /// What calls may carry.
    private static let allowedHeaders =
        "Authorization, X-API-Key, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, "
        + "Last-Event-ID, X-Request-Id, traceparent, tracestate"
    /// What pages may read of answers, beyond the few that any page may.
    private static let exposedHeaders =
        "ETag, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, Location, "
        + "Idempotency-Replayed, WWW-Authenticate"

    package let origins: [String]

    /// What is wrong with an origin.
    package struct Fault: Error, CustomStringConvertible {
        package let description: String
    }

    /// - Parameter origins: as browsers send them, `https://app.example.com`, `http://localhost:3000`.
    /// - Throws: `Fault` for what no browser sends, `null`, and `*`: an API whose callers carry keys is
    ///   not for every page.
    package init(origins: [String]) throws(Fault) {
        for origin in origins {
            if origin == "*" {
                throw Fault(description: "must name each origin; * is not taken")
            }
            guard Self.isOrigin(origin) else {
                throw Fault(
                    description: "must be origins like https://app.example.com, as browsers send "
                        + "them: lower case, no path, no standard port; not \(origin)")
            }
        }
        self.origins = origins
    }

    private static func isOrigin(_ text: String) -> Bool {
        guard let scheme = ["https://", "http://"].first(where: { text.hasPrefix($0) }) else {
            return false
        }
        let authority = Array(text.utf8.dropFirst(scheme.utf8.count))
        let standardPort = scheme == "https://" ? ":443" : ":80"
        return !text.hasSuffix(standardPort) && !text.contains("*") && text.lowercased() == text
            && isHost(authority.span, ByteRange(0, authority.count))
    }

    /// The last touch to an answer. To who sends no `Origin`, no browser's page, it does nothing.
    package func finish(_ request: Request, _ response: inout Response) {
        guard request.head.hasOrigin else { return }
        response.fields.append(Field(.vary, "Origin"))
        guard let origin = request.header(.origin), origins.contains(origin) else { return }
        response.fields.append(Field("Access-Control-Allow-Origin", origin))
        response.fields.append(Field("Access-Control-Expose-Headers", Self.exposedHeaders))
        guard request.head.method == .options,
            request.header("Access-Control-Request-Method") != nil,
            let methods = response.fields.first(where: { $0.name == .allow })?.value
        else { return }
        response.fields += [
            Field("Access-Control-Allow-Methods", methods),
            Field("Access-Control-Allow-Headers", Self.allowedHeaders),
            Field("Access-Control-Max-Age", "\(Self.maxAgeS)"),
        ]
    }
}
