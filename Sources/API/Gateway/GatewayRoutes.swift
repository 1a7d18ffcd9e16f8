internal import ControlPlane
package import HTTP
internal import IO
internal import JSON
internal import Outbound
internal import Postgres

/// What stock E2B SDKs call, under `/e2b` (as `E2B_API_URL`) and at the root (as `api.<domain>`).
///
/// Sandboxes are made by the same engine as through `/v1`, and are the tenant's own; other paths of the
/// control plane go to the provider with its key. The data plane never comes through here: the answer's
/// `domain` sends the SDK there.
package func gatewayRoutes(_ services: Services) -> [Route] {
    let gateway = Gateway(services: services)
    func route(
        _ method: Method, _ pattern: RoutePattern, _ name: String, watchesClient: Bool = false
    ) -> Route {
        Route(
            method, pattern, name + method.description,
            maxBodyBytes: services.settings.maxGatewayBodyBytes, watchesClient: watchesClient
        ) { request in await gateway.answer(request) }
    }
    // What is made for a caller that has left is killed; other calls are carried through.
    let creations: [(RoutePattern, String)] = [
        ("/e2b/sandboxes", "gatewayCreateE2B"), ("/e2b/v2/sandboxes", "gatewayCreateE2BV2"),
        ("/v2/sandboxes", "gatewayCreateV2"),
    ]
    let patterns: [(RoutePattern, String)] = [
        ("/e2b/{path...}", "gateway"), ("/sandboxes", "gatewaySandboxes"),
        ("/sandboxes/{path...}", "gatewaySandbox"), ("/v2/{path...}", "gatewayV2"),
        ("/v3/{path...}", "gatewayV3"), ("/templates", "gatewayTemplates"),
        ("/templates/{path...}", "gatewayTemplate"), ("/snapshots", "gatewaySnapshots"),
    ]
    let methods = [Method.get, .post, .put, .patch, .delete]
    return (patterns + creations).flatMap { pattern, name in
        methods.map { method in
            let isCreation =
                method == .post && (name == "gatewaySandboxes" || name.hasPrefix("gatewayCreate"))
            return route(method, pattern, name, watchesClient: isCreation)
        }
    }
}

/// Takes a call apart and sends it where it belongs.
struct Gateway: Sendable {
    let services: Services
    var sandboxes: Sandboxes { services.sandboxes }

    func answer(_ request: Request) async -> Response {
        do throws(GatewayError) {
            let call = try await call(request)
            return try await dispatch(call)
        } catch {
            if let cause = error.cause {
                services.tell(.requestFailed("gateway", request, services, cause: cause))
            }
            return error.response
        }
    }

    private func call(_ request: Request) async throws(GatewayError) -> GatewayCall {
        do throws(Failure) {
            let caller = try await authenticate(request, .sandbox, services)
            return GatewayCall(
                Call(
                    request: request, caller: caller, proxies: services.settings.trustedProxies))
        } catch {
            throw GatewayError(error, services)
        }
    }

    private func dispatch(_ call: GatewayCall) async throws(GatewayError) -> Response {
        let limit = services.settings.maxInFlightPerTenant
        guard call.caller.load.enter(limit: limit) else {
            throw GatewayError(.tooManyInFlight(limit))
        }
        defer { call.caller.load.leave() }
        let path = call.path
        switch (call.method, path.count) {
        case (.post, 1) where path == ["sandboxes"]: return try await create(call, isOld: true)
        case (.post, 2) where path == ["v2", "sandboxes"]:
            return try await create(call, isOld: false)
        case (.get, 2) where path == ["v2", "sandboxes"]: return try await list(call)
        case (.get, 1) where path == ["sandboxes"]: return try await list(call)
        default: break
        }
        // Of one sandbox, in either version.
        let rest = path.first == "v2" ? Array(path.dropFirst()) : path
        // Of the account's, whose other tenants' they would show.
        if ["events", "teams"].contains(rest.first ?? "") {
            throw GatewayError(501, "Breakwater does not carry this call")
        }
        guard rest.first == "sandboxes", rest.count >= 2 else { return try await passed(call) }
        if rest[1] == "metrics" || rest.last == "fork" {
            throw GatewayError(501, "Breakwater does not carry this call")
        }
        let row = try await sandbox(rest[1], of: call)
        switch (call.method, rest.dropFirst(2).first) {
        case (.delete, nil): return try await kill(row, call)
        case (.post, "timeout"): return try await setTimeout(row, call)
        case (.post, "connect"), (.post, "resume"): return try await connect(row, call)
        case (.post, "pause"): return try await pause(row, call)
        case (.post, "refreshes"): return try await refresh(row, call)
        default: return try await passed(call, to: row)
        }
    }

    /// The tenant's sandbox that the provider's id names.
    private func sandbox(
        _ id: String, of call: GatewayCall
    ) async throws(GatewayError) -> Sandbox {
        // As it is, then as old SDKs have it.
        for name in [id, ProviderSandbox.bare(id)] {
            guard let name else { break }
            do throws(ControlPlaneError) {
                return try await sandboxes.store.sandbox(
                    providerID: name, of: call.caller.tenant)
            } catch {
                if case .notFound = error { continue }
                throw GatewayError(.domain(error), services)
            }
        }
        throw .noSandbox(id)
    }

    func domain<Value>(
        _ body: () async throws(ControlPlaneError) -> Value
    ) async throws(GatewayError) -> Value {
        do throws(ControlPlaneError) { return try await body() } catch {
            throw GatewayError(.domain(error), services)
        }
    }
}

/// A call of an SDK.
struct GatewayCall: Sendable {
    let call: Call
    /// Segments of the path behind `/e2b`.
    let path: [String]

    var caller: Caller { call.caller }
    var request: Request { call.request }
    var method: Method { call.request.method }

    init(_ call: Call) {
        self.call = call
        let segments = call.request.path.split(separator: "/").map(String.init)
        path = segments.first == "e2b" ? Array(segments.dropFirst()) : segments
    }

    /// Path and query as they came, without `/e2b`.
    var target: String {
        let target = call.request.target
        return target.hasPrefix("/e2b/") ? String(target.dropFirst(4)) : target
    }

    /// The body as a JSON object.
    func object() throws(GatewayError) -> JSONValue {
        if request.body.isEmpty { return .object([]) }
        guard let value = JSONValue(bytes: request.body), case .object = value else {
            throw GatewayError(400, "the body is no JSON object")
        }
        return value
    }
}
