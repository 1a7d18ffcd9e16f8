/// The name of a field, RFC 9110 section 5.1: a token, the same in any case.
package struct FieldName: Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// As written; names go out as their constant spells them.
    package let description: String

    /// - Precondition: `text` is a token. Names are ours, never a client's.
    package init(_ text: String) {
        precondition(!text.isEmpty && text.utf8.allSatisfy(ByteSet.token.contains), "not a token")
        description = text
    }

    package init(stringLiteral text: String) { self.init(text) }

    private init(known text: String) { description = text }
}

extension FieldName {
    package static let accept = FieldName(known: "Accept")
    package static let allow = FieldName(known: "Allow")
    package static let authorization = FieldName(known: "Authorization")
    package static let cacheControl = FieldName(known: "Cache-Control")
    package static let connection = FieldName(known: "Connection")
    package static let contentLength = FieldName(known: "Content-Length")
    package static let contentType = FieldName(known: "Content-Type")
    package static let cookie = FieldName(known: "Cookie")
    package static let eTag = FieldName(known: "ETag")
    package static let host = FieldName(known: "Host")
    package static let idempotencyKey = FieldName(known: "Idempotency-Key")
    package static let ifMatch = FieldName(known: "If-Match")
    package static let ifNoneMatch = FieldName(known: "If-None-Match")
    package static let link = FieldName(known: "Link")
    package static let location = FieldName(known: "Location")
    package static let origin = FieldName(known: "Origin")
    package static let prefer = FieldName(known: "Prefer")
    package static let rateLimit = FieldName(known: "RateLimit")
    package static let rateLimitPolicy = FieldName(known: "RateLimit-Policy")
    package static let retryAfter = FieldName(known: "Retry-After")
    package static let setCookie = FieldName(known: "Set-Cookie")
    package static let traceparent = FieldName(known: "traceparent")
    package static let tracestate = FieldName(known: "tracestate")
    package static let vary = FieldName(known: "Vary")
    package static let wwwAuthenticate = FieldName(known: "WWW-Authenticate")
    package static let xApiKey = FieldName(known: "X-API-Key")
    package static let xRequestID = FieldName(known: "X-Request-Id")
}

extension FieldName: Hashable {
    package static func == (left: FieldName, right: FieldName) -> Bool {
        left.description.utf8.elementsEqual(right.description.utf8) {
            $0.lowercased == $1.lowercased
        }
    }

    package func hash(into hasher: inout Hasher) {
        for byte in description.utf8 { hasher.combine(byte.lowercased) }
    }

    /// Whether the bytes of `range` spell this name, in any case.
    func isSpelled(by bytes: Span<UInt8>, in range: ByteRange) -> Bool {
        let name = description.utf8
        guard name.count == range.count else { return false }
        var place = range.lowerBound
        for byte in name {
            if byte.lowercased != bytes[place].lowercased { return false }
            place &+= 1
        }
        return true
    }
}

/// One field line of an answer.
package struct Field: Hashable, Sendable {
    package var name: FieldName
    package var value: String

    /// Octets that may not stand in a value are sent as spaces.
    package init(_ name: FieldName, _ value: String) {
        self.name = name
        self.value = value
    }
}
