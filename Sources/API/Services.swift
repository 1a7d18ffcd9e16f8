package import ControlPlane
package import HTTP
package import Outbound
package import Postgres

/// What the handlers of one loop work with. Each loop has its own, so that a request and its answer
/// from the database stay on one thread.
package struct Services: Sendable {
    package let keys: KeyCache
    package let ledger: Ledger
    package let breakers: Breakers
    package let attempts: Attempts
    package let regions: RegionCache
    package let budget: CreationBudget
    package let sandboxes: Sandboxes
    /// The instance's, which all loops share.
    package let events: EventHub
    /// For tests of channels.
    package let alertSender: AlertSender
    /// Short reads and administrative transactions.
    package let pipeline: Pipeline
    package let directory: Directory
    let overviews: Overviews
    package let jobs: [JobSchedule]
    package let settings: APISettings
    package let classifier: Classifier
    package let retries: RetryPolicy
    package let readiness: Readiness
    package let secrets: SecretBox
    /// The page of metrics of the whole process.
    package let metricsPage: @Sendable () async -> String
    package let tell: Tell

    package init(
        keys: KeyCache, ledger: Ledger, breakers: Breakers, attempts: Attempts,
        regions: RegionCache, budget: CreationBudget, sandboxes: Sandboxes, events: EventHub,
        alertSender: AlertSender,
        pipeline: Pipeline, jobs: [JobSchedule], settings: APISettings = APISettings(),
        classifier: Classifier = Classifier(), retries: RetryPolicy = RetryPolicy(),
        readiness: Readiness, secrets: SecretBox = SecretBox(nil),
        metricsPage: @escaping @Sendable () async -> String, tell: @escaping Tell
    ) {
        self.keys = keys
        self.ledger = ledger
        self.breakers = breakers
        self.attempts = attempts
        self.regions = regions
        self.budget = budget
        self.sandboxes = sandboxes
        self.events = events
        self.alertSender = alertSender
        self.pipeline = pipeline
        directory = Directory(pipeline)
        overviews = Overviews(on: pipeline.loop, pipeline: pipeline, breakers: breakers)
        self.jobs = jobs
        self.settings = settings
        self.classifier = classifier
        self.retries = retries
        self.readiness = readiness
        self.secrets = secrets
        self.metricsPage = metricsPage
        self.tell = tell
    }
}

/// A job's name and interval, which the table does not know.
package struct JobSchedule: Hashable, Sendable {
    package let name: String
    package let interval: Duration

    package init(_ job: any Job) {
        name = job.name
        interval = job.interval
    }
}

/// Bounds of the API itself.
package struct APISettings: Hashable, Sendable {
    /// Items of a page when the caller does not say.
    package var pageSize = 50
    package var maxPageSize = 200
    /// Octets of a JSON body on routes that take small ones.
    package var maxBodyBytes = 64 * 1024
    /// Octets of the JSON body of a batch: 1,000 items of 1 KiB.
    package var maxBatchBodyBytes = 1024 * 1024
    /// Octets of a body of the gateway's, which go to the provider as they are.
    package var maxGatewayBodyBytes = 1024 * 1024
    /// The metadata of a gateway's creation that names its framework.
    package var frameworkKey = "framework"
    /// Requests of one tenant in hand on this instance; the items of a batch count for themselves.
    package var maxInFlightPerTenant = 2_000
    /// Whose word about a client's address is taken.
    package var trustedProxies = TrustedProxies()
    /// Whether cookies are for TLS alone, also where no trusted proxy says that it is there.
    package var secureCookies = false
    /// Which addresses a provider's URL may name.
    package var upstreams = AddressRule()
    /// Rows of a page of an export: each is one statement, and what is in memory at a time.
    package var exportPageRows = 500
    /// How long callers are told to wait when the database is away.
    package var storeRetryAfter: Duration = .seconds(1)
    /// A stream of events that has nothing to say says so this often.
    package var eventHeartbeat: Duration = .seconds(15)

    package init() {}
}
