package import IO
package import Postgres

/// Sandboxes as callers work with them.
package struct Sandboxes: Sendable {
    package struct Settings: Hashable, Sendable {
        /// What holds for tenants that have set nothing else.
        package var standard = SandboxSettings()
        /// How long an answer to a kill or a change of life waits for the provider.
        package var actWait: Duration = .seconds(5)
        /// How often a repeated order looks whether the first one is over.
        package static let twinPoll: Duration = .milliseconds(100)

        package init() {}
    }

    package let creations: Creations
    package let targets: RegionTargets
    package let settings: Settings
    package let killing: KillSwitch
    private let breakers: Breakers
    private let directory: Directory
    package var store: SandboxStore { creations.store }

    package init(
        _ creations: Creations, targets: RegionTargets, breakers: Breakers, pipeline: Pipeline,
        killing: KillSwitch, settings: Settings = Settings()
    ) {
        self.creations = creations
        self.targets = targets
        self.breakers = breakers
        self.settings = settings
        self.killing = killing
        directory = Directory(pipeline)
    }

    /// How a tenant's sandboxes are made, as it is now.
    package func settings(
        of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> SandboxSettings {
        settings.standard.with(try await creations.ledger.settings(of: tenant))
    }

    /// The same as this loop's last decision for the tenant knew it.
    package func knownTimes(of tenant: Tenant.ID) async -> SandboxTimes {
        settings.standard.times.with(await creations.ledger.knownSettings(of: tenant))
    }

    /// Where a tenant's sandbox is to be made: the region that is named, else the first whose breaker is
    /// not open.
    ///
    /// Throws `.invalid` for a region that is not there or closed, `.conflict` where there is none.
    package func target(
        for tenant: Tenant.ID, region: String?
    ) async throws(ControlPlaneError) -> CreationTarget {
        let open = try await targets.open(to: tenant)
        if let region {
            guard let target = open.first(where: { $0.region == region }) else {
                throw .invalid(
                    field: "/region",
                    reason: "is no region of the tenant's that takes new sandboxes")
            }
            return target
        }
        guard let first = open.first else {
            throw .conflict(
                "the tenant has no region: an operator makes one with PUT /v1/admin/tenants/\(tenant)/regions/NAME"
            )
        }
        for target in open {
            let key = BreakerKey(
                tenant, provider: target.provider, region: target.region, .create)
            if await breakers.glance(at: key).state != .open { return target }
        }
        return first
    }

    /// The request that an earlier order with this key made, once it is over; nil: there is none.
    ///
    /// Throws `.idempotencyMismatch`, `.conflict` where it is not over by `deadline`.
    package func earlier(
        _ idempotency: Idempotency?, of tenant: Tenant.ID, until deadline: MonotonicInstant
    ) async throws(ControlPlaneError) -> SandboxRequest? {
        guard let text = try await directory.earlier(idempotency, of: tenant),
            let id = UUID(text)
        else { return nil }
        while true {
            let request = try await store.request(id, of: tenant)
            if request.state.isEnd { return request }
            guard MonotonicInstant.now < deadline else {
                throw .conflict("the first request with this Idempotency-Key is under way")
            }
            do throws(IOError) {
                try await creations.loop.sleep(for: Settings.twinPoll)
            } catch { throw .conflict("stopping") }
        }
    }

    /// Ends a sandbox, whatever it is doing. The decision is durable before the provider hears of it; what
    /// the provider does not confirm at once is tried until it does.
    package func kill(
        _ id: UUID, of tenant: Tenant.ID, by actor: String
    ) async throws(ControlPlaneError) -> Sandbox {
        let moved = try await store.move(
            id, of: tenant, to: .stopping, why: .killed, by: actor,
            from: Set(SandboxState.allCases.filter { !$0.isEnd && $0 != .stopping }))
        let row: Sandbox
        if let moved { row = moved } else { row = try await store.sandbox(id, of: tenant) }
        guard row.state == .stopping, let providerID = row.providerID,
            let target = try await targets.find(row.region, of: tenant), await killing.isOn()
        else { return row }
        do throws(TryError) {
            _ = try await creations.providers.kill(
                providerID, at: target.endpoint, within: settings.actWait)
        } catch { return row }
        await creations.budget.release(target.account, lease: row.id)
        let stopped = try await store.move(id, of: tenant, to: .stopped, why: .killed, by: actor)
        if let stopped { return stopped }
        return try await store.sandbox(id, of: tenant)
    }

    /// Lets its place among those that its account may have last for another life.
    package func keepPlace(_ row: Sandbox, for life: Duration) async {
        guard let target = try? await targets.find(row.region, of: row.tenant),
            target.account.limits.concurrency != nil
        else { return }
        try? await creations.budget.keep(target.account, lease: row.id, for: life)
        // Ended meanwhile, it would have its place for that long.
        if let now = try? await store.sandbox(row.id, of: row.tenant), !now.state.isBound {
            await creations.budget.release(target.account, lease: row.id)
        }
    }

    /// Gives that place back: it does not run any more.
    package func freePlace(_ row: Sandbox) async {
        guard let target = try? await targets.find(row.region, of: row.tenant) else { return }
        await creations.budget.release(target.account, lease: row.id)
    }

    /// Looks whether a sandbox works, and notes it in its history.
    ///
    /// Throws `.notFound`, `.conflict` for one that is not running.
    package func checkHealth(
        _ id: UUID, of tenant: Tenant.ID, by actor: String, traceID: String?
    ) async throws(ControlPlaneError) -> (sandbox: Sandbox, check: HealthCheck) {
        let row = try await store.sandbox(id, of: tenant)
        guard row.state == .running || row.state == .booting, let providerID = row.providerID else {
            throw .conflict("the sandbox is \(row.state.rawValue)")
        }
        guard let target = try await targets.find(row.region, of: tenant) else {
            throw .conflict("the sandbox's region \(row.region) is not there any more")
        }
        let check = try await look(at: row, providerID, target)
        creations.tell(.healthChecked(HealthCheckEvent(check, of: row, traceID: traceID)))
        return (try await store.checked(id, of: tenant, check, by: actor) ?? row, check)
    }

    /// The token of its data plane is not kept: the provider is asked for it.
    private func look(
        at row: Sandbox, _ providerID: String, _ target: CreationTarget
    ) async throws(ControlPlaneError) -> HealthCheck {
        let start = MonotonicInstant.now
        func unseen(_ verdict: HealthCheck.Verdict, _ reason: String) -> HealthCheck {
            HealthCheck(verdict, reason, tries: 0, took: start.duration(to: .now))
        }
        let found: ProviderSandbox?
        do throws(TryError) {
            found = try await creations.providers.find(
                providerID, at: target.endpoint, within: settings.actWait)
        } catch { return unseen(.unknown, "the provider does not tell of it: \(error.words)") }
        guard let found else { return unseen(.gone, "the provider has it no more") }
        if found.isPaused { throw .conflict("the provider has paused the sandbox") }
        guard let place = DataPlaneAddress(found, domain: row.domain, at: target.endpoint) else {
            return unseen(.unknown, "nothing says where its data plane is")
        }
        return await creations.health.check(place)
    }

    /// Makes a sandbox live for so long from now on. The promise is durable; what the provider does not
    /// confirm at once is tried until it does.
    ///
    /// Throws `.conflict` for one that is not running, `.invalid` for a life that the provider does not
    /// allow.
    package func setLife(
        _ id: UUID, of tenant: Tenant.ID, to life: Duration
    ) async throws(ControlPlaneError) -> Sandbox {
        let before = try await store.sandbox(id, of: tenant)
        guard let row = try await store.setLife(id, of: tenant, to: life) else {
            let row = try await store.sandbox(id, of: tenant)
            throw .conflict("the sandbox is \(row.state.rawValue)")
        }
        guard let providerID = row.providerID, let endsAt = row.endsAt,
            let target = try await targets.find(row.region, of: tenant)
        else { return row }
        do throws(TryError) {
            let isThere = try await creations.providers.extend(
                providerID, to: life, at: target.endpoint, within: settings.actWait)
            if isThere {
                try? await store.extended(id, of: tenant, to: endsAt)
                await keepPlace(row, for: life)
            }
        } catch {
            if let refusal = creations.refusal(error) {
                try await store.changeLife(id, of: tenant, from: endsAt, to: before.endsAt)
                throw .invalid(
                    field: "/timeoutMs",
                    reason:
                        "is refused by the provider: \(redacted(String(refusal.message.prefix(300))))"
                )
            }
        }
        return try await store.sandbox(id, of: tenant)
    }
}
