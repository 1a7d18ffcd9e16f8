package import IO
internal import JSON
package import Postgres

/// Where the regions of tenants are looked up.
package struct TargetSource: Sendable {
    /// A tenant's region by its name, also one that takes no new sandboxes; nil: there is none.
    let find: @Sendable (Tenant.ID, String) async throws(ControlPlaneError) -> CreationTarget?
    /// Every region of every tenant.
    let all: @Sendable () async throws(ControlPlaneError) -> [(Tenant.ID, CreationTarget)]

    package init(
        find: @escaping @Sendable (Tenant.ID, String) async throws(ControlPlaneError) ->
            CreationTarget?,
        all: @escaping @Sendable () async throws(ControlPlaneError) -> [(
            Tenant.ID, CreationTarget
        )]
    ) {
        self.find = find
        self.all = all
    }
}

/// Carries out what moves of sandboxes left to be done at the provider: kills, and lives to be given.
/// Each at least once, until the provider confirms; any instance takes what another did not finish.
package actor SandboxTasks: LoopBound {
    package struct Settings: Hashable, Sendable {
        /// How often due tasks are looked for.
        package var poll: Duration = .milliseconds(500)
        /// How long a task is this instance's.
        package var lease: Duration = .seconds(60)
        /// Tasks in hand at a time.
        package var width = 16
        /// One call to the provider.
        package var call: Duration = .seconds(20)
        /// The first pause after a failure; each doubles, up to a minute.
        package var backoff: Duration = .seconds(1)
        /// How long after its call a sandbox that was never seen counts as absent. The provider's own
        /// deadline for a call is 70 s.
        package var settle: Duration = .seconds(90)

        package init() {}
    }

    package nonisolated let loop: EventLoop
    private let settings: Settings
    private let queue: TaskQueue
    private let store: SandboxStore
    private let providers: SandboxProviders
    private let budget: CreationBudget
    private let targets: TargetSource
    private let deployment: @Sendable () async throws(ControlPlaneError) -> String
    private let killing: KillSwitch

    package init(
        on loop: EventLoop, pipeline: Pipeline, instance: String, creations: Creations,
        targets: TargetSource, killing: KillSwitch, settings: Settings = Settings()
    ) {
        self.loop = loop
        self.settings = settings
        queue = TaskQueue(pipeline, instance: instance)
        store = creations.store
        providers = creations.providers
        budget = creations.budget
        self.targets = targets
        deployment = { () async throws(ControlPlaneError) in
            try await creations.loadedDeployment()
        }
        self.killing = killing
    }

    /// Works until cancelled.
    package func run() async {
        while !Task.isCancelled {
            let isBusy = await round()
            if isBusy { continue }
            do throws(IOError) { try await loop.sleep(for: settings.poll) } catch { return }
        }
    }

    /// Takes what is due and does it; whether there was as much as it takes at a time.
    @discardableResult
    package func round() async -> Bool {
        let kinds =
            await killing.isOn() ? ["sandbox.kill", "sandbox.extend"] : ["sandbox.extend"]
        guard
            let tasks = try? await queue.claim(
                kinds, limit: settings.width, lease: settings.lease)
        else { return false }
        await withDiscardingTaskGroup { group in
            for task in tasks { group.addTask(executorPreference: loop) { await self.perform(task) } }
        }
        return tasks.count == settings.width
    }

    private func perform(_ task: ClaimedTask) async {
        do throws(TaskFailure) {
            try await carryOut(task)
            _ = try? await queue.complete(task)
        } catch {
            let doublings = Double(1 << min(max(Int(task.attempts) - 1, 0), 10))
            let pause = min(settings.backoff * doublings, .seconds(60))
            _ = try? await queue.fail(task, error.reason, retryAfter: max(pause, error.after))
        }
    }

    private struct TaskFailure: Error {
        let reason: String
        var after: Duration = .zero
    }

    private func carryOut(_ task: ClaimedTask) async throws(TaskFailure) {
        guard let id = sandboxID(task.payload) else { return }
        let row: Sandbox
        do throws(ControlPlaneError) {
            row = try await store.sandbox(id, of: task.tenant)
        } catch {
            if case .notFound = error { return }
            throw TaskFailure(reason: "the row: \(error)")
        }
        let target: CreationTarget
        do throws(ControlPlaneError) {
            guard let found = try await targets.find(task.tenant, row.region) else {
                throw ControlPlaneError.notFound("region \(row.region)")
            }
            target = found
        } catch {
            throw TaskFailure(reason: "the region: \(error)")
        }
        if task.kind == "sandbox.kill" {
            try await kill(row, at: target.endpoint)
            await budget.release(target.account, lease: row.id)
        } else {
            try await extend(row, at: target.endpoint)
        }
    }

    /// Not found is success; so is to have been killed by somebody else.
    private func kill(_ row: Sandbox, at endpoint: ProviderEndpoint) async throws(TaskFailure) {
        guard row.state == .stopping else { return }
        var ids = row.providerID.map { [$0] } ?? []
        if ids.isEmpty {
            ids = try await found(row, at: endpoint).map(\.id)
            if ids.isEmpty, row.createdAt.duration(to: .now) < settings.settle {
                throw TaskFailure(reason: "not seen yet", after: .seconds(10))
            }
        }
        for id in ids {
            // The task was taken before the switch was thrown.
            guard await killing.isOn() else {
                throw TaskFailure(reason: "killing is switched off", after: .seconds(1))
            }
            do throws(TryError) {
                _ = try await providers.kill(id, at: endpoint, within: settings.call)
            } catch { throw TaskFailure(reason: "\(error)") }
        }
        do throws(ControlPlaneError) {
            _ = try await store.move(row.id, of: row.tenant, to: .stopped, why: row.reason)
        } catch { throw TaskFailure(reason: "\(error)") }
    }

    /// What the provider has under our id, of a try whose answer never came.
    private func found(
        _ row: Sandbox, at endpoint: ProviderEndpoint
    ) async throws(TaskFailure) -> [ProviderSandbox] {
        do throws(ControlPlaneError) {
            let tags = SandboxTag.all(try await deployment(), row.tenant, row.id)
            do throws(TryError) {
                return try await providers.list(
                    metadata: tags, at: endpoint, within: settings.call)
            } catch { throw ControlPlaneError.conflict("\(error)") }
        } catch { throw TaskFailure(reason: "the list: \(error)") }
    }

    private func extend(_ row: Sandbox, at endpoint: ProviderEndpoint) async throws(TaskFailure) {
        guard row.state.isBound, let id = row.providerID, let endsAt = row.endsAt,
            row.providerEndsAt != endsAt, endsAt > .now
        else { return }
        do throws(TryError) {
            // One that is gone is the reconciler's to find.
            _ = try await providers.extend(
                id, to: endsAt - .now, at: endpoint, within: settings.call)
        } catch { throw TaskFailure(reason: "\(error)") }
        do throws(ControlPlaneError) {
            try await store.extended(row.id, of: row.tenant, to: endsAt)
        } catch { throw TaskFailure(reason: "\(error)") }
    }

    private func sandboxID(_ payload: String) -> UUID? {
        JSONValue(bytes: Array(payload.utf8))?["sandbox"]?.string.flatMap { UUID($0) }
    }
}

extension Timestamp {
    func duration(to other: Timestamp) -> Duration { other - self }
}
