/// The provider's own codes (its API's sources of August 2026); an open set.
enum ProviderCodes {
    static let kinds: [String: ErrorKind] = [
        "sandbox_capacity_unavailable": .unavailable,
        "sandbox_placement_timeout": .timeout,
        "sandbox_no_compatible_node": .invalidRequest,
        "sandbox_create_failed": .internal,
        "sandbox_create_refused": .invalidRequest,
        "internal_server_error": .internal,
        "idempotency_request_mismatch": .invalidRequest,
        "idempotency_in_progress": .unavailable,
        "idempotency_outcome_unknown": .unknown,
        "sandbox_start_in_flight": .unavailable,
        "sandbox_filesystem_boot_unconfirmed": .internal,
        "sandbox_snapshot_guest_agent_unresponsive": .internal,
        "secret_limit_reached": .quota,
    ]
}

/// A status code of gRPC and Connect: `deadline_exceeded`, `StatusCode.NOT_FOUND`.
struct RPCCode {
    let kind: ErrorKind

    init?(_ text: String) {
        let name = text.split(separator: ".").last.map(String.init) ?? text
        let words = ErrorNames.words(of: name).joined(separator: "_")
        guard let kind = Self.kinds[words] else { return nil }
        self.kind = kind
    }

    private static let kinds: [String: ErrorKind] = [
        "canceled": .unknown, "cancelled": .unknown, "unknown": .unknown,
        "invalid_argument": .invalidRequest, "already_exists": .invalidRequest,
        "failed_precondition": .invalidRequest, "out_of_range": .invalidRequest,
        "unimplemented": .invalidRequest, "not_found": .notFound,
        "unauthenticated": .auth, "permission_denied": .auth,
        "deadline_exceeded": .timeout, "resource_exhausted": .rateLimit,
        "unavailable": .unavailable, "aborted": .unavailable,
        "internal": .internal, "data_loss": .internal,
    ]
}
