package import HTTP
import JSON

/// An error as the provider says it: `{"code", "message", "error_code"?}`.
///
/// The texts are those of E2B's API (its public `infra` repository, August 2026): clients classify
/// by them.
package struct ProviderError: Error, Hashable, Sendable {
    package var status: Int
    package var message: String
    package var errorCode: String?
    /// Whole seconds.
    package var retryAfter: Int?
    /// `RateLimit-Limit` and `RateLimit-Remaining`, beside `Retry-After`.
    package var rateLimit: Int?

    package init(_ status: Int, _ message: String, errorCode: String? = nil, retryAfter: Int? = nil)
    {
        self.status = status
        self.message = message
        self.errorCode = errorCode
        self.retryAfter = retryAfter
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object {
            $0.member("code", status)
            $0.member("message", message)
            $0.member("error_code", ifPresent: errorCode)
        }
        return writer.bytes
    }

    /// The header fields that go with it.
    package var fields: [Field] {
        var fields: [Field] = []
        if let retryAfter { fields.append(Field(.retryAfter, String(retryAfter))) }
        if let rateLimit {
            fields.append(Field("RateLimit-Limit", String(rateLimit)))
            fields.append(Field("RateLimit-Remaining", "0"))
            fields.append(Field("RateLimit-Reset", String(retryAfter ?? 1)))
        }
        return fields
    }
}

extension ProviderError {
    static func validation(_ what: String) -> ProviderError {
        ProviderError(400, "validation error: error in openapi3filter.RequestError: \(what)")
    }

    static let timeoutTooShort = ProviderError(400, "Timeout must be greater than 0")

    static func timeoutTooLong(_ limit: Duration) -> ProviderError {
        ProviderError(
            400, "Timeout cannot be greater than \(limit.components.seconds / 3600) hours")
    }

    static let invalidKey = ProviderError(
        401,
        "Invalid API key, please visit https://e2b.dev/docs/api-key for more information.\n"
            + "Cannot get the team for the given API key")

    static let blocked = ProviderError(403, "team is blocked: unpaid invoice")

    static func noSandbox(_ id: String) -> ProviderError {
        ProviderError(404, "Sandbox \"\(id)\" doesn't exist or you don't have access to it")
    }

    static func noTemplate(_ name: String) -> ProviderError {
        ProviderError(404, "template '\(name)' not found")
    }

    static func alreadyPaused(_ id: String) -> ProviderError {
        ProviderError(409, "Sandbox \"\(id)\" is already paused")
    }

    static func alreadyRunning(_ id: String) -> ProviderError {
        ProviderError(409, "Sandbox \(id) is already running")
    }

    static let idempotencyMismatch = ProviderError(
        422, "Idempotency key was already used with a different request",
        errorCode: "idempotency_request_mismatch")

    static let idempotencyInProgress = ProviderError(
        409, "A request with this idempotency key is still in progress",
        errorCode: "idempotency_in_progress", retryAfter: 1)

    static let idempotencyUnknown = ProviderError(
        409, "The outcome of the request with this idempotency key is unknown",
        errorCode: "idempotency_outcome_unknown")

    static func rateLimit(retryAfter: Int, limit: Int = 1) -> ProviderError {
        var error = ProviderError(429, "Rate limit exceeded", retryAfter: retryAfter)
        error.rateLimit = limit
        return error
    }

    static func quota(_ limit: Int) -> ProviderError {
        ProviderError(
            429,
            "you have reached the maximum number of concurrent E2B sandboxes (\(limit)). "
                + "If you need more, please visit 'https://e2b.dev/docs/billing'")
    }

    static let placementFailed = ProviderError(
        500,
        "Failed to place sandbox: sandbox creation failed on 3 node(s), please retry; "
            + "last error: failed to init envd",
        errorCode: "sandbox_create_failed")

    static let capacity = ProviderError(
        503,
        "Failed to place sandbox: not enough capacity for the requested resources right now, "
            + "please retry shortly",
        errorCode: "sandbox_capacity_unavailable")

    static let placementTimeout = ProviderError(
        504, "Failed to place sandbox: placement timed out after 3 attempt(s), please retry",
        errorCode: "sandbox_placement_timeout")

    /// What the provider says most often with this status.
    static func usual(_ status: Int) -> ProviderError {
        switch status {
        case 400: timeoutTooShort
        case 401: invalidKey
        case 403: blocked
        case 404: noTemplate("base")
        case 409: ProviderError(409, "Sandbox \"\" is being paused")
        case 422: idempotencyMismatch
        case 429: rateLimit(retryAfter: 1)
        case 500: placementFailed
        case 502: ProviderError(502, "Failed to route request to sandbox")
        case 503: capacity
        case 504: placementTimeout
        case 507: ProviderError(507, "not enough disk space available")
        default: ProviderError(status, "Error \(status)")
        }
    }
}
