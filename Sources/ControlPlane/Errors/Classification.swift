/// What an error is, and what follows from it.
package struct Classification: Hashable, Sendable {
    /// What decided.
    package enum Evidence: String, Hashable, Sendable {
        case errorCode = "error_code"
        case status
        case exception
        case phase
        case message
        case none
    }

    package let kind: ErrorKind
    package let evidence: Evidence
    package var flags: ErrorFlags { kind.flags }
    /// The kind's, but for a lack of capacity.
    package let schedule: RetrySchedule
    /// How long the provider wants to be left alone, if it says so.
    package let retryAfter: Duration?
    /// The call may have taken effect all the same: a create may have left a sandbox behind.
    package let mayHaveBeenApplied: Bool
    /// Another template may do where this one does not.
    package let mayUseDefaultTemplate: Bool
}
