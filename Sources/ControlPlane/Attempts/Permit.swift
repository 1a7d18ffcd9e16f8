internal import IO
internal import Postgres

/// What a permit is asked for: one operation at the provider, with all its tries.
package struct PermitRequest: Hashable, Sendable {
    /// What the ledger records for each try.
    package let ask: Ask
    package let tenant: Tenant.ID
    package let provider: String
    /// Nil: the first of the tenant's whose breaker is not open, or `default` where it has none.
    package let region: String?
    package let operationClass: BreakerKey.OperationClass
    /// From now until the last try must be over; nil: there is none.
    package let deadline: Duration?
    /// What is to be made, for the events of a creation.
    package let template: String?
    package let framework: String?
    package let traceID: String?

    package init(
        _ ask: Ask, tenant: Tenant.ID, provider: String = "e2b", region: String? = nil,
        _ operationClass: BreakerKey.OperationClass = .create, deadline: Duration?,
        template: String? = nil, framework: String? = nil, traceID: String? = nil
    ) {
        self.ask = ask
        self.tenant = tenant
        self.provider = provider
        self.region = region
        self.operationClass = operationClass
        self.deadline = deadline
        self.template = template
        self.framework = framework
        self.traceID = traceID
    }
}

/// The leave to call the provider, which its outcome refers to.
package struct Permit: Hashable, Sendable {
    /// The form of the id: no row stands behind it, so all that its outcome needs is in it.
    package let token: AttemptToken
    /// The token, signed.
    package let id: String
    /// What the ledger said; nil: the database was away, and nothing is recorded.
    package let verdict: Verdict?
    package let breakerState: BreakerMachine.State
    /// Where to call, if the tenant's regions say so.
    package let region: Region?

    package var isDegraded: Bool {
        guard let verdict else { return true }
        return verdict.outcome == .admittedUnrecorded
    }
}

package enum PermitAnswer: Hashable, Sendable {
    case allowed(Permit)
    case breakerOpen(BreakerRefusal, BreakerMachine.State)
    /// A limit of the tenant's is reached; nothing was recorded.
    case overQuota(Verdict)
    /// The provider's account lets no creation through now; nothing was recorded.
    case throttled(CreationBudget.Reason, retryAfter: Duration)
}

/// What became of a try.
package struct TryReport: Hashable, Sendable {
    /// From 1.
    package let number: Int
    package let outcome: TryRecord.Outcome
    package let duration: Duration
    /// Of a failed one.
    package let facts: ErrorFacts?
    /// The caller tries again if it is told to: the operation has not failed yet.
    package let willRetry: Bool
    /// The provider's id of what was made.
    package let sandboxID: String?
    package let traceID: String?

    package init(
        number: Int, outcome: TryRecord.Outcome, duration: Duration, facts: ErrorFacts? = nil,
        willRetry: Bool = false, sandboxID: String? = nil, traceID: String? = nil
    ) {
        self.number = number
        self.outcome = outcome
        self.duration = duration
        self.facts = facts
        self.willRetry = willRetry
        self.sandboxID = sandboxID
        self.traceID = traceID
    }
}

/// What to do after a try.
package struct Advice: Hashable, Sendable {
    package enum Next: Hashable, Sendable {
        /// The operation is over: it succeeded or was given up.
        case done
        case retry(after: Duration)
        case stop(RetryPolicy.Stop, retryAfter: Duration?)
    }

    package let token: AttemptToken
    package var next: Next
    /// Of a failed try.
    package let error: Classification?
    /// What the ledger said of the next try.
    package var verdict: Verdict?
    /// The try had been reported before; this is what was said then.
    package var isReplay = false
    /// The database was away: the outcome is kept in memory until it is back.
    package var isDegraded = false
}
