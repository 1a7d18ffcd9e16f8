internal import IO
internal import JSON
package import Postgres

/// Makes a sandbox in each place where tenants' sandboxes are made, runs a command in it and kills it: finds
/// an outage before users do. It costs money, so it runs only where the operator gives it a budget.
///
/// Outside of limits, breakers and records, which are the tenants'. It is made with a life of a minute: what
/// is lost here ends by itself.
package struct ProbeJob: Job {
    package struct Settings: Hashable, Sendable {
        /// Probes of each place a day; 0: none.
        package var perDay = 0
        package var template = "base"
        /// One call to the provider.
        package static let call: Duration = .seconds(30)
        /// The life of a probe's sandbox.
        package static let life: Duration = .seconds(60)

        package init() {}

        package var isOn: Bool { perDay > 0 }
    }

    /// What one probe showed.
    package struct Result: Sendable {
        package enum Stage: String, Sendable { case create, check, kill, done }

        package let provider: String
        package let region: String
        package let tenant: Tenant.ID
        /// How far it came.
        package let stage: Stage
        package let error: String?
        package let took: Duration

        package init(
            provider: String, region: String, tenant: Tenant.ID, stage: Stage,
            error: String? = nil, took: Duration
        ) {
            self.provider = provider
            self.region = region
            self.tenant = tenant
            self.stage = stage
            self.error = error
            self.took = took
        }
    }

    package let name = "providers.probe"
    package var interval: Duration { .seconds(86_400 / max(settings.perDay, 1)) }
    private let settings: Settings
    private let creations: Creations
    private let targets: TargetSource
    private let killing: KillSwitch
    private let tell: Tell

    package init(
        _ creations: Creations, targets: TargetSource, killing: KillSwitch,
        settings: Settings = Settings(), tell: @escaping Tell = { _ in }
    ) {
        self.creations = creations
        self.targets = targets
        self.killing = killing
        self.settings = settings
        self.tell = tell
    }

    package func run(_ pipeline: Pipeline) async throws(ControlPlaneError) -> String {
        // What may not be killed is not made.
        guard settings.isOn, await killing.isOn() else { return report([("probed", 0)]) }
        var (probed, failed) = (0, 0)
        var seen: Set<String> = []
        for (tenant, target) in try await targets.all() {
            // Regions of several tenants that share an account are one place.
            let place = "\(target.provider) \(target.account.id) \(target.endpoint.api)"
            guard seen.insert(place).inserted else { continue }
            let result = await probe(target, tenant)
            probed += 1
            failed += result.stage == .done ? 0 : 1
            tell(.providerProbed(result))
        }
        return report([("probed", probed), ("failed", failed)])
    }

    private func probe(_ target: CreationTarget, _ tenant: Tenant.ID) async -> Result {
        let start = MonotonicInstant.now
        func result(_ stage: Result.Stage, _ error: String?) -> Result {
            Result(
                provider: target.provider, region: target.region, tenant: tenant, stage: stage,
                error: error, took: start.duration(to: .now))
        }
        let id = UUID.v7()
        let made: ProviderSandbox
        do throws(TryError) {
            made = try await creations.providers.create(
                try await body(target, tenant, id), once: id, at: target.endpoint,
                within: Settings.call, traceparent: nil)
        } catch { return result(.create, error.words) }
        var check = HealthCheck(
            .unknown, "nothing says where its data plane is", tries: 0, took: .zero)
        if let place = DataPlaneAddress(made, domain: nil, at: target.endpoint) {
            check = await creations.health.check(place)
        }
        do throws(TryError) {
            _ = try await creations.providers.kill(
                made.id, at: target.endpoint, within: Settings.call)
        } catch { return result(.kill, error.words) }
        guard check.verdict == .healthy else { return result(.check, check.reason) }
        return result(.done, nil)
    }

    /// Tagged as ours, so that the reaper finds what is left of it.
    private func body(
        _ target: CreationTarget, _ tenant: Tenant.ID, _ id: UUID
    ) async throws(TryError) -> JSONValue {
        let deployment: String
        do throws(ControlPlaneError) { deployment = try await creations.loadedDeployment() } catch {
            throw .refused(.cancelled, retryAfter: nil)
        }
        let template =
            target.templates[settings.template] ?? target.templates.values.min()
            ?? settings.template
        let tags = SandboxTag.all(deployment, tenant, id).map {
            JSONMember(name: $0.name, value: .string($0.value))
        }
        let seconds = JSONNumber(Int(Settings.life.milliseconds / 1000))
        return .object([
            JSONMember(name: "templateID", value: .string(template)),
            JSONMember(name: "timeout", value: .number(seconds)),
            JSONMember(name: "metadata", value: .object(tags)),
        ])
    }
}
