internal import IO
package import Postgres

/// Looks at some of the sandboxes that run, of all tenants, drawn anew each time: plain reads, which run
/// nothing in them and make no life longer. What is found goes into their history and the log; nothing is
/// killed for it.
package struct SandboxSampleJob: Job {
    package struct Settings: Hashable, Sendable {
        package var interval: Duration = .seconds(60)
        /// Sandboxes of a run; 0: none is looked at.
        package var size = 20
        /// The provider's word about one.
        package var call: Duration = .seconds(5)
        /// Looks at a time.
        package static let width = 4

        package init() {}
    }

    package let name = "sandboxes.sample"
    package var interval: Duration { settings.interval }
    private let settings: Settings
    private let creations: Creations
    private let targets: TargetSource
    private let tell: Tell

    package init(
        _ creations: Creations, targets: TargetSource, settings: Settings = Settings(),
        tell: @escaping Tell = { _ in }
    ) {
        self.creations = creations
        self.targets = targets
        self.settings = settings
        self.tell = tell
    }

    package func run(_ pipeline: Pipeline) async throws(ControlPlaneError) -> String {
        let rows = try await creations.store.sample(size: Int64(settings.size))
        let verdicts = await withTaskGroup(of: HealthCheck.Verdict.self) { group in
            var left = rows[...]
            for row in left.prefix(Settings.width) {
                group.addTask(executorPreference: creations.loop) { await look(at: row) }
            }
            left = left.dropFirst(Settings.width)
            var counts: [HealthCheck.Verdict: Int] = [:]
            for await verdict in group {
                counts[verdict, default: 0] += 1
                guard let row = left.popFirst() else { continue }
                group.addTask(executorPreference: creations.loop) { await look(at: row) }
            }
            return counts
        }
        return report(HealthCheck.Verdict.allCases.map { ($0.rawValue, verdicts[$0] ?? 0) })
    }

    private func look(at row: Sandbox) async -> HealthCheck.Verdict {
        guard let check = await check(row) else { return .unknown }
        // One that its tenant has ended or paused meanwhile is accused of nothing.
        if check.verdict == .zombie,
            (try? await creations.store.sandbox(row.id, of: row.tenant))?.state != .running
        {
            return .unknown
        }
        if check.verdict == .zombie || check.health.map({ $0 != row.health }) == true {
            tell(.healthChecked(HealthCheckEvent(check, of: row)))
        }
        // A word a change: sandboxes are looked at again and again.
        if let health = check.health, health != row.health {
            _ = try? await creations.store.checked(row.id, of: row.tenant, check)
        }
        return check.verdict
    }

    /// Nil: the provider does not tell, or its place is not known.
    private func check(_ row: Sandbox) async -> HealthCheck? {
        guard let id = row.providerID, let target = try? await targets.find(row.tenant, row.region)
        else { return nil }
        let found: ProviderSandbox?
        do throws(TryError) {
            found = try await creations.providers.find(
                id, at: target.endpoint, within: settings.call)
        } catch { return nil }
        // That it is lost, the reconciler concludes.
        guard let found else { return HealthCheck(.gone, nil, tries: 0, took: .zero) }
        guard !found.isPaused,
            let place = DataPlaneAddress(found, domain: row.domain, at: target.endpoint)
        else { return nil }
        return await creations.health.check(place, isPlain: true)
    }
}

extension SandboxStore {
    /// Some that run, of all tenants, drawn by chance.
    func sample(size: Int64) async throws(ControlPlaneError) -> [Sandbox] {
        if size == 0 { return [] }
        return try decodeAll(try await asOperator(.sandboxSample, [.int8(size)]), Sandbox.init)
    }
}

extension Statement {
    fileprivate static let sandboxSample = Statement(
        "sandbox_sample",
        """
        SELECT * FROM sandbox WHERE state = 'running' AND ended_at IS NULL ORDER BY random() LIMIT $1
        """)
}
