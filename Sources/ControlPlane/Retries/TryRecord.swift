package import IO

/// What a try is told.
package struct Attempt: Hashable, Sendable {
    /// From 1.
    package let number: Int
    /// When it will be cancelled.
    package let deadline: MonotonicInstant?
}

/// Why a try has no value.
package enum TryError: Error, Hashable, Sendable {
    case failed(ErrorFacts)
    /// Refused here before it was made: it is no try, and there will be no other.
    case refused(RetryPolicy.Stop, retryAfter: Duration?)
    case cancelled
}

/// One try, for the log and the store.
package struct TryRecord: Hashable, Sendable {
    package enum Outcome: String, Hashable, Sendable, CaseIterable {
        case succeeded, failed, cancelled
    }

    /// From 1.
    package let number: Int
    package let duration: Duration
    package let outcome: Outcome
    /// Of a failed one.
    package let kind: ErrorKind?
    /// Before the next one; nil: there is none.
    package let wait: Duration?
}

package struct RetryFailure: Error, Hashable, Sendable {
    package struct Cause: Hashable, Sendable {
        package let facts: ErrorFacts
        package let error: Classification
    }

    /// The last failed try; nil where there was none.
    package let cause: Cause?
    package let stop: RetryPolicy.Stop
    /// How long to wait before the whole call is worth another try, if ever.
    package let retryAfter: Duration?
}

package struct RetryOutcome<Value: Sendable>: Sendable {
    package let result: Result<Value, RetryFailure>
    package let tries: [TryRecord]
}
