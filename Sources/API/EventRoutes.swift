internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// What happened: as pages, and as a stream that goes on.
struct EventRoutes {
    static let scopes: Scopes = [.read, .admin, .operator]

    let endpoint: Endpoint

    var all: [Route] { [list, stream] }

    private var list: Route {
        let services = endpoint.services
        let store = EventStore(services.pipeline)
        return endpoint.route(.get, "/v1/events", "listEvents", Self.scopes) {
            call throws(Failure) in
            let query = try call.query(
                "event", "circuitBreakerState", "sandboxId", "region", "template", "operation",
                "tenant", "from", "to", "limit", "cursor")
            let filter = try EventFilter(query, of: call.caller)
            let (limit, cursor) = try Cursor.page(query, of: "events", services.settings)
            let before = try cursor.map { text throws(Failure) in
                guard let place = StoredEvent.place(text) else {
                    throw .problem(.invalid("cursor", "is no cursor of this list"))
                }
                return place
            }
            let (from, to) = (try queryTime("from", query), try queryTime("to", query))
            let events = try await domain { () throws(ControlPlaneError) in
                try await store.page(
                    filter, from: from, to: to, before: before, limit: limit + 1)
            }
            return API.list("events", events, limit, last: \.id) { $1.raw($0.json) }
        }
    }

    /// Server-sent events (HTML Living Standard, section 9.2).
    private var stream: Route {
        let services = endpoint.services
        let hub = services.events
        return endpoint.route(.get, "/v1/events/stream", "streamEvents", Self.scopes) {
            call throws(Failure) in
            let query = try call.query(
                "event", "circuitBreakerState", "sandboxId", "region", "template", "operation",
                "tenant")
            let filter = try EventFilter(query, of: call.caller)
            let after = try call.lastEventID()
            let place: ListenerPlaces.Place
            do throws(ListenerPlaces.Full) {
                place = try hub.places.take(for: call.caller.tenant)
            } catch {
                throw .problem(.noPlace(error, hub.places))
            }
            let stream = EventStream(
                filter: filter, after: after, hub: hub, store: EventStore(services.pipeline),
                heartbeat: services.settings.eventHeartbeat
            ) { await mayGoOn(call.request, services) }
            // Where the table cannot be asked, an answer says so better than a stream that ends.
            let start = try await domain { () throws(ControlPlaneError) in
                try await stream.start()
            }
            return Response(
                contentType: .eventStream,
                fields: [
                    Field(.cacheControl, "no-store"),
                    // For nginx, which else would hold it back.
                    Field(FieldName("X-Accel-Buffering"), "no"),
                ],
                body: .stream { writer in
                    try await stream.run(from: start, to: writer)
                    withExtendedLifetime(place) {}
                })
        }
    }
}

/// Whether the key or session that began a stream may still have it. What cannot be asked is not taken away.
private func mayGoOn(_ request: Request, _ services: Services) async -> Bool {
    do throws(Failure) {
        _ = try await caller(of: request, EventRoutes.scopes, services, isUse: false)
        return true
    } catch .domain(.postgres) {
        return true
    } catch {
        return false
    }
}

extension Problem {
    fileprivate static func noPlace(
        _ full: ListenerPlaces.Full, _ places: ListenerPlaces
    ) -> Problem {
        switch full {
        case .tenant:
            Problem(
                .tooManyRequests,
                detail: "the tenant has \(places.perTenant) streams here already",
                retryAfter: .seconds(5))
        case .instance:
            Problem(
                .overloaded, detail: "this instance has \(places.limit) streams already",
                retryAfter: .seconds(5))
        }
    }
}

extension Call {
    /// Where the client was when its last stream ended.
    fileprivate func lastEventID() throws(Failure) -> Timestamp? {
        guard let text = request.header(FieldName("Last-Event-ID")), !text.isEmpty else {
            return nil
        }
        guard let place = StoredEvent.place(text) else {
            throw .problem(.invalid("Last-Event-ID", "must be the id of an event of ours"))
        }
        return place
    }
}

extension EventFilter {
    /// Of the caller's tenant; an operator's is of all, or of the one that it names.
    fileprivate init(_ query: [String: String], of caller: Caller) throws(Failure) {
        var tenant: Tenant.ID? = caller.isOperator ? nil : caller.tenant
        if let text = query["tenant"] {
            guard let id = Tenant.ID(text), caller.isOperator || id == caller.tenant else {
                throw .domain(.notFound("tenant"))
            }
            tenant = id
        }
        self.init(tenant: tenant)
        for name in (query["event"] ?? "").split(separator: ",") {
            guard Event.keptNames.contains(String(name)) else {
                let known = Event.keptNames.sorted().joined(separator: ", ")
                throw .problem(.invalid("event", "must be some of \(known), with commas"))
            }
            names.insert(String(name))
        }
        if query["event"] != nil, names.isEmpty {
            throw .problem(.invalid("event", "names none"))
        }
        if let text = query["circuitBreakerState"] {
            guard let state = BreakerMachine.State(rawValue: text) else {
                throw .problem(
                    .invalid("circuitBreakerState", "must be CLOSED, OPEN or HALF_OPEN"))
            }
            breakerState = state
        }
        sandboxID = try Self.text("sandboxId", query)
        template = try Self.text("template", query)
        region = query["region"]
        if let region, !BreakerKey.isName(region) {
            throw .problem(.invalid("region", "must be 1 to 40 of a-z, 0-9, '_', '.', '-'"))
        }
        operation = query["operation"]
        if let operation, !operationName(operation) {
            throw .problem(.invalid("operation", "must be 1 to 64 of a-z, 0-9, '_', '.', '-'"))
        }
    }

    private static func text(
        _ name: String, _ query: [String: String]
    ) throws(Failure) -> String? {
        guard let text = query[name] else { return nil }
        guard (1...200).contains(text.unicodeScalars.count), !text.contains("\0") else {
            throw .problem(.invalid(name, "must be 1 to 200 characters, none of them U+0000"))
        }
        return text
    }
}
