/// What a simulator plays: its regions, and the faults that are to happen in them.
///
/// Written as JSON; `docs/simulator.md` is its published form. Times count from the moment the script
/// was put in force.
package struct Script: Sendable {
    /// The same seed and the same order of calls give the same faults, ids and latencies.
    package var seed: UInt64 = 1
    package var book = BookLimits()
    package var regions: [RegionScript]
    package var faults: [Fault] = []

    package init(regions: [RegionScript]) { self.regions = regions }

    /// How much is remembered.
    package struct BookLimits: Hashable, Sendable {
        /// Calls; the oldest are forgotten first.
        package var calls = 50_000
        /// Sandboxes that have ended; the longest ended are forgotten first.
        package var sandboxes = 50_000
    }
}

/// One region: an E2B cluster of its own, with its own address, domain, keys, templates and limits.
package struct RegionScript: Sendable {
    package var name: String
    /// Where it listens, `host:port`; every address answers for the control plane and for sandboxes.
    package var listen: [String] = []
    /// What create and connect answer as `domain`: the SDK goes to `49983-<id>.<domain>` by TLS unless
    /// `E2B_SANDBOX_URL` is set. Nil: the SDK keeps its own.
    package var domain: String?
    package var keys: [Key] = []
    /// Names that may be created; nil: all.
    package var templates: [String]?
    package var limits = Limits()
    package var latency = Latency()

    package init(name: String) { self.name = name }

    /// An API key; the book names it by `id`.
    package struct Key: Hashable, Sendable {
        package var id: String
        package var secret: String

        package init(id: String, secret: String) {
            self.id = id
            self.secret = secret
        }
    }

    /// Per key, as the provider counts them per team.
    package struct Limits: Hashable, Sendable {
        /// Running sandboxes; past it 429.
        package var concurrent = 1_000
        /// Creations per second, a token bucket; nil: no limit. Past it 429 with `Retry-After`.
        package var createsPerSecond: Double?
        package var createBurst = 1.0
        /// Longest life that may be asked for; past it 400. The provider's plans have 1 h and 24 h.
        package var maxTimeout: Duration = .seconds(86_400)
    }

    /// How long answers take: lognormal with these medians, the same `sigma` for all.
    package struct Latency: Hashable, Sendable {
        package var create: Duration = .milliseconds(150)
        package var other: Duration = .milliseconds(5)
        package var command: Duration = .milliseconds(5)
        package var sigma = 0.3
    }
}
