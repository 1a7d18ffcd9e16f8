internal import IO
package import Postgres

/// How a call got through one breaker.
package struct BreakerPass: Hashable, Sendable {
    package let generation: Int64
    /// The lease's token, if the call is a probe.
    package var probe: UUID?

    package init(generation: Int64, probe: UUID? = nil) {
        self.generation = generation
        self.probe = probe
    }
}

/// What an admitted call carries until its end: through the tenant's breaker and the one over all.
package struct BreakerTicket: Hashable, Sendable {
    package let key: BreakerKey
    package let own: BreakerPass
    package let parent: BreakerPass

    package init(key: BreakerKey, own: BreakerPass, parent: BreakerPass) {
        self.key = key
        self.own = own
        self.parent = parent
    }

    package var isProbe: Bool { own.probe != nil || parent.probe != nil }
}

enum BreakerEntry: Hashable, Sendable {
    case passed(BreakerPass)
    case refused(retryAfter: Duration)
}

package enum BreakerAdmission: Hashable, Sendable {
    case admitted(BreakerTicket)
    /// - Parameter key: whose no it is, the tenant's own or the parent's.
    case refused(BreakerRefusal)

    init(_ own: BreakerEntry, _ key: BreakerKey, parent: BreakerEntry?) {
        switch (own, parent) {
        case (.refused(let wait), _):
            self = .refused(BreakerRefusal(key: key, retryAfter: wait))
        case (_, .refused(let wait)):
            self = .refused(BreakerRefusal(key: key.parent, retryAfter: wait))
        case (.passed(let pass), .passed(let parent)):
            self = .admitted(BreakerTicket(key: key, own: pass, parent: parent))
        case (.passed, nil):
            self = .refused(BreakerRefusal(key: key.parent, retryAfter: .seconds(1)))
        }
    }
}

package struct BreakerRefusal: Error, Hashable, Sendable {
    package let key: BreakerKey
    package let retryAfter: Duration

    package init(key: BreakerKey, retryAfter: Duration) {
        self.key = key
        self.retryAfter = retryAfter
    }

    /// In whole seconds, rounded up, at least 1.
    package var retryAfterSeconds: Int64 {
        max((retryAfter.nanoseconds + 999_999_999) / 1_000_000_000, 1)
    }

    /// The original's text.
    package var message: String {
        "Circuit breaker is OPEN - \(key.name) service unavailable. "
            + "Retry in \(retryAfterSeconds)s."
    }
}

/// What an admitted call came to.
package enum CallOutcome: Hashable, Sendable {
    case succeeded
    case failed(ErrorKind, retryAfter: Duration?)
    /// No outcome at all: refused or given up here, before or without the provider.
    case local

    /// Whether it counts as a failure; nil: it does not count.
    package func isFailure(counting kinds: Set<ErrorKind>) -> Bool? {
        switch self {
        case .succeeded: false
        case .failed(let kind, _): kinds.contains(kind) ? true : nil
        case .local: nil
        }
    }

    package func asProbe(counting kinds: Set<ErrorKind>) -> BreakerInput.ProbeOutcome {
        switch self {
        case .succeeded: .succeeded
        case .local: .ignored
        case .failed(let kind, _) where kinds.contains(kind): .failed
        case .failed(.rateLimit, let wait): .rateLimited(retryAfter: wait ?? .zero)
        case .failed: .ignored
        }
    }
}
