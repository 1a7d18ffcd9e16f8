internal import ControlPlane
internal import HTTP
internal import JSON
internal import Postgres

/// Circuit breakers: state, history, and what an administrator may do to them. With an operator's key
/// they are those over all tenants.
struct BreakerRoutes {
    let endpoint: Endpoint

    var all: [Route] { reads + acts }

    private var reads: [Route] {
        let services = endpoint.services
        let breakers = services.breakers
        let scopes: Scopes = [.read, .record, .sandbox, .admin, .operator]
        return [
            endpoint.route(.get, "/v1/breakers", "listBreakers", scopes) { call throws(Failure) in
                let query = try call.query("name", "state")
                let state = try Self.state(query["state"])
                let name = try Self.name(query["name"])
                var views = try await domain { () throws(ControlPlaneError) in
                    try await breakers.list(of: call.caller.tenant)
                }
                if let name {
                    views = views.filter { $0.key.provider == name }
                    if views.isEmpty {
                        let key = BreakerKey(
                            call.caller.tenant, provider: name, region: "default", .create)
                        views = [
                            try await domain { () throws(ControlPlaneError) in
                                try await breakers.view(of: key)
                            }
                        ]
                    }
                }
                if let state { views = views.filter { $0.machine.effectiveState == state } }
                return listed(views, named: name, await parents(of: views))
            },
            endpoint.route(.get, "/v1/breakers/{breakerId}", "getBreaker", scopes) {
                call throws(Failure) in
                let key = try call.breaker()
                _ = try call.query()
                let view = try await domain { () throws(ControlPlaneError) in
                    try await breakers.view(of: key)
                }
                return shown(view, await parents(of: [view]))
            },
            endpoint.route(
                .get, "/v1/breakers/{breakerId}/events", "listBreakerEvents", scopes
            ) { call throws(Failure) in
                let key = try call.breaker()
                let (limit, before) = try Cursor.page(
                    try call.query("limit", "cursor"), of: "breakerEvents", services.settings)
                let page = try await domain { () throws(ControlPlaneError) in
                    try await breakers.history(
                        of: key, before: before.flatMap { Int64($0) }, limit: limit + 1)
                }
                return list("breakerEvents", page, limit, last: { "\($0.generation)" }, write)
            },
        ]
    }

    private var acts: [Route] {
        [
            act("/v1/breakers/{breakerId}/reset", "resetBreaker", ["reason"]) { _ in .reset },
            act(
                "/v1/breakers/{breakerId}/force-open", "forceBreakerOpen", ["reason", "expiresAt"]
            ) { .lay(.forcedOpen, until: $0.until) },
            act(
                "/v1/breakers/{breakerId}/disable", "disableBreaker",
                ["reason", "expiresAt", "metricsOnly"]
            ) { .lay($0.isMetricsOnly ? .metricsOnly : .disabled, until: $0.until) },
            act("/v1/breakers/{breakerId}/enable", "enableBreaker", ["reason"]) { _ in .enable },
        ]
    }

    /// - Parameter members: what the body of this act may hold.
    private func act(
        _ pattern: RoutePattern, _ operationID: String, _ members: Set<String>,
        _ input: @escaping @Sendable (BreakerActInput) -> BreakerInput
    ) -> Route {
        let breakers = endpoint.services.breakers
        return endpoint.route(
            .post, pattern, operationID, [.admin, .operator]
        ) { call throws(Failure) in
            let key = try call.breaker()
            let body = try call.bodyIfPresent(BreakerActInput.self)
            try body.check(members)
            let view = try await domain { () throws(ControlPlaneError) in
                let snapshot = try await breakers.act(
                    key, input(body), by: call.actor, reason: body.reason)
                return BreakerView(key, snapshot, under: await breakers.policy(of: key))
            }
            return shown(view, await parents(of: [view]))
        }
    }

    /// The breakers over all tenants that refuse what a tenant's own let pass, by the tenant's.
    private func parents(of views: [BreakerView]) async -> [BreakerKey: BreakerView] {
        let breakers = endpoint.services.breakers
        var parents: [BreakerKey: BreakerView] = [:]
        for view in views where !view.key.isParent {
            let key = view.key.parent
            guard let snapshot = await breakers.snapshot(of: key),
                snapshot.machine.effectiveState != .closed
            else { continue }
            parents[view.key] = BreakerView(key, snapshot, under: await breakers.policy(of: key))
        }
        return parents
    }

    private static func state(_ text: String?) throws(Failure) -> BreakerMachine.State? {
        guard let text else { return nil }
        guard let state = BreakerMachine.State(rawValue: text) else {
            throw .problem(.invalid("state", "must be CLOSED, OPEN or HALF_OPEN"))
        }
        return state
    }

