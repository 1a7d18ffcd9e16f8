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
        find:
            @escaping @Sendable (Tenant.ID, String) async throws(ControlPlaneError) ->
            CreationTarget?,
        all:
            @escaping @Sendable () async throws(ControlPlaneError) -> [(
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
        /// Tasks of a kind in hand at a time.
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
    private let creations: Creations
    private let store: SandboxStore
    private let providers: SandboxProviders
    private let budget: CreationBudget
    private let targets: TargetSource
    private let killing: KillSwitch
    private var inHand: [Kind: Int] = [:]

    package init(
        on loop: EventLoop, pipeline: Pipeline, instance: String, creations: Creations,
        targets: TargetSource, killing: KillSwitch, settings: Settings = Settings()
    ) {
        self.loop = loop
        self.settings = settings
        queue = TaskQueue(pipeline, instance: instance)
        self.creations = creations
        store = creations.store
        providers = creations.providers
        budget = creations.budget
        self.targets = targets
        self.killing = killing
    }

    /// Works until cancelled. The kinds are apart: kills that a provider lets wait hold up no life.
    package func run() async {
        await withDiscardingTaskGroup { group in
            for kind in Kind.allCases {
                group.addTask(executorPreference: loop) {
                    await self.work(at: kind, untilIdle: false)
                }
            }
        }
    }

    /// Takes what is due and does it, until there is no more.
    package func round() async {
        await withDiscardingTaskGroup { group in
            for kind in Kind.allCases {
                group.addTask(executorPreference: loop) {
                    await self.work(at: kind, untilIdle: true)
                }
            }
        }
    }

    private enum Kind: String, CaseIterable {
        case kill = "sandbox.kill"
        case extend = "sandbox.extend"
    }

    /// Between two looks while there is more than it takes at a time.
    private static let busyPoll: Duration = .milliseconds(50)

    /// Keeps as many tasks in hand as it may, each slot filled as it is free.
    private func work(at kind: Kind, untilIdle: Bool) async {
        let shared = Shared(killing, on: loop) { await self.write($0) }
        await withDiscardingTaskGroup { group in
            group.addTask(executorPreference: loop) { await shared.switchReads.run() }
            group.addTask(executorPreference: loop) { await shared.ends.run() }
            await withDiscardingTaskGroup { group in
                while !Task.isCancelled {
                    let free = settings.width - inHand[kind, default: 0]
                    let tasks = free > 0 ? await take(kind, limit: free) : []
                    inHand[kind, default: 0] += tasks.count
                    for (task, row) in tasks {
                        group.addTask(executorPreference: loop) {
                            await self.perform(task, on: row, with: shared)
                            await self.finished(kind)
                        }
                    }
                    let isBusy = tasks.count == free
                    if untilIdle, !isBusy { break }
                    let pause = isBusy ? min(Self.busyPoll, settings.poll) : settings.poll
                    do throws(IOError) { try await loop.sleep(for: pause) } catch { break }
                }
            }
            await shared.switchReads.close()
            await shared.ends.close()
        }
    }

    private func finished(_ kind: Kind) { inHand[kind, default: 0] -= 1 }

    /// What is due, with the rows of its sandboxes; nil: it was removed with its tenant. What cannot be written
    /// of an end is due once more when the lease has passed.
    private func take(_ kind: Kind, limit: Int) async -> [(ClaimedTask, Sandbox?)] {
        if kind == .kill, await !killing.isOn() { return [] }
        do throws(ControlPlaneError) {
            let tasks = try await queue.claim([kind.rawValue], limit: limit, lease: settings.lease)
            if tasks.isEmpty { return [] }
            let rows = try await store.sandboxes(
                tasks.compactMap { task in sandboxID(task.payload).map { (task.tenant, $0) } })
            return tasks.map { task in (task, sandboxID(task.payload).flatMap { rows[$0] }) }
        } catch { return [] }
    }

    /// What tasks have in common: reads and writes that come while one is out share the next.
    private struct Shared {
        /// Whether kills are on, read after the question.
        let switchReads: Batcher<Void, Bool>
        let ends: Batcher<End, Void>

        init(
            _ killing: KillSwitch, on loop: EventLoop,
            write: @escaping @Sendable ([End]) async -> Void
        ) {
            switchReads = Batcher(on: loop) { calls in
                let isOn = await killing.isOn()
                return calls.map { .success(isOn) }
            }
            ends = Batcher(on: loop) { ends in
                await write(ends)
                return ends.map { _ in .success(()) }
            }
        }

        func mayKill() async -> Bool { (try? await switchReads(())) ?? false }
    }

    /// Of a task; `stopped` is the row of a sandbox that is confirmed to be gone.
    private struct End: Sendable {
        let task: TaskEnd
        var stopped: Sandbox?
    }

    private func write(_ ends: [End]) async {
        _ = await store.grouped(ends, by: { _ in 0 }) {
            [queue, store] ends throws(ControlPlaneError) in
            let stopped = ends.compactMap(\.stopped)
            _ = try await queue.end(
                ends.map(\.task), after: stopped.isEmpty ? [] : [store.moves(stopped, to: .stopped)]
            )
            return ends.map { _ in .success(()) }
        }
    }

    private func perform(_ task: ClaimedTask, on row: Sandbox?, with shared: Shared) async {
        var end = End(task: TaskEnd(task))
        do throws(TaskFailure) {
            if let row { end.stopped = try await carryOut(task.kind, on: row, with: shared) }
        } catch {
            let doublings = Double(1 << min(max(Int(task.attempts) - 1, 0), 10))
            let pause = min(settings.backoff * doublings, .seconds(60))
            end = End(
                task: TaskEnd(task, error: error.reason, retryAfter: max(pause, error.after)))
        }
        try? await shared.ends(end)
    }

    private struct TaskFailure: Error {
        let reason: String
        var after: Duration = .zero
    }

    /// The row, if it is to be stopped.
    private func carryOut(
        _ kind: String, on row: Sandbox, with shared: Shared
    ) async throws(TaskFailure) -> Sandbox? {
        let target: CreationTarget
        do throws(ControlPlaneError) {
            guard let found = try await targets.find(row.tenant, row.region) else {
                throw ControlPlaneError.notFound("region \(row.region)")
            }
            target = found
        } catch {
            throw TaskFailure(reason: "the region: \(error)")
        }
        guard kind == Kind.kill.rawValue else {
            if let endsAt = try await extend(row, at: target.endpoint) {
                try? await budget.keep(target.account, lease: row.id, for: endsAt - .now)
            }
            return nil
        }
        guard row.state == .stopping else { return nil }
        try await kill(row, at: target.endpoint, with: shared)
        await budget.release(target.account, lease: row.id)
        return row
    }

    /// Not found is success; so is to have been killed by somebody else.
    private func kill(
        _ row: Sandbox, at endpoint: ProviderEndpoint, with shared: Shared
    ) async throws(TaskFailure) {
        var ids = row.providerID.map { [$0] } ?? []
        if ids.isEmpty {
            ids = try await found(row, at: endpoint).map(\.id)
            if ids.isEmpty, row.createdAt.duration(to: .now) < settings.settle {
                throw TaskFailure(reason: "not seen yet", after: .seconds(10))
            }
        }
        for id in ids {
            // The task was taken before the switch was thrown.
            guard await shared.mayKill() else {
                throw TaskFailure(reason: "killing is switched off", after: .seconds(1))
            }
            do throws(TryError) {
                _ = try await providers.kill(id, at: endpoint, within: settings.call)
            } catch { throw TaskFailure(reason: "\(error)") }
        }
    }

    /// What the provider has under our id, of a try whose answer never came.
    private func found(
        _ row: Sandbox, at endpoint: ProviderEndpoint
    ) async throws(TaskFailure) -> [ProviderSandbox] {
        do throws(ControlPlaneError) {
            let tags = SandboxTag.all(try await creations.loadedDeployment(), row.tenant, row.id)
            do throws(TryError) {
                return try await providers.list(
                    metadata: tags, at: endpoint, within: settings.call)
            } catch { throw ControlPlaneError.conflict("\(error)") }
        } catch { throw TaskFailure(reason: "the list: \(error)") }
    }

    /// The end that was given; nil: there was none to give.
    private func extend(
        _ row: Sandbox, at endpoint: ProviderEndpoint
    ) async throws(TaskFailure) -> Timestamp? {
        guard row.state.isBound, let id = row.providerID, let endsAt = row.endsAt,
            row.providerEndsAt != endsAt, endsAt > .now
        else { return nil }
        do throws(TryError) {
            // One that is gone is the reconciler's to find.
            _ = try await providers.extend(
                id, to: endsAt - .now, at: endpoint, within: settings.call)
        } catch {
            guard creations.refusal(error) != nil else { throw TaskFailure(reason: "\(error)") }
            // It never will: what its tenant sees is what it has.
            do throws(ControlPlaneError) {
                try await store.changeLife(
                    row.id, of: row.tenant, from: endsAt, to: row.providerEndsAt)
            } catch { throw TaskFailure(reason: "\(error)") }
            return nil
        }
        do throws(ControlPlaneError) {
            try await store.extended(row.id, of: row.tenant, to: endsAt)
        } catch { throw TaskFailure(reason: "\(error)") }
        return endsAt
    }

    private func sandboxID(_ payload: String) -> UUID? {
        JSONValue(bytes: Array(payload.utf8))?["sandbox"]?.string.flatMap { UUID($0) }
    }
}

extension Timestamp {
    func duration(to other: Timestamp) -> Duration { other - self }
}
