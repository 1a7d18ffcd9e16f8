package import IO
package import Postgres

/// What this loop knows of tenants' regions, so that choosing one costs no SQL.
///
/// What changed is polled, as keys are (`KeyCache`), so that a change holds on every instance within a
/// second; the same poll tells which accounts a provider has throttled. An instance that uses no regions
/// asks nothing. While the database is away what is known stays: nobody can change it then.
package actor RegionCache: LoopBound {
    package struct Settings: Hashable, Sendable {
        /// How often changes are asked for; they are promised within 1 s.
        package var pollInterval: Duration = .milliseconds(400)
        /// How far back changes are asked for; longer than a transaction that changes a region lasts
        /// (statement and lock time-outs, 7 s), since rows appear in order of commit.
        package var changeSpan: Duration = .seconds(15)
        /// How long an answer is kept at most, whatever the poll says.
        package var lifetime: Duration = .seconds(300)
        /// Tenants remembered; past it the memory starts anew.
        package var capacity = 10_000

        package init() {}
    }

    private struct Entry {
        let regions: [Region]
        /// When it must be looked up again.
        var forgetAt: MonotonicInstant
        /// Of the tenant's set, as a poll last said: a change is told by many polls, and is one.
        var version: Int64?
        /// By name, of those that were asked for.
        var targets: [String: Opened] = [:]
    }

    private struct Opened {
        let region: Region
        let target: CreationTarget
    }

    package nonisolated let loop: EventLoop
    private let settings: Settings
    private let pipeline: Pipeline
    private let budget: CreationBudget
    private let lookups: Batcher<Tenant.ID, [Region]>
    private var known: [Tenant.ID: Entry] = [:]
    /// When changes were last asked for with success.
    private var polledAt = MonotonicInstant.now
    /// Rises with each forgetting: an answer that was on its way meanwhile is not remembered.
    private var generation = 0
    /// Tenants looked up since the start.
    package private(set) var lookupCount = 0

    /// - Parameter budget: is told of throttled accounts.
    package init(
        on loop: EventLoop, pipeline: Pipeline, budget: CreationBudget,
        settings: Settings = Settings()
    ) {
        self.loop = loop
        self.settings = settings
        self.pipeline = pipeline
        self.budget = budget
        lookups = Batcher(on: loop) { tenants in
            do throws(PostgresError) {
                let regions = try await Regions.read(tenants, pipeline)
                return tenants.map { .success(regions[$0] ?? []) }
            } catch {
                return tenants.map { _ in .failure(error) }
            }
        }
    }

    /// A tenant's regions, the first to be asked first; those that are not enabled, too.
    ///
    /// Throws `.postgres` when they are not known and cannot be looked up.
    package func regions(of tenant: Tenant.ID) async throws(ControlPlaneError) -> [Region] {
        let entry = known[tenant]
        if let entry, entry.forgetAt > .now { return entry.regions }
        let before = generation
        lookupCount += 1
        let found: [Region]
        do throws(PostgresError) {
            found = try await lookups(tenant)
        } catch {
            if let entry { return entry.regions }
            throw .postgres(error)
        }
        if known.count >= settings.capacity { known.removeAll() }
        if before == generation {
            known[tenant] = Entry(
                regions: found, forgetAt: .now.advanced(by: settings.lifetime),
                version: known[tenant]?.version)
        }
        return found
    }

    /// A region as creations need it, with its key opened: 60 µs that not each of them pays (perf, 240 a second).
    func target(
        _ region: Region, _ open: (Region) throws(ControlPlaneError) -> CreationTarget
    ) throws(ControlPlaneError) -> CreationTarget {
        let opened = known[region.tenant]?.targets[region.name]
        if let opened, opened.region == region { return opened.target }
        let target = try open(region)
        known[region.tenant]?.targets[region.name] = Opened(
            region: region, target: target)
        return target
    }

    /// Has a tenant's regions looked up again: they were changed here.
    package func forget(_ tenant: Tenant.ID) {
        generation += 1
        known[tenant]?.forgetAt = .now
    }

    /// Forgets what changed, until cancelled.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask(executorPreference: loop) { await self.lookups.run() }
            while !Task.isCancelled {
                do throws(IOError) { try await loop.sleep(for: settings.pollInterval) } catch {
                    break
                }
                await poll()
            }
            group.cancelAll()
        }
    }

    /// Has what changed looked up again; all, if the last poll was longer ago than what is asked for.
    private func poll() async {
        let began = MonotonicInstant.now
        if known.isEmpty {
            polledAt = began
            return
        }
        let span = settings.changeSpan
        guard
            let rows = try? await pipeline.execute(
                .regionsChanged, [.int8(span.milliseconds)])
        else { return }
        let hasMissed = polledAt.duration(to: began) > span
        polledAt = began
        var changed: [Tenant.ID] = hasMissed ? Array(known.keys) : []
        for row in rows {
            if let uuid = try? row.uuidIfPresent("tenant_id"),
                let version = try? row.int64("version")
            {
                let tenant = Tenant.ID(uuid)
                guard let entry = known[tenant], entry.version != version else { continue }
                known[tenant]?.version = version
                changed.append(tenant)
            } else if let account = try? row.text("account"),
                let wait = try? row.int64("blocked_ms")
            {
                await budget.hold(account, for: .milliseconds(wait))
            }
        }
        if changed.isEmpty { return }
        generation += 1
        for tenant in changed { known[tenant]?.forgetAt = began }
    }
}

extension Statement {
    fileprivate static let regionsChanged = Statement(
        "regions_changed", "SELECT * FROM bw_regions_changed($1 * interval '1 millisecond')")
}
