internal import IO
internal import JSON
package import Postgres

/// An event as it is stored.
package struct StoredEvent: Sendable {
    package let tenant: Tenant.ID
    /// When it was stored: its place in the order of all, which no other has.
    package let at: Timestamp
    package let name: String
    let region: String?
    let sandboxID: String?
    let breakerState: String?
    let template: String?
    let operation: String?
    /// An object, its fields flat at the top, behind `id`, `storedAt`, `event` and `tenant`.
    package let json: [UInt8]

    /// What clients know it by: its place, in microseconds since 1970.
    package var id: String { Self.id(of: at) }

    package static func id(of place: Timestamp) -> String { "\(place.microseconds)" }

    /// The place that an id stands for; nil: it is none of ours.
    package static func place(_ id: String) -> Timestamp? {
        guard (1...16).contains(id.utf8.count), id.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let number = Int64(id), number <= 4_102_444_800_000_000  // the year 2100
        else { return nil }
        return Timestamp(microseconds: number)
    }

    init(_ row: Row) throws(PostgresError) {
        tenant = Tenant.ID(try row.uuid("tenant_id"))
        at = try row.timestamp("at")
        name = try row.text("name")
        region = try row.textIfPresent("region")
        sandboxID = try row.textIfPresent("sandbox_id")
        breakerState = try row.textIfPresent("breaker_state")
        template = try row.textIfPresent("template")
        operation = try row.textIfPresent("operation")
        json = Self.json(at, name, tenant, fields: try row.text("fields"))
    }

    /// The fields are an object already: it is opened, not read.
    private static func json(
        _ at: Timestamp, _ name: String, _ tenant: Tenant.ID, fields: String
    ) -> [UInt8] {
        var writer = JSONWriter(capacity: 128)
        writer.object {
            $0.member("id", id(of: at))
            $0.member("storedAt", at.description)
            $0.member("event", name)
            $0.member("tenant", tenant.description)
        }
        let rest = fields.utf8.drop { $0 != UInt8(ascii: "{") }.dropFirst()
        guard rest.contains(UInt8(ascii: "\"")) else { return writer.bytes }
        return writer.bytes.dropLast() + Array(", ".utf8) + Array(rest)
    }
}

/// Which events somebody wants; nil and empty: all.
package struct EventFilter: Hashable, Sendable {
    /// Nil: of all tenants, an operator's.
    package var tenant: Tenant.ID?
    package var names: Set<String> = []
    package var breakerState: BreakerMachine.State?
    package var sandboxID: String?
    package var region: String?
    package var template: String?
    package var operation: String?

    package init(tenant: Tenant.ID?) { self.tenant = tenant }

    func matches(_ event: StoredEvent) -> Bool {
        (tenant == nil || tenant == event.tenant) && (names.isEmpty || names.contains(event.name))
            && (breakerState == nil || breakerState?.rawValue == event.breakerState)
            && (sandboxID == nil || sandboxID == event.sandboxID)
            && (region == nil || region == event.region)
            && (template == nil || template == event.template)
            && (operation == nil || operation == event.operation)
    }
}

