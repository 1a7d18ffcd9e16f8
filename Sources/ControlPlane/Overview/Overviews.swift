package import IO
internal import JSON
package import Postgres

/// How a tenant, or the fleet, is doing now: what dashboards show first and ask for each second.
package struct Overview: Sendable {
    /// All but the time.
    fileprivate let document: [UInt8]
    /// Of all but the time: while it stays, nothing has changed.
    package let tag: String
    /// The database's time, about, when it was asked for: times in it are told from that.
    fileprivate(set) package var at = Timestamp.distantPast

    /// JSON: the schema `Overview` of the contract.
    package var body: [UInt8] { Array("{\"at\":\"\(at)\",".utf8) + document.dropFirst() }
}

/// Overviews as one loop knows them. Each is read at most once a second however many ask, and more seldom
/// where that is much work, so that watching stays cheap; breakers come from memory and are always current.
package actor Overviews: LoopBound {
    package struct Settings: Hashable, Sendable {
        /// How long an overview counts.
        var lasts: Duration = .milliseconds(800)
        /// And so many times what it took to read it: 5 % of a connection at most.
        var rest = 19
        /// Sandboxes, requests or tries that are counted; with more, it says so and counts the newest.
        var rows = 20_000
        /// Breakers shown, the worst first.
        var breakers = 100
        /// Tenants remembered; past it the memory starts anew.
        var capacity = 1_000

        package init() {}
    }

    private struct Kept {
        /// What the database says, each a JSON value.
        let read: [(name: String, json: String)]
        let readAt: MonotonicInstant
        let goodUntil: MonotonicInstant
        let breakers: [UInt8]
        let revision: Int
        let overview: Overview
    }

    package nonisolated let loop: EventLoop
    private let settings: Settings
    private let pipeline: Pipeline
    private let breakers: Breakers
    private var kept: [Tenant.ID: Kept] = [:]
    private var refreshing: Set<Tenant.ID> = []
    /// Overviews read from the database since the start.
    package private(set) var readCount = 0

    package init(
        on loop: EventLoop, pipeline: Pipeline, breakers: Breakers, settings: Settings = Settings()
    ) {
        self.loop = loop
        self.pipeline = pipeline
        self.breakers = breakers
        self.settings = settings
    }

    /// The overview of a tenant; of the fleet that of all tenants together.
    package func overview(of tenant: Tenant.ID) async throws(ControlPlaneError) -> Overview {
        var overview = try await current(tenant)
        overview.at = await breakers.now
        return overview
    }

    private func current(_ tenant: Tenant.ID) async throws(ControlPlaneError) -> Overview {
        let revision = await breakers.revision
        // While one asks the database, the others get what was true a moment ago.
        if let known = kept[tenant],
            known.goodUntil > .now || refreshing.contains(tenant),
            known.readAt.duration(to: .now) < .seconds(10)
        {
            if known.revision == revision { return known.overview }
            return await keep(known.read, known.readAt, known.goodUntil, tenant)
        }
        refreshing.insert(tenant)
        defer { refreshing.remove(tenant) }
        let began = MonotonicInstant.now
        let read = try await read(tenant)
        let end = MonotonicInstant.now
        let pause = max(settings.lasts, began.duration(to: end) * settings.rest)
        if kept.count >= settings.capacity { kept.removeAll() }
        return await keep(read, began, end.advanced(by: pause), tenant)
    }

    /// Puts it together anew where something is different.
    private func keep(
        _ read: [(name: String, json: String)], _ readAt: MonotonicInstant,
        _ goodUntil: MonotonicInstant, _ tenant: Tenant.ID
    ) async -> Overview {
        let revision = await breakers.revision
        let views = await breakers.troubled(of: tenant == .fleet ? nil : tenant)
        var writer = JSONWriter(capacity: 1024)
        writer.array { writer in
            for view in views.prefix(settings.breakers) { writer.object { write(view, to: &$0) } }
        }
        let breakers = writer.bytes
        let old = kept[tenant]
        let isSame =
            old.map { old in
                old.breakers == breakers && old.read.map(\.json) == read.map(\.json)
            } ?? false
        let overview: Overview
        if isSame, let old {
            overview = old.overview
        } else {
            overview = make(tenant, read, breakers)
        }
        kept[tenant] = Kept(
            read: read, readAt: readAt, goodUntil: goodUntil, breakers: breakers,
            revision: revision, overview: overview)
        return overview
    }

    private func make(
        _ tenant: Tenant.ID, _ read: [(name: String, json: String)], _ breakers: [UInt8]
    ) -> Overview {
        var writer = JSONWriter(capacity: 8192)
        writer.object {
            $0.member("scope", tenant == .fleet ? "fleet" : "tenant")
            $0.member("tenantId", tenant.description)
            for (name, json) in read { $0.member(name, raw: Array(json.utf8)) }
            $0.member("breakers", raw: breakers)
        }
        let tag = sha256Hex(String(decoding: writer.bytes, as: UTF8.self)).prefix(24)
        return Overview(document: writer.bytes, tag: "\"\(tag)\"")
    }

    private func read(
        _ tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> [(name: String, json: String)] {
        readCount += 1
        let limit = Parameter.int8(Int64(settings.rows))
        let isFleet = tenant == .fleet
        var steps: [Pipeline.Step] = isFleet ? [(.enterOperator, [])] : []
        let first = steps.count
        let parts = isFleet ? Statement.fleetOverview : Statement.tenantOverview
        steps += parts.map { ($0.statement, $0.isBounded ? [limit] : []) }
        do throws(PostgresError) {
            let rows = try await pipeline.transaction(tenant: isFleet ? nil : tenant.uuid, steps)
            var read: [(name: String, json: String)] = []
            for (part, rows) in zip(parts, rows.dropFirst(first)) {
                read.append((part.name, try rows.only().text(0)))
            }
            return read
        } catch {
            throw .postgres(error)
        }
    }
}

private func write(_ view: BreakerView, to json: inout JSONWriter) {
    let (key, machine) = (view.key, view.machine)
    json.member("tenantId", key.tenant.description)
    json.member("id", key.id)
    json.member("name", key.name)
    json.member("region", key.region)
    json.member("operationClass", key.operationClass.rawValue)
    json.member("state", machine.effectiveState.rawValue)
    json.member("failureCount", machine.failureCount)
    json.member("override", orNull: machine.override?.rawValue)
    json.member("generation", machine.generation)
    json.member("openedAt", orNull: machine.openedAt?.description)
    json.member("openUntil", orNull: machine.openUntil?.description)
    json.member("unclosedSince", orNull: machine.unclosedSince?.description)
    json.member("probesOut", machine.leases.count)
}
