internal import IO
package import Postgres

/// Compares what the rows say with what the providers have, and settles what differs.
///
/// A list that is not complete proves nothing, and absence is a suspicion until a direct look confirms it.
/// Killed is only what has our tags and is older than the grace; when there is suddenly much of it,
/// nothing is: that is a restored backup or a shared key, not a leak.
package struct Reconciler: Job {
    package struct Settings: Hashable, Sendable {
        package var interval: Duration = .seconds(60)
        /// One call to the provider.
        package var call: Duration = .seconds(20)
        /// A row that changed so shortly before a list began may be missing from it.
        package var young: Duration = .seconds(120)
        /// Between two misses that count.
        package var missSpacing: Duration = .seconds(30)
        /// How long after its call a sandbox that was never seen counts as absent.
        package var settle: Duration = .seconds(90)
        /// How old one without a row must be before it is killed.
        package var orphanGrace: Duration = .seconds(300)
        /// How long one that is over may still be shown.
        package var endedGrace: Duration = .seconds(60)
        /// Kills of a pass that need no share: past them and `killShare` none is killed.
        package var killFloor = 5
        /// The same as a share of the live ones.
        package var killShare = 0.05
        /// Regions that are looked at at a time.
        package var width = 8
        package init() {}
    }

    /// What a pass over one region did.
    package struct Report: Hashable, Sendable {
        package var seen = 0
        package var adopted = 0
        package var absent = 0
        package var missed = 0
        package var lost = 0
        package var expired = 0
        package var killed = 0
        /// More to kill than the budget: none was.
        package var overBudget = 0
        package var foreign = 0
    }

    package let name = "sandboxes.reconcile"
    package var interval: Duration { settings.interval }
    private let settings: Settings
    private let creations: Creations
    private let breakers: Breakers
    private let targets: TargetSource
    private let killing: KillSwitch
    private let tell: Tell
    private var store: SandboxStore { creations.store }

    package init(
        _ creations: Creations, breakers: Breakers, targets: TargetSource, killing: KillSwitch,
        settings: Settings = Settings(), tell: @escaping Tell = { _ in }
    ) {
        self.creations = creations
        self.breakers = breakers
        self.targets = targets
        self.killing = killing
        self.settings = settings
        self.tell = tell
    }

    /// One region that fails, or is slow, holds no other up.
    package func run(_ pipeline: Pipeline) async throws(ControlPlaneError) -> String {
        var total = Report()
        var failures: [String] = []
        var regions = try await targets.all()[...]
        await withTaskGroup(of: Result<Report, ControlPlaneError>.self) { group in
            func next() {
                guard let (tenant, target) = regions.popFirst() else { return }
                group.addTask(executorPreference: creations.loop) {
                    await result(of: target, of: tenant)
                }
            }
            for _ in 0..<settings.width { next() }
            for await result in group {
                switch result {
                case .success(let report): total.add(report)
                case .failure(.conflict(let reason)): failures.append(reason)
                case .failure(let error): failures.append("\(error)")
                }
                next()
            }
        }
        return report(
            [
                ("seen", total.seen), ("adopted", total.adopted), ("absent", total.absent),
                ("missed", total.missed), ("lost", total.lost), ("expired", total.expired),
                ("killed", total.killed), ("overBudget", total.overBudget),
                ("foreign", total.foreign), ("regionsFailed", failures.count),
            ], failures: failures)
    }

    private func result(
        of target: CreationTarget, of tenant: Tenant.ID
    ) async -> Result<Report, ControlPlaneError> {
        do throws(ControlPlaneError) {
            return .success(try await pass(over: target, of: tenant))
        } catch { return .failure(error) }
    }

    /// Throws when the list is not complete, or the database is away.
    package func pass(
        over target: CreationTarget, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Report {
        let deployment = try await creations.loadedDeployment()
        let (startedAt, live) = try await store.live(in: target.region, of: tenant)
        let listed: [ProviderSandbox]
        do throws(TryError) {
            listed = try await creations.providers.list(
                metadata: [
                    (SandboxTag.deployment, deployment), (SandboxTag.tenant, tenant.description),
                ], at: target.endpoint, within: settings.call)
        } catch {
            throw .conflict(
                "\(target.region) of tenant \(tenant) gives no complete list: \(error.words)")
        }
        var report = Report()
        var shown: [UUID: [ProviderSandbox]] = [:]
        for sandbox in listed {
            guard sandbox.metadata(SandboxTag.deployment) == deployment,
                sandbox.metadata(SandboxTag.tenant) == tenant.description,
                let id = sandbox.metadata(SandboxTag.sandbox).flatMap({ UUID($0) })
            else {
                report.foreign += 1
                continue
            }
            shown[id, default: []].append(sandbox)
        }
        let pass = Pass(
            tenant: tenant, target: target, startedAt: startedAt, liveCount: live.count)
        try await settle(shown, pass, &report)
        let state = await breakers.glance(
            at: BreakerKey(tenant, provider: target.provider, region: target.region, .create)
        ).state
        if state != .open {
            for row in live where shown[row.id] == nil { try await missing(row, pass, &report) }
        }
        return report
    }

    private struct Pass {
        let tenant: Tenant.ID
        let target: CreationTarget
        let startedAt: Timestamp
        let liveCount: Int
    }

    // MARK: Shown

    private func settle(
        _ shown: [UUID: [ProviderSandbox]], _ pass: Pass, _ report: inout Report
    ) async throws(ControlPlaneError) {
        var rows: [UUID: Sandbox] = [:]
        for row in try await store.sandboxes(Array(shown.keys), of: pass.tenant) {
            rows[row.id] = row
        }
        var doomed: [(sandbox: ProviderSandbox, row: Sandbox?)] = []
        var seen: [(id: UUID, endsAt: Timestamp?)] = []
        for (id, sandboxes) in shown {
            report.seen += sandboxes.count
            guard let row = rows[id] else {
                doomed += sandboxes.filter { isOld($0.startedAt, pass, settings.orphanGrace) }
                    .map { ($0, nil) }
                continue
            }
            // The one that is known, else the oldest; any other has the same id of ours, and is too many.
            let mine =
                sandboxes.first { $0.id == row.providerID }
                ?? sandboxes.min {
                    ($0.startedAt ?? .distantFuture) < ($1.startedAt ?? .distantFuture)
                }
            for sandbox in sandboxes {
                guard sandbox.id == mine?.id, row.providerID == nil || row.providerID == sandbox.id
                else {
                    if isOld(sandbox.startedAt, pass, settings.orphanGrace) {
                        doomed.append((sandbox, nil))
                    }
                    continue
                }
                switch row.state {
                case .createUnknown:
                    if try await adopt(row, sandbox, pass) { report.adopted += 1 }
                case .booting, .running, .paused:
                    seen.append((row.id, sandbox.endsAt))
                    try await follow(row, sandbox, pass)
                case .lost where try await haveBack(row, sandbox, pass): break
                case .stopped, .failed, .lost:
                    if isOld(row.endedAt, pass, settings.endedGrace) {
                        doomed.append((sandbox, row))
                    }
                case .creating, .stopping, .orphan: break
                }
            }
        }
        try await store.seen(seen, of: pass.tenant)
        try await kill(doomed, pass, &report)
    }

    /// What was lost and has an end still, or none: its tenant may be working in it.
    private func haveBack(
        _ row: Sandbox, _ sandbox: ProviderSandbox, _ pass: Pass
    ) async throws(ControlPlaneError) -> Bool {
        let endsAt = max(row.endsAt ?? .distantPast, sandbox.endsAt ?? .distantPast)
        guard sandbox.isPaused || endsAt > pass.startedAt else { return false }
        var facts = SandboxFacts()
        if !sandbox.isPaused { facts.endsAt = endsAt }
        _ = try await store.move(
            row.id, of: pass.tenant, to: sandbox.isPaused ? .paused : .running, why: .adopted,
            by: "system", from: [.lost], facts)
        if !sandbox.isPaused { await keepPlace(row, until: endsAt, pass) }
        return true
    }

    private func keepPlace(_ row: Sandbox, until endsAt: Timestamp, _ pass: Pass) async {
        try? await creations.budget.keep(
            pass.target.account, lease: row.id, for: endsAt - pass.startedAt)
    }

    /// The provider pauses by itself what is to pause at its end, and wakes what is asked for something.
    private func follow(
        _ row: Sandbox, _ sandbox: ProviderSandbox, _ pass: Pass
    ) async throws(ControlPlaneError) {
        // A list may be late by a while: what its tenant did meanwhile holds.
        guard pass.startedAt - row.changedAt > settings.young else { return }
        if row.state == .running, sandbox.isPaused {
            _ = try await store.move(
                row.id, of: pass.tenant, to: .paused, why: nil, by: "system", from: [.running])
            await creations.budget.release(pass.target.account, lease: row.id)
        } else if row.state == .paused, !sandbox.isPaused {
            // It has another life, and an end with it: that is not taken from a list.
            let found = try? await creations.providers.find(
                sandbox.id, at: pass.target.endpoint, within: settings.call)
            guard let found, !found.isPaused, let endsAt = found.endsAt else { return }
            var facts = SandboxFacts()
            facts.endsAt = endsAt
            facts.providerEndsAt = endsAt
            _ = try await store.move(
                row.id, of: pass.tenant, to: .running, why: nil, by: "system", from: [.paused],
                facts)
            await keepPlace(row, until: endsAt, pass)
        }
    }

    private func isOld(_ time: Timestamp?, _ pass: Pass, _ grace: Duration) -> Bool {
        guard let time else { return false }
        return pass.startedAt - time > grace
    }

    private func adopt(
        _ row: Sandbox, _ sandbox: ProviderSandbox, _ pass: Pass
    ) async throws(ControlPlaneError) -> Bool {
        var facts = SandboxFacts()
        facts.providerID = sandbox.id
        facts.domain = sandbox.domain ?? pass.target.endpoint.domain
        facts.startedAt = sandbox.startedAt
        // Where it does not say: the life that it was made with.
        facts.providerEndsAt = sandbox.endsAt ?? row.createdAt + creations.settings.firstLife
        let request = try await store.request(row.request, of: pass.tenant)
        let endsAt = (sandbox.startedAt ?? row.createdAt) + request.life
        facts.endsAt = endsAt
        if !request.state.isEnd, let until = facts.providerEndsAt, endsAt > until {
            // Little may be left of its first life: who gets it must not lose it at once.
            let isGiven = try? await creations.providers.extend(
                sandbox.id, to: endsAt - .now, at: pass.target.endpoint, within: settings.call)
            guard isGiven == true else { return false }
            facts.providerEndsAt = endsAt
        }
        let adopted = try await store.made(
            MadeSandbox(row.id, of: pass.tenant, facts, why: .adopted))
        guard let adopted else { return false }
        if adopted.state.isBound { await keepPlace(row, until: endsAt, pass) }
        return true
    }

    private func kill(
        _ doomed: [(sandbox: ProviderSandbox, row: Sandbox?)], _ pass: Pass, _ report: inout Report
    ) async throws(ControlPlaneError) {
        guard !doomed.isEmpty else { return }
        let share = Int(settings.killShare * Double(pass.liveCount))
        guard doomed.count <= max(settings.killFloor, share) else {
            report.overBudget += doomed.count
            tell(
                .reaperHeldBack(
                    tenant: pass.tenant, region: pass.target.region, count: doomed.count,
                    live: pass.liveCount))
            return
        }
        guard await killing.isOn() else { return }
        for (sandbox, row) in doomed {
            var isNew = true
            if let row {
                var facts = SandboxFacts()
                facts.providerID = sandbox.id
                _ = try await store.move(
                    row.id, of: pass.tenant, to: .stopping, why: .leaked,
                    from: [.stopped, .failed, .lost], facts)
            } else {
                isNew = try await store.addOrphan(
                    sandbox, in: pass.target.region, of: pass.tenant)
            }
            guard isNew else { continue }
            report.killed += 1
            tell(.sandboxReaped(told(sandbox.id, row?.template, .leaked, pass)))
        }
    }

    // MARK: Not shown

    private func missing(
        _ row: Sandbox, _ pass: Pass, _ report: inout Report
    ) async throws(ControlPlaneError) {
        switch row.state {
        case .createUnknown:
            guard pass.startedAt - row.createdAt > settings.settle else { return }
            guard try await isMissedTwice(row, pass, &report) else { return }
            if try await store.move(
                row.id, of: pass.tenant, to: .failed, why: .provenAbsent, from: [.createUnknown])
                != nil
            {
                report.absent += 1
                await creations.budget.release(pass.target.account, lease: row.id)
            }
        case .booting, .running, .paused:
            guard pass.startedAt - row.changedAt > settings.young, let id = row.providerID,
                try await isMissedTwice(row, pass, &report)
            else { return }
            // The list leaves out what is being paused or killed: one more look, at itself.
            let found: ProviderSandbox?
            do throws(TryError) {
                found = try await creations.providers.find(
                    id, at: pass.target.endpoint, within: settings.call)
            } catch { return }
            guard found == nil else { return }
            // What is paused has no end.
            let isExpired = row.state != .paused && row.providerEndsAt.map { $0 <= .now } ?? false
            if try await store.move(
                row.id, of: pass.tenant, to: isExpired ? .stopped : .lost,
                why: isExpired ? .expired : .missing, from: [row.state]) != nil
            {
                await creations.budget.release(pass.target.account, lease: row.id)
                if isExpired {
                    report.expired += 1
                } else {
                    report.lost += 1
                    tell(.sandboxLost(told(id, row.template, .missing, pass)))
                }
            }
        default: break
        }
    }

    private func told(
        _ id: String, _ template: String?, _ reason: SandboxReason, _ pass: Pass
    ) -> Event.FoundSandbox {
        Event.FoundSandbox(
            tenant: pass.tenant, region: pass.target.region, sandboxID: id, template: template,
            reason: reason)
    }

    private func isMissedTwice(
        _ row: Sandbox, _ pass: Pass, _ report: inout Report
    ) async throws(ControlPlaneError) -> Bool {
        let misses = try await store.missed(
            row.id, of: pass.tenant, spacing: settings.missSpacing)
        report.missed += 1
        return misses >= 2
    }
}

extension Reconciler.Report {
    mutating func add(_ other: Reconciler.Report) {
        seen += other.seen
        adopted += other.adopted
        absent += other.absent
        missed += other.missed
        lost += other.lost
        expired += other.expired
        killed += other.killed
        overBudget += other.overBudget
        foreign += other.foreign
    }
}
