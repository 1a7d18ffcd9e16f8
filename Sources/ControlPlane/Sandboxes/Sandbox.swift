package import Postgres

/// One allocation at a provider, or a try at one.
package struct Sandbox: Hashable, Sendable {
    package enum Health: String, Hashable, Sendable, CaseIterable { case unknown, healthy, zombie }

    package let tenant: Tenant.ID
    /// Ours. It goes to the provider as metadata, and is how a lost one is found.
    package let id: UUID
    package let request: UUID
    /// Which try of its request, from 1.
    package let attempt: Int
    /// Rises with each move.
    package let version: Int32
    package let state: SandboxState
    package let reason: SandboxReason?
    package let region: String
    package let template: String
    package let framework: String?
    /// Its provider pauses it when its life is over, rather than end it.
    package let pauses: Bool
    /// The tenant's own, a JSON object of texts.
    package let metadata: String
    /// The provider's id, once it is known.
    package let providerID: String?
    /// Where the data plane is.
    package let domain: String?
    package let health: Health
    package let createdAt: Timestamp
    package let changedAt: Timestamp
    package let startedAt: Timestamp?
    /// The end of life that its tenant was given.
    package let endsAt: Timestamp?
    /// When the provider ends it by itself, as last told.
    package let providerEndsAt: Timestamp?
    package let endedAt: Timestamp?
    package let misses: Int
    package let missedAt: Timestamp?

    init(_ row: Row) throws(PostgresError) {
        guard let state = SandboxState(rawValue: try row.text("state")),
            let health = Health(rawValue: try row.text("health"))
        else { throw .decode("a sandbox's state") }
        tenant = Tenant.ID(try row.uuid("tenant_id"))
        id = try row.uuid("id")
        request = try row.uuid("request_id")
        attempt = Int(try row.int16("attempt"))
        version = try row.int32("version")
        self.state = state
        reason = try row.textIfPresent("reason").flatMap { SandboxReason(rawValue: $0) }
        region = try row.text("region")
        template = try row.text("template")
        framework = try row.textIfPresent("framework")
        pauses = try row.bool("pauses")
        metadata = try row.json("metadata")
        providerID = try row.textIfPresent("provider_id")
        domain = try row.textIfPresent("domain")
        self.health = health
        createdAt = try row.timestamp("created_at")
        changedAt = try row.timestamp("changed_at")
        startedAt = try row.timestampIfPresent("started_at")
        endsAt = try row.timestampIfPresent("ends_at")
        providerEndsAt = try row.timestampIfPresent("provider_ends_at")
        endedAt = try row.timestampIfPresent("ended_at")
        misses = Int(try row.int16("misses"))
        missedAt = try row.timestampIfPresent("missed_at")
    }
}

/// What a tenant asked for.
package struct SandboxRequest: Hashable, Sendable {
    package enum Way: String, Hashable, Sendable { case api, gateway }

    package let tenant: Tenant.ID
    package let id: UUID
    package let state: SandboxRequestState
    package let way: Way
    package let template: String
    package let framework: String?
    package let region: String
    /// How long the sandbox is to live.
    package let life: Duration
    package let deadlineAt: Timestamp
    /// The one that is bound to it.
    package let sandbox: UUID?
    package let attempts: Int
    /// The default template took the place of the one asked for.
    package let fellBack: Bool
    package let errorKind: ErrorKind?
    package let error: String?
    package let createdAt: Timestamp
    package let endedAt: Timestamp?

    init(_ row: Row) throws(PostgresError) {
        guard let state = SandboxRequestState(rawValue: try row.text("state")),
            let way = Way(rawValue: try row.text("via"))
        else { throw .decode("a request's state") }
        tenant = Tenant.ID(try row.uuid("tenant_id"))
        id = try row.uuid("id")
        self.state = state
        self.way = way
        template = try row.text("template")
        framework = try row.textIfPresent("framework")
        region = try row.text("region")
        life = .milliseconds(try row.int64("life_ms"))
        deadlineAt = try row.timestamp("deadline_at")
        sandbox = try row.uuidIfPresent("sandbox_id")
        attempts = Int(try row.int32("attempts"))
        fellBack = try row.bool("fell_back")
        errorKind = try row.textIfPresent("error_kind").flatMap { ErrorKind(rawValue: $0) }
        error = try row.textIfPresent("error")
        createdAt = try row.timestamp("created_at")
        endedAt = try row.timestampIfPresent("ended_at")
    }
}

/// A move of a sandbox or a check of it, as its history holds it.
package struct SandboxMove: Hashable, Sendable {
    package let version: Int32
    package let at: Timestamp
    package let from: String?
    package let to: String
    package let reason: String?
    package let actor: String
    /// For people.
    package let detail: String?

    init(_ row: Row) throws(PostgresError) {
        version = try row.int32("version")
        at = try row.timestamp("at")
        from = try row.textIfPresent("from_state")
        to = try row.text("to_state")
        reason = try row.textIfPresent("reason")
        actor = try row.text("actor")
        detail = try row.textIfPresent("detail")
    }
}

/// What the provider said of a sandbox; what is nil is left as it was.
package struct SandboxFacts: Hashable, Sendable {
    package var providerID: String?
    package var domain: String?
    package var health: Sandbox.Health?
    package var startedAt: Timestamp?
    package var endsAt: Timestamp?
    package var providerEndsAt: Timestamp?
    /// For people, in the history.
    package var detail: String?

    package init() {}
}