/// The table of events.
package struct EventStore: Sendable {
    private let pipeline: Pipeline

    package init(_ pipeline: Pipeline) { self.pipeline = pipeline }

    // MARK: Reading

    /// Those of `filter` that were stored in `from..<to`, before `before`: the newest first.
    package func page(
        _ filter: EventFilter, from: Timestamp?, to: Timestamp?, before: Timestamp?, limit: Int
    ) async throws(ControlPlaneError) -> [StoredEvent] {
        let end = min(to ?? .distantFuture, before ?? .distantFuture)
        return try await select(filter, from ?? .distantPast, end, limit, isNewestFirst: true)
    }

    /// Those of `filter` that were stored after `place`, up to `last`: the oldest first.
    package func following(
        _ filter: EventFilter, after place: Timestamp, upTo last: Timestamp?, limit: Int
    ) async throws(ControlPlaneError) -> [StoredEvent] {
        let next = Timestamp(microseconds: place.microseconds + 1)
        let end = last.map { Timestamp(microseconds: $0.microseconds + 1) } ?? .distantFuture
        return try await select(filter, next, end, limit, isNewestFirst: false)
    }

    private func select(
        _ filter: EventFilter, _ from: Timestamp, _ to: Timestamp, _ limit: Int,
        isNewestFirst: Bool
    ) async throws(ControlPlaneError) -> [StoredEvent] {
        let parameters: [Parameter] = [
            .uuid(filter.tenant?.uuid), .timestamp(from), .timestamp(to),
            .texts(filter.names.sorted()), .text(filter.breakerState?.rawValue),
            .text(filter.sandboxID), .text(filter.region), .text(filter.template),
            .text(filter.operation), .int8(Int64(limit)),
        ]
        let statement = Statement.events(filter, isNewestFirst: isNewestFirst)
        let directory = Directory(pipeline)
        let rows: Rows
        if let tenant = filter.tenant {
            rows = try await directory.run(tenant: tenant, [(statement, parameters)])
        } else {
            rows = try await directory.run([(.enterOperator, []), (statement, parameters)])
        }
        return try decodeAll(rows, StoredEvent.init)
    }

    /// The place of the event that was stored last.
    package func head() async throws(PostgresError) -> Timestamp {
        try await pipeline.execute(.eventHead).only().timestamp(0)
    }

    /// Of all tenants, stored after `place`: the oldest first.
    func after(_ place: Timestamp, limit: Int) async throws(PostgresError) -> [StoredEvent] {
        var events: [StoredEvent] = []
        for row in try await pipeline.execute(
            .eventsAfter, [.timestamp(place), .int4(Int32(clamping: limit))])
        {
            events.append(try StoredEvent(row))
        }
        return events
    }

    // MARK: Writing

    /// Stores a writer's batch, once however often it is sent; answers how many events were new. Makes
    /// the partition of the day if there is none.
    func write(
        _ events: [EventBuffer.Timed], by writer: UUID, batch: Int64
    ) async throws(PostgresError) -> Int {
        do throws(PostgresError) {
            return try await send(events, by: writer, batch: batch)
        } catch .checkViolation(constraint: "") {
            _ = try await pipeline.execute(.eventPartition)
            return try await send(events, by: writer, batch: batch)
        }
    }

    private func send(
        _ events: [EventBuffer.Timed], by writer: UUID, batch: Int64
    ) async throws(PostgresError) -> Int {
        let rows = try await pipeline.execute(
            .eventsWrite,
            [
                .uuid(writer), .int8(batch),
                .uuids(events.map { ($0.event.owner ?? .fleet).uuid }),
                .texts(events.map(\.event.name)),
                .texts(events.map { $0.event.keptFields(at: $0.at) }),
            ])
        return Int(try rows.only().int32(0))
    }
}

extension Statement {
    fileprivate static let eventsWrite = Statement(
        "events_write", "SELECT bw_events_write($1, $2, $3, $4, $5)")
    fileprivate static let eventsAfter = Statement(
        "events_after", "SELECT * FROM bw_events_after($1, $2) ORDER BY at")
    /// Of the next event: its time is ahead of the clock if that was set back.
    fileprivate static let eventPartition = Statement(
        "event_partition",
        """
        SELECT bw_make_partitions('event', greatest(clock_timestamp(), (SELECT at FROM event_clock)), 1)
        """)
    fileprivate static let eventHead = Statement("event_head", "SELECT at FROM event_clock")

    /// What an index is for stands alone, not beside an OR: a plan for any values could not use it. So
    /// there are sixteen of these, each prepared where it is first asked for.
    fileprivate static func events(_ filter: EventFilter, isNewestFirst: Bool) -> Statement {
        let isOwn = filter.tenant != nil
        let (hasNames, hasSandbox) = (!filter.names.isEmpty, filter.sandboxID != nil)
        let name = [
            "events", isNewestFirst ? "newest" : "oldest", isOwn ? "own" : "fleet",
            hasNames ? "named" : "all", hasSandbox ? "sandbox" : "any",
        ].joined(separator: "_")
        return Statement(
            name,
            """
            SELECT tenant_id, at, name, fields::text AS fields, region, sandbox_id, breaker_state,
                   fields ->> 'template' AS template, fields ->> 'operation' AS operation
            FROM   event
            WHERE  \(isOwn ? "tenant_id = $1" : "$1::uuid IS NULL") AND at >= $2 AND at < $3
            AND    \(hasNames ? "name = ANY ($4::text[])" : "cardinality($4::text[]) = 0")
            AND    ($5::text IS NULL OR breaker_state = $5)
            AND    \(hasSandbox ? "sandbox_id = $6::text" : "$6::text IS NULL")
            AND    ($7::text IS NULL OR region = $7)
            AND    ($8::text IS NULL OR fields ->> 'template' = $8)
            AND    ($9::text IS NULL OR fields ->> 'operation' = $9)
            ORDER  BY at \(isNewestFirst ? "DESC" : "ASC") LIMIT $10
            """)
    }
}
