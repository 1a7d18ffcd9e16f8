internal import IO
package import JSON
package import Postgres

/// A region of a provider, as a creation needs it.
package struct CreationTarget: Hashable, Sendable {
    /// The provider's name, e.g. `e2b`.
    package let provider: String
    package let region: String
    /// What the provider counts creations by.
    package let account: ProviderAccount
    package let endpoint: ProviderEndpoint
    /// A template's name here to its id there; empty: names go there as they are.
    package let templates: [String: String]

    package init(
        provider: String, region: String, account: ProviderAccount, endpoint: ProviderEndpoint,
        templates: [String: String] = [:]
    ) {
        self.provider = provider
        self.region = region
        self.account = account
        self.endpoint = endpoint
        self.templates = templates
    }
}

/// A template with the framework that it is for.
package struct TemplateChoice: Hashable, Sendable {
    package let template: String
    package let framework: String?

    package init(_ template: String, framework: String? = nil) {
        self.template = template
        self.framework = framework
    }
}

/// When the default template takes the place of the one asked for.
package enum FallbackRule: String, Hashable, Sendable, CaseIterable {
    /// The one asked for is missing, not the tenant's, or fits no machine.
    case templateNotFound
    /// After any failure (the original).
    case anyError
}

/// A sandbox that somebody wants.
package struct CreationOrder: Sendable {
    package let tenant: Tenant.ID
    package let way: SandboxRequest.Way
    package let target: CreationTarget
    package let choice: TemplateChoice
    package let fallback: TemplateChoice?
    package let fallbackRule: FallbackRule
    package let life: Duration
    /// From now on, all tries together.
    package let deadline: Duration
    package let maxAttempts: Int?
    package let healthCheck: HealthCheckMode
    /// One call to the provider; nil: as the deployment has it.
    package let call: Duration?
    /// Sandboxes that the tenant may have, this one among them; nil: any number.
    package let maxLive: Int?
    /// The tenant's own metadata.
    package let metadata: [(name: String, value: String)]
    /// What else goes to the provider, as its newer API takes it: an object.
    package let body: JSONValue
    package let traceID: String?
    package let traceparent: String?
    /// Kept with the request, so that a repeated order finds it.
    package let idempotency: Idempotency?

    package init(
        tenant: Tenant.ID, way: SandboxRequest.Way, target: CreationTarget, choice: TemplateChoice,
        fallback: TemplateChoice? = nil, fallbackRule: FallbackRule = .templateNotFound,
        life: Duration, deadline: Duration, maxAttempts: Int? = nil,
        healthCheck: HealthCheckMode = .off, call: Duration? = nil, maxLive: Int? = nil,
        metadata: [(name: String, value: String)] = [], body: JSONValue = .object([]),
        traceID: String? = nil, traceparent: String? = nil, idempotency: Idempotency? = nil
    ) {
        self.tenant = tenant
        self.way = way
        self.target = target
        self.choice = choice
        self.fallback = fallback
        self.fallbackRule = fallbackRule
        self.life = life
        self.deadline = deadline
        self.maxAttempts = maxAttempts
        self.healthCheck = healthCheck
        self.call = call
        self.maxLive = maxLive
        self.metadata = metadata
        self.body = body
        self.traceID = traceID
        self.traceparent = traceparent
        self.idempotency = idempotency
    }

    var breaker: BreakerKey {
        BreakerKey(tenant, provider: target.provider, region: target.region, .create)
    }

    /// One that pauses at the end of its time cannot be given a short first life.
    var pauses: Bool { if case .bool(true)? = body["autoPause"] { true } else { false } }
}

/// A sandbox that was made and bound.
package struct CreatedSandbox: Sendable {
    package let sandbox: Sandbox
    /// The provider's own answer.
    package let answer: ProviderSandbox
    package let attempts: Int
    package let fellBack: Bool
    /// Sandboxes that were made before it, did not work, and are killed.
    package let replacements: Int
}

/// Why there is none.
package enum CreationFailure: Error, Sendable {
    case breakerOpen(BreakerRefusal)
    /// A limit of the tenant's is reached; the last word before it, if there was a try.
    case overQuota(Verdict)
    /// The provider's last word.
    case provider(
        RetryFailure.Cause, stop: RetryPolicy.Stop, retryAfter: Duration?, attempts: Int,
        request: UUID)
    /// Each that was made did not work, and is killed; what the last one showed.
    case notWorking(reason: String, attempts: Int, request: UUID)
    /// Nothing was tried: the time was up, or too many are being made here.
    case notTried(RetryPolicy.Stop, retryAfter: Duration?)
    /// The database, mostly.
    case domain(ControlPlaneError)
}
