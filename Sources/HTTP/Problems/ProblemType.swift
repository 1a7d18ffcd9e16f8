/// A kind of problem, RFC 9457 section 3.1: `urn:breakwater:problem:<name>`, stable and published.
///
/// This is the one list; `docs/problems.md` and the contract are held against `all`.
package struct ProblemType: Hashable, Sendable {
    package let name: String
    package let status: Status
    package let title: String

    private init(_ name: String, _ status: Status, _ title: String) {
        self.name = name
        self.status = status
        self.title = title
    }

    package var urn: String { "urn:breakwater:problem:" + name }
}

extension ProblemType {
    package static let badRequest = ProblemType("bad-request", 400, "Malformed request")
    package static let validation = ProblemType("validation", 400, "Invalid input")
    package static let malformedJSON = ProblemType("malformed-json", 400, "Malformed JSON")
    package static let unauthorized = ProblemType("unauthorized", 401, "Valid credentials needed")
    package static let forbidden = ProblemType("forbidden", 403, "Not allowed")
    package static let tenantSuspended = ProblemType("tenant-suspended", 403, "Tenant suspended")
    package static let notFound = ProblemType("not-found", 404, "No such resource")
    package static let methodNotAllowed = ProblemType(
        "method-not-allowed", 405, "Method not allowed here")
    package static let requestTimeout = ProblemType("request-timeout", 408, "Request too slow")
    package static let conflict = ProblemType("conflict", 409, "Conflict with the current state")
    package static let preconditionFailed = ProblemType(
        "precondition-failed", 412, "Changed meanwhile")
    package static let bodyTooLarge = ProblemType("body-too-large", 413, "Body too large")
    package static let uriTooLong = ProblemType("uri-too-long", 414, "Request line too long")
    package static let unsupportedMediaType = ProblemType(
        "unsupported-media-type", 415, "Media type not supported")
    package static let expectationFailed = ProblemType(
        "expectation-failed", 417, "Expectation not supported")
    package static let idempotencyMismatch = ProblemType(
        "idempotency-mismatch", 422, "Idempotency key used with another request")
    package static let costExceedsLimit = ProblemType(
        "cost-exceeds-limit", 422, "Cost can never fit the limit")
    package static let tooManyOperations = ProblemType(
        "too-many-operations", 422, "Too many operation names")
    package static let preconditionRequired = ProblemType(
        "precondition-required", 428, "If-Match needed")
    package static let quotaExceeded = ProblemType("quota-exceeded", 429, "Quota exceeded")
    package static let tooManyRequests = ProblemType("too-many-requests", 429, "Too many requests")
    package static let headTooLarge = ProblemType("head-too-large", 431, "Header fields too large")
    package static let `internal` = ProblemType("internal", 500, "Internal error")
    package static let notImplemented = ProblemType("not-implemented", 501, "Not implemented")
    package static let overloaded = ProblemType("overloaded", 503, "Overloaded")
    package static let storeUnavailable = ProblemType(
        "store-unavailable", 503, "Database unavailable")
    package static let breakerOpen = ProblemType("breaker-open", 503, "Circuit breaker is open")
    package static let creationRefused = ProblemType(
        "creation-refused", 422, "The provider refuses to make it")
    package static let creationFailed = ProblemType(
        "creation-failed", 502, "The provider failed to make it")
    package static let deadlineExceeded = ProblemType(
        "deadline-exceeded", 504, "Deadline exceeded")
    package static let httpVersionNotSupported = ProblemType(
        "http-version-not-supported", 505, "HTTP version not supported")

    package static let all: [ProblemType] = [
        badRequest, validation, malformedJSON, unauthorized, forbidden, tenantSuspended,
        notFound, methodNotAllowed,
        requestTimeout, conflict, preconditionFailed, bodyTooLarge, uriTooLong,
        unsupportedMediaType,
        expectationFailed, idempotencyMismatch, costExceedsLimit, tooManyOperations,
        preconditionRequired, quotaExceeded, tooManyRequests, headTooLarge, `internal`,
        notImplemented, overloaded, storeUnavailable, breakerOpen, creationRefused,
        creationFailed, deadlineExceeded,
        httpVersionNotSupported,
    ]
}
