package import Postgres

/// What the domain answers instead of a value. `API` turns each into a problem.
package enum ControlPlaneError: Error, Hashable, Sendable {
    /// No such thing for this caller: another tenant's thing is none.
    case notFound(String)
    /// The key is unknown, malformed, revoked or expired; on purpose not told apart.
    case badCredentials
    /// Too many wrong keys came from this address.
    case tooManyFailures(retryAfter: Duration)
    /// The key is good and its tenant is suspended.
    case suspended
    /// A tenant of that name exists.
    case nameTaken
    /// The tenant has used up its 1,000 operation names.
    case tooManyOperations
    /// The cost is above a limit: it can never fit.
    case costExceedsLimit(AppliedLimit)
    /// The tenant has as many sandboxes as it may.
    case tooManySandboxes(most: Int)
    /// The thing has another version than the caller named.
    case outdated
    /// The thing exists, and the caller did not name its version.
    case versionNeeded
    /// The idempotency key was used with another request.
    case idempotencyMismatch
    /// A named value of the input is not what it must be.
    case invalid(field: String, reason: String)
    /// A job or task is held by another instance now.
    case conflict(String)
    /// No key was given that secrets could be sealed with.
    case secretKeyNeeded
    /// A stored secret does not open; the reason is for the log.
    case secretUnreadable(String)
    case postgres(PostgresError)
}
