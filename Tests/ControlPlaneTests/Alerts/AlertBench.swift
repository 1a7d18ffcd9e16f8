import ControlPlane
import Postgres
import ServiceSupport
import TestSupport
import Testing

/// A plane, a tenant and a clock that stands, to bring trouble about and evaluate the rules.
struct AlertBench: Sendable {
    let plane: Plane
    let clock: TestClock
    let tenant: Tenant.ID
    private let settings: AlertJob.Settings

    static func with(
        settings: AlertJob.Settings = AlertJob.Settings(),
        _ body: @Sendable (AlertBench) async throws -> Void
    ) async throws {
        try await Plane.with { plane in
            let bench = AlertBench(
                plane: plane, clock: TestClock(.now), tenant: try await plane.makeTenant(),
                settings: settings)
            try await body(bench)
        }
    }

    /// Runs SQL past row-level security. T is the tenant, F the fleet, N the bench's time.
    func sql(_ script: String) throws {
        let text = script.replacing("{T}", with: "'\(tenant)'")
            .replacing("{F}", with: "'\(Tenant.ID.fleet)'")
            .replacing("{N}", with: "'\(clock.now)'::timestamptz")
        try Session(Conninfo(url: TestDatabase.direct(plane.url))).run(text)
    }

    func rows(_ query: String) throws -> Int {
        let text = query.replacing("{T}", with: "'\(tenant)'")
        return Int(try Session(Conninfo(url: TestDatabase.direct(plane.url))).execute(text).only().int64(0))
    }

    @discardableResult func evaluate() async throws -> String {
        let clock = clock
        return try await AlertJob(settings, now: { clock.now }).run(plane.reads)
    }

    /// The alerts of a rule, the newest first.
    func alerts(_ rule: String, of owner: Tenant.ID? = nil) async throws -> [Alert] {
        var filter = Alerts.Filter()
        filter.rule = rule
        return try await Alerts(plane.reads).list(
            of: owner ?? tenant, filter, before: nil, limit: 100)
    }

    /// Replaces a rule by what the JSON says.
    func put(_ name: String, _ json: String, of owner: Tenant.ID? = nil) async throws {
        var precondition = Precondition.none
        let owner = owner ?? tenant
        let known = try await Alerts(plane.reads).rules(of: owner).first { $0.name == name }
        if let known, known.version > 0 { precondition = .version(known.version) }
        _ = try await Alerts(plane.reads).putRule(
            name, try patch(json), of: owner, if: precondition, by: .system)
    }
}

