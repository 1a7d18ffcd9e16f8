internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// One stream of events to one client: what it missed from the table, then what comes.
///
/// Each event is `id:` and `data:` alone, so that a browser's `onmessage` gets all of them; what the stream
/// says of itself is an `event: end`. A stream that ends by a stop of the service just ends.
struct EventStream: Sendable {
    let filter: EventFilter
    let after: Timestamp?
    let hub: EventHub
    let store: EventStore
    let heartbeat: Duration
    /// Whether the client's key is still good.
    let mayGoOn: @Sendable () async -> Bool

    /// How often that is asked.
    static let keyCheck: Duration = .seconds(1)
    /// What browsers wait before they come back, in milliseconds.
    private static let retryMs = 1_000

    /// Where the table ends: fails where it cannot be asked.
    func start() async throws(ControlPlaneError) -> Timestamp {
        do throws(PostgresError) {
            let head = try await store.head()
            return min(after ?? head, head)
        } catch {
            throw .postgres(error)
        }
    }

    func run(from start: Timestamp, to writer: BodyWriter) async throws {
        try await writer.write("retry: \(Self.retryMs)\nid: \(StoredEvent.id(of: start))\n\n")
        let place = try await replay(from: start, upTo: nil, to: writer)
        let (listener, from, readTo) = try await hub.listen(filter, after: place)
        let outcome: Result<Void, any Error>
        do {
            if let readTo { _ = try await replay(from: from, upTo: readTo, to: writer) }
            outcome = .success(try await follow(listener, to: writer))
        } catch {
            outcome = .failure(error)
        }
        await hub.leave(listener)
        try outcome.get()
    }

    /// Sends what the table has, page by page at the client's pace; answers up to where.
    private func replay(
        from start: Timestamp, upTo last: Timestamp?, to writer: BodyWriter
    ) async throws -> Timestamp {
        var place = start
        while true {
            let page = try await store.following(
                filter, after: place, upTo: last, limit: EventHub.Settings.page)
            try await send(page, to: writer)
            place = page.last?.at ?? place
            guard page.count == EventHub.Settings.page else { return place }
            guard await mayGoOn() else { return place }
        }
    }

    private func follow(_ listener: EventHub.Listener, to writer: BodyWriter) async throws {
        var checkAt = MonotonicInstant.now.advanced(by: Self.keyCheck)
        var beatAt = MonotonicInstant.now.advanced(by: heartbeat)
        while true {
            let delivery = await hub.next(
                for: listener, within: min(Self.keyCheck, heartbeat))
            if delivery.isTooSlow {
                return try await end("too_slow", to: writer)
            }
            if MonotonicInstant.now >= checkAt {
                guard await mayGoOn() else { return try await end("unauthorized", to: writer) }
                checkAt = .now.advanced(by: Self.keyCheck)
            }
            if !delivery.events.isEmpty {
                try await send(delivery.events, to: writer)
            } else if MonotonicInstant.now >= beatAt {
                // The place goes along: who comes back after a long silence need not be read old pages.
                try await writer.write(
                    ": heartbeat\nid: \(StoredEvent.id(of: delivery.place))\n\n")
            } else {
                // Notices that the server drains.
                try await writer.write([])
                continue
            }
            beatAt = .now.advanced(by: heartbeat)
        }
    }

    private func send(_ events: [StoredEvent], to writer: BodyWriter) async throws {
        guard !events.isEmpty else { return }
        var bytes: [UInt8] = []
        for event in events {
            bytes += Array("id: \(event.id)\ndata: ".utf8)
            bytes += event.json
            bytes += Array("\n\n".utf8)
        }
        try await writer.write(bytes)
    }

    /// The last word; without an id, so that the client comes back for what it has not had.
    private func end(_ reason: String, to writer: BodyWriter) async throws {
        try await writer.write("event: end\ndata: {\"reason\":\"\(reason)\"}\n\n")
    }
}