    /// A provider's name in any case, as `E2B`.
    private static func name(_ text: String?) throws(Failure) -> String? {
        guard let text else { return nil }
        let name = text.lowercased()
        guard BreakerKey.isName(name) else {
            throw .problem(.invalid("name", "must be 1 to 40 of a-z, A-Z, 0-9, '_', '.', '-'"))
        }
        return name
    }
}

extension Call {
    /// The caller's breaker that the path names; there is one whether or not it has a row.
    fileprivate func breaker() throws(Failure) -> BreakerKey {
        guard let key = BreakerKey(caller.tenant, id: request.parameter("breakerId") ?? "") else {
            throw .domain(.notFound("breaker; an id is provider:region:create or :manage"))
        }
        return key
    }
}

/// Why, and for how long.
struct BreakerActInput: JSONReadable, Sendable {
    let reason: String?
    let until: Timestamp?
    let isMetricsOnly: Bool
    private let names: [String]

    init(from reader: inout JSONReader) throws(JSONError) {
        var (reason, until, isMetricsOnly) = (String?.none, Timestamp?.none, false)
        var names: [String] = []
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "reason": if try !reader.readNull() { reason = try reader.readLabel(0...500) }
            case "expiresAt": if try !reader.readNull() { until = try reader.readFuture() }
            case "metricsOnly": isMetricsOnly = try reader.readBool()
            default: throw reader.unknownField(key)
            }
            names.append(key.string)
        }
        (self.reason, self.until, self.isMetricsOnly) = (reason, until, isMetricsOnly)
        self.names = names
    }

    /// Each act has members of its own.
    fileprivate func check(_ known: Set<String>) throws(Failure) {
        guard let wrong = names.first(where: { !known.contains($0) }) else { return }
        throw .problem(.invalid("/\(wrong)", "is no member of this call"))
    }
}

// MARK: Answers

private func shown(_ view: BreakerView, _ parents: [BreakerKey: BreakerView]) -> Response {
    var writer = JSONWriter()
    writer.object { write(view, parents[view.key], &$0) }
    return .json(writer.bytes)
}

/// With a name, the worst of that name stands at the top as well.
private func listed(
    _ views: [BreakerView], named name: String?, _ parents: [BreakerKey: BreakerView]
) -> Response {
    var writer = JSONWriter(capacity: 1024)
    writer.object {
        if name != nil, let worst = views.first { write(worst, parents[worst.key], &$0) }
        $0.array("items") { writer in
            for view in views { writer.object { write(view, parents[view.key], &$0) } }
        }
    }
    return .json(writer.bytes)
}

private func write(_ view: BreakerView, _ parent: BreakerView?, _ writer: inout JSONWriter) {
    let (key, machine) = (view.key, view.machine)
    writer.member("id", key.id)
    writer.member("name", key.name)
    writer.member("region", key.region)
    writer.member("operationClass", key.operationClass.rawValue)
    writer.member("state", machine.effectiveState.rawValue)
    writer.member("failureCount", machine.failureCount)
    writer.member(
        "retryAfterSeconds", view.retryAfter == .zero ? 0 : view.retryAfter.wholeSecondsUp)
    writer.member("override", orNull: machine.override?.rawValue)
    writer.member("overrideExpiresAt", orNull: machine.overrideUntil?.description)
    writer.member("generation", machine.generation)
    writer.member("openings", machine.openings)
    writer.member("openedAt", orNull: machine.openedAt?.description)
    writer.member("openUntil", orNull: machine.openUntil?.description)
    writer.member("unclosedSince", orNull: machine.unclosedSince?.description)
    writer.member("probesOut", machine.leases.count)
    guard let parent else { return }
    writer.object("overAllTenants") {
        $0.member("state", parent.machine.effectiveState.rawValue)
        $0.member(
            "retryAfterSeconds",
            parent.retryAfter == .zero ? 0 : parent.retryAfter.wholeSecondsUp)
    }
}

private func write(_ event: BreakerEvent, _ writer: inout JSONWriter) {
    writer.object {
        $0.member("generation", event.generation)
        $0.member("at", event.at.description)
        $0.member("from", event.from)
        $0.member("to", event.to)
        $0.member("cause", event.cause)
        $0.member("failureCount", event.failureCount)
        $0.member("openUntil", orNull: event.openUntil?.description)
        $0.member("instance", event.instance)
        $0.member("actor", orNull: event.actor)
        $0.member("reason", orNull: event.reason)
    }
}
