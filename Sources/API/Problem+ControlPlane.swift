internal import ControlPlane
internal import HTTP
internal import JSON
internal import Postgres

extension Problem {
    /// Exhaustive on purpose: a new domain error stops the build here.
    init(_ error: ControlPlaneError, retryAfter: Duration) {
        switch error {
        case .notFound(let what): self.init(.notFound, detail: "no such \(what)")
        case .badCredentials: self = .badCredentials
        case .tooManyFailures(let wait):
            self.init(
                .tooManyRequests, detail: "too many wrong keys came from this address",
                retryAfter: wait)
        case .suspended: self.init(.tenantSuspended, detail: "an operator suspended the tenant")
        case .nameTaken:
            self.init(
                .conflict, detail: "a tenant of this name exists",
                errors: [Invalid("/name", "is taken")])
        case .tooManyOperations:
            self.init(
                .tooManyOperations, detail: "a tenant has at most 1000 operation names",
                errors: [Invalid("/operation", "would be one name too many")])
        case .costExceedsLimit(let limit):
            self.init(
                .costExceedsLimit,
                detail: "the cost never fits a limit of \(limit.words)",
                errors: [
                    Invalid(
                        limit.source == .call && limit.limit.limit == 0 ? "/maxPerHour" : "/cost",
                        "cost is above the limit")
                ],
                members: [("limit", .integer(limit.limit.limit))])
        case .tooManySandboxes(let most):
            self.init(
                .tooManyRequests,
                detail:
                    "the tenant has as many sandboxes as it may have at a time, \(most) (maxLiveSandboxes)",
                retryAfter: .roomWait)
        case .outdated:
            self.init(
                .preconditionFailed,
                detail: "it has another version than the one named; read it again")
        case .versionNeeded:
            self.init(
                .preconditionRequired,
                detail: "it exists: send If-Match with the ETag that you read, or * to overwrite")
        case .idempotencyMismatch:
            self.init(
                .idempotencyMismatch,
                detail: "this Idempotency-Key was used with another body; take a new key")
        case .invalid(let field, let reason):
            self = .invalid(field, reason)
        case .conflict(let reason): self.init(.conflict, detail: reason)
        case .secretKeyNeeded:
            self.init(
                .conflict,
                detail: "secrets cannot be stored: the operator has given no BREAKWATER_SECRET_KEY")
        case .secretUnreadable: self.init(.internal)
        case .postgres(let error): self.init(error, retryAfter: retryAfter)
        }
    }

    /// Our own throttle, not a limit of a policy.
    static func tooManyInFlight(_ limit: Int) -> Problem {
        Problem(
            .tooManyRequests, detail: "the tenant has \(limit) requests in hand here already",
            retryAfter: .seconds(1))
    }

    /// No key at all: RFC 6750 section 3.1 wants the bare challenge then, without an error code.
    static var noCredentials: Problem { unauthorized("Bearer") }

    /// The key is malformed, unknown, revoked or expired: one answer for all.
    static var badCredentials: Problem { unauthorized(#"Bearer error="invalid_token""#) }

    private static func unauthorized(_ challenge: String) -> Problem {
        Problem(
            .unauthorized,
            detail: "send a valid key: Authorization: Bearer e2b_... or X-API-Key: e2b_...",
            fields: [Field(.wwwAuthenticate, challenge)])
    }

    private init(_ error: PostgresError, retryAfter: Duration) {
        switch error {
        case .overloaded:
            self.init(
                .overloaded, detail: "too many requests wait for the database",
                retryAfter: retryAfter)
        case .unavailable, .connectionLost, .readOnly, .serialization, .lockTimeout,
            .queryCanceled, .insufficientResources:
            // Where the outcome is unknown the caller must know it before it repeats the call.
            self.init(
                .storeUnavailable,
                detail: error.mayHaveHappened
                    ? "the database went away before it answered; the call may have taken effect"
                    : "the database does not answer now; nothing was changed",
                retryAfter: retryAfter,
                members: [("mayHaveHappened", .boolean(error.mayHaveHappened))])
        case .uniqueViolation, .foreignKeyViolation, .checkViolation, .insufficientPrivilege,
            .undefinedStatement, .duplicateStatement, .stalePlan, .other, .decode:
            self.init(.internal)
        }
    }

    /// Input that is not the JSON that was asked for.
    init(_ error: JSONError) {
        switch error.code {
        case .syntax, .invalidUTF8, .duplicateKey:
            self.init(
                .malformedJSON, detail: "\(error.message), at byte \(error.offset)",
                errors: [Invalid(error.pointer, error.message)])
        default:
            self.init(
                .validation,
                detail: error.pointer.isEmpty
                    ? error.message : "\(error.pointer): \(error.message)",
                errors: [Invalid(error.pointer, error.message)])
        }
    }

    /// One value of the query or path is not what it must be.
    static func invalid(_ name: String, _ reason: String) -> Problem {
        Problem(.validation, detail: "\(name) \(reason)", errors: [Invalid(name, reason)])
    }
}

extension Duration {
    /// How long who finds no room for another sandbox is told to wait: nobody knows when one ends.
    static var roomWait: Duration { .seconds(10) }
}
