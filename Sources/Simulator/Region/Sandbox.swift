/// One sandbox, from its creation on; times count from the simulator's start.
package struct Sandbox: Sendable {
    package enum State: String, Sendable { case running, paused, ended }

    /// Why it ended.
    package enum End: String, Sendable {
        /// Somebody killed it.
        case request
        /// Its time was up.
        case timeout
        /// A fault took it away.
        case vanished
    }

    /// 1, 2, 3, ... over all regions.
    package let number: Int
    package let id: String
    package let region: String
    package let keyID: String
    package let template: String
    package let metadata: [(name: String, value: String)]
    package let idempotencyKey: String?
    /// Nil: not secured, as the first API allows.
    package let accessToken: String?
    package let pausesAtTimeout: Bool
    package let createdAt: Duration

    package var state = State.running
    /// When it was last started: at creation or by a resume.
    package var startedAt: Duration
    /// When its time is up; of a paused one: when it was paused.
    package var endAt: Duration
    /// Its running time before `startedAt`.
    package var ranBefore: Duration = .zero
    package var end: End?
    package var endedAt: Duration?
    /// Whether its creator was told of it.
    package var isAnswered = false

    package var zombie: ZombieMode?
    package var vanishesAt: Duration?
    package var listedFrom: Duration
    package var pauses = 0

    /// One that begins to run at `createdAt`.
    package init(
        number: Int, id: String, region: String, keyID: String, template: String,
        metadata: [(name: String, value: String)] = [], idempotencyKey: String? = nil,
        accessToken: String? = nil, pausesAtTimeout: Bool = false, createdAt: Duration,
        life: Duration
    ) {
        self.number = number
        self.id = id
        self.region = region
        self.keyID = keyID
        self.template = template
        self.metadata = metadata
        self.idempotencyKey = idempotencyKey
        self.accessToken = accessToken
        self.pausesAtTimeout = pausesAtTimeout
        self.createdAt = createdAt
        startedAt = createdAt
        endAt = createdAt + life
        listedFrom = createdAt
    }

    /// How long it has been running, pauses left out: what the provider charges for.
    package func ran(until now: Duration) -> Duration {
        switch state {
        case .running: ranBefore + (now - startedAt)
        case .paused, .ended: ranBefore
        }
    }

    mutating func stop(_ state: State, at now: Duration) {
        if self.state == .running { ranBefore += now - startedAt }
        self.state = state
        if state == .ended { endedAt = now }
    }

    /// When something happens to it by itself.
    var nextEvent: Duration? {
        guard state != .ended else { return nil }
        let end = state == .running ? endAt : nil
        guard let vanishesAt else { return end }
        return min(vanishesAt, end ?? vanishesAt)
    }
}
