internal import IO
package import Postgres

/// A breaker as people see it.
package struct BreakerView: Hashable, Sendable, Comparable {
    package let key: BreakerKey
    package let machine: BreakerMachine
    /// Until a call may go through; zero while closed.
    package let retryAfter: Duration

    init(_ key: BreakerKey, _ snapshot: BreakerSnapshot?, _ policy: BreakerPolicy) {
        self.key = key
        machine = snapshot?.machine ?? BreakerMachine()
        let time = snapshot?.now() ?? .now
        switch machine.admission(at: time, policy, random: 0) {
        case .refused(let wait): retryAfter = wait
        case .admitted, .due: retryAfter = .zero
        }
    }

    /// An act's answer: what is in force now.
    package init(_ key: BreakerKey, _ snapshot: BreakerSnapshot, under policy: BreakerPolicy) {
        self.init(key, snapshot, policy)
    }

    private var rank: Int {
        switch machine.effectiveState {
        case .open: 0
        case .halfOpen: 1
        case .closed: 2
        }
    }

    /// The worst is the least: open before half open before closed, then the more failures.
    package static func < (left: BreakerView, right: BreakerView) -> Bool {
        (left.rank, -left.machine.failureCount, left.key.id)
            < (right.rank, -right.machine.failureCount, right.key.id)
    }
}

/// A move of a breaker, as its history holds it.
package struct BreakerEvent: Hashable, Sendable {
    package let generation: Int64
    package let at: Timestamp
    package let from: String
    package let to: String
    package let cause: String
    package let failureCount: Int64
    package let openUntil: Timestamp?
    package let instance: String
    package let actor: String?
    package let reason: String?

    init(_ row: Row) throws(PostgresError) {
        generation = try row.int64("generation")
        at = try row.timestamp("at")
        from = try row.text("from_state")
        to = try row.text("to_state")
        cause = try row.text("cause")
        failureCount = try row.int64("failures")
        openUntil = try row.timestampIfPresent("open_until")
        instance = try row.text("instance")
        actor = try row.textIfPresent("actor")
        reason = try row.textIfPresent("reason")
    }
}

extension BreakerStore {
    /// Breakers of one tenant; it has two for each region.
    func list(
        of tenant: Tenant.ID
    ) async throws(PostgresError) -> [(key: BreakerKey, snapshot: BreakerSnapshot)] {
        try snapshots(
            await pipeline.transaction(
                tenant: tenant.uuid, [(.breakerList, [.uuid(tenant.uuid)])]))
    }

    func history(
        of key: BreakerKey, before generation: Int64?, limit: Int
    ) async throws(PostgresError) -> [BreakerEvent] {
        let parameters: [Parameter] = [
            .uuid(key.tenant.uuid), .text(key.id), .int8(generation), .int8(Int64(limit)),
        ]
        let rows = try await pipeline.transaction(
            tenant: key.tenant.uuid, [(.breakerHistory, parameters)])
        var events: [BreakerEvent] = []
        guard let rows = rows.first else { return events }
        for row in rows { events.append(try BreakerEvent(row)) }
        return events
    }
}

extension Statement {
    fileprivate static let breakerList = Statement(
        "breaker_list",
        """
        SELECT tenant_id, id, version, machine::text, clock_timestamp() FROM breaker
        WHERE  tenant_id = $1 ORDER BY id
        """)
    fileprivate static let breakerHistory = Statement(
        "breaker_history",
        """
        SELECT generation, at, from_state, to_state, cause, failures, open_until, instance, actor, reason
        FROM   breaker_event
        WHERE  tenant_id = $1 AND breaker = $2 AND ($3::bigint IS NULL OR generation < $3)
        ORDER  BY generation DESC LIMIT $4
        """)
}
