/// Where a sandbox stands. The raw value is the name on the wire and in SQL.
package enum SandboxState: String, Hashable, Sendable, CaseIterable {
    /// The provider may have been called; the row was committed before that.
    case creating
    /// The call ended so that it may have taken effect: found again, or proven absent.
    case createUnknown = "create_unknown"
    /// It is there and not handed out yet: that it works is being checked.
    case booting
    case running
    case paused
    /// To be killed, and not known to be gone.
    case stopping
    /// Gone, by us or by its expiry; the reason says which.
    case stopped
    /// It never was.
    case failed
    /// It was there, and the provider has it no more.
    case lost
    /// The provider had it, and no row of ours did.
    case orphan

    /// The states from which each may be reached; there is no other move.
    package var sources: Set<SandboxState> {
        switch self {
        case .creating, .orphan: []
        case .createUnknown: [.creating]
        case .booting: [.creating, .createUnknown]
        // From lost, when the provider shows it again before its end.
        case .running: [.creating, .createUnknown, .booting, .paused, .lost]
        case .paused: [.running, .lost]
        // From any that is not over, and from those that are when the provider still shows it.
        case .stopping: Set(SandboxState.allCases).subtracting([.stopping])
        case .stopped: [.stopping, .booting, .running, .paused]
        case .failed: [.creating, .createUnknown]
        case .lost: [.booting, .running, .paused]
        }
    }

    /// It is over: nothing is paid for, nothing has to be done.
    package var isEnd: Bool {
        switch self {
        case .stopped, .failed, .lost: true
        default: false
        }
    }

    /// It is its tenant's to use.
    package var isBound: Bool {
        switch self {
        case .booting, .running, .paused: true
        default: false
        }
    }
}

/// Where a request for a sandbox stands.
package enum SandboxRequestState: String, Hashable, Sendable, CaseIterable {
    case queued, dispatching
    /// A sandbox is bound to it.
    case fulfilled
    /// Its deadline passed.
    case expired
    case cancelled
    /// It cannot succeed.
    case failed
    /// All tries were used up.
    case dead

    package var isEnd: Bool { self != .queued && self != .dispatching }
}

/// Why a sandbox is where it is; kept with each move.
package enum SandboxReason: String, Hashable, Sendable, CaseIterable {
    /// Asked for by its tenant, or an operator.
    case killed
    /// The end of its life.
    case expired
    /// It does not work.
    case zombie
    /// Another try of the same request was first.
    case superseded
    /// Nobody waits for it any more: its request is over.
    case abandoned
    /// The provider refused to make it.
    case refused
    /// The provider's answer did not come, or said nothing.
    case ambiguous
    /// The instance that made it died.
    case workerLost = "worker_lost"
    /// Not in the provider's lists after the settle window.
    case provenAbsent = "proven_absent"
    /// Found at the provider by its id.
    case adopted
    /// Not in the provider's lists, and a direct look did not find it.
    case missing
    /// The provider has it although it is over, or no row was there.
    case leaked
    /// It was looked at, and stays where it is.
    case healthCheck = "health_check"
    /// Its tenant is being deleted.
    case tenantDeleted = "tenant_deleted"
}
