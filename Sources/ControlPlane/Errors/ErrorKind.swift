/// What went wrong at the provider, as far as it decides what to do next.
///
/// The raw value is the name on the wire, in SQL, in metrics and in settings.
package enum ErrorKind: String, Hashable, Sendable, CaseIterable {
    /// Too many requests for the moment: waiting helps.
    case rateLimit = "rate_limit"
    /// A limit of the plan is reached: only a freed place or another plan helps.
    case quota
    case auth
    case notFound = "not_found"
    case invalidRequest = "invalid_request"
    /// The connection or what stands between failed, 502 included.
    case network
    case timeout
    /// The provider says that it cannot now: 503, lack of capacity, a conflict that passes.
    case unavailable
    case `internal`
    case unknown
}

/// Three independent flags of an error; they are the original's, name by name.
package struct ErrorFlags: Hashable, Sendable {
    /// The provider's API refused or failed: 429, quota, 500, 503.
    package let isAPI: Bool
    /// It may pass by itself soon.
    package let isTransient: Bool
    /// It fails again until something changes.
    package let isPermanent: Bool

    package init(api: Bool = false, transient: Bool = false, permanent: Bool = false) {
        isAPI = api
        isTransient = transient
        isPermanent = permanent
    }
}

/// Which list of waits a retry follows.
package enum RetrySchedule: String, Hashable, Sendable, CaseIterable {
    case never
    case transient
    case unknown
    case rateLimit = "rate_limit"
    /// The provider lacks machines; not a kind's own schedule but that of such an `unavailable`.
    case capacity
}

extension ErrorKind {
    /// A row of the one table of kinds; `docs/errors.md` shows it and a test holds both together.
    package struct Traits: Hashable, Sendable {
        package let flags: ErrorFlags
        package let schedule: RetrySchedule
        /// Whether it counts for the circuit breaker unless `breaker.countKinds` says otherwise.
        package let countsForBreaker: Bool
        /// Whether another region may be tried.
        package let failsOver: Bool

        fileprivate init(
            _ flags: ErrorFlags, _ schedule: RetrySchedule, counts: Bool, failsOver: Bool
        ) {
            self.flags = flags
            self.schedule = schedule
            countsForBreaker = counts
            self.failsOver = failsOver
        }
    }

    package var traits: Traits {
        let never = { flags in Traits(flags, .never, counts: false, failsOver: false) }
        return switch self {
        case .rateLimit: Traits(.init(api: true), .rateLimit, counts: false, failsOver: false)
        case .quota: never(.init(api: true, permanent: true))
        case .auth, .notFound, .invalidRequest: never(.init(permanent: true))
        case .network, .timeout:
            Traits(.init(transient: true), .transient, counts: true, failsOver: true)
        case .unavailable:
            Traits(.init(api: true, transient: true), .transient, counts: true, failsOver: true)
        case .internal: Traits(.init(api: true), .transient, counts: true, failsOver: true)
        case .unknown: Traits(.init(), .unknown, counts: true, failsOver: false)
        }
    }

    package var flags: ErrorFlags { traits.flags }
}
