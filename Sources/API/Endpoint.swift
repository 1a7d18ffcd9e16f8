internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// Makes routes whose handlers get a verified caller and may throw the domain's errors.
struct Endpoint: Sendable {
    let services: Services

    /// A route for callers that have one of `scopes`.
    func route(
        _ method: Method, _ pattern: RoutePattern, _ operationID: String, _ scopes: Scopes,
        maxBodyBytes: Int? = nil, watchesClient: Bool = false,
        _ handler: @escaping @Sendable (Call) async throws(Failure) -> Response
    ) -> Route {
        let services = services
        return Route(
            method, pattern, operationID,
            maxBodyBytes: maxBodyBytes ?? services.settings.maxBodyBytes,
            watchesClient: watchesClient
        ) {
            request throws(Problem) in
            do throws(Failure) {
                let (caller, session) = try await caller(of: request, scopes, services)
                let limit = services.settings.maxInFlightPerTenant
                guard caller.load.enter(limit: limit) else {
                    throw .problem(.tooManyInFlight(limit))
                }
                let call = Call(
                    request: request, caller: caller, proxies: services.settings.trustedProxies,
                    session: session)
                do throws(Failure) {
                    return givingBack(caller.load, after: try await handler(call))
                } catch {
                    caller.load.leave()
                    throw error
                }
            } catch {
                throw services.problem(error, operationID, request)
            }
        }
    }
}

/// A request of a verified caller.
struct Call: Sendable {
    let request: Request
    let caller: Caller
    let proxies: TrustedProxies
    /// That it came with, in place of a key.
    var session: SessionToken?

    var actor: Actor {
        Actor(
            caller.actor, requestID: request.id.description,
            address: proxies.client(of: request))
    }
}

/// Gives the place of a request back now that its answer is made; of a stream, when that is let go.
private func givingBack(_ load: TenantLoad, after response: Response) -> Response {
    guard case .stream(let produce) = response.body else {
        load.leave()
        return response
    }
    let place = Place(load)
    var response = response
    response.body = .stream { writer in
        try await produce(writer)
        withExtendedLifetime(place) {}
    }
    return response
}

/// A place that is given back with the last reference: a stream may never be asked for.
private final class Place: Sendable {
    private let load: TenantLoad
    init(_ load: TenantLoad) { self.load = load }
    deinit { load.leave() }
}

/// What a handler may throw: an answer already, or a domain error to be made one.
enum Failure: Error, Sendable {
    case problem(Problem)
    case domain(ControlPlaneError)
}

extension Services {
    /// The answer to a failure; what is a fault of ours is logged with its cause.
    func problem(
        _ failure: Failure, _ operationID: String, _ request: Request
    ) -> Problem {
        switch failure {
        case .problem(let problem): return problem
        case .domain(let error):
            let problem = Problem(error, retryAfter: settings.storeRetryAfter)
            if problem.status.code == 500 {
                tell(.requestFailed(operationID, request, self, cause: error.cause))
            }
            return problem
        }
    }
}

extension Event {
    static func requestFailed(
        _ operationID: String, _ request: Request, _ services: Services, cause: String
    ) -> Event {
        .requestFailed(
            operation: operationID, requestID: request.id.description,
            traceID: request.trace.traceID,
            address: services.settings.trustedProxies.client(of: request)?.description,
            cause: cause)
    }
}

extension ControlPlaneError {
    /// For the log.
    var cause: String { if case .postgres(let error) = self { error.reason } else { "\(self)" } }
}

/// The caller behind a request's key or session, if it has one of `scopes`; of an operator's that names a
/// tenant, one who may read and administer that.
func caller(
    of request: Request, _ scopes: Scopes, _ services: Services, isUse: Bool = true
) async throws(Failure) -> (Caller, SessionToken?) {
    var caller: Caller
    var session: SessionToken?
    if let key = request.apiKey {
        caller = try await services.caller(of: key, request)
    } else if let token = SessionCookie.token(of: request, isSecure: services.isSecure(request)) {
        session = token
        caller = try await services.sessionCaller(token, request, isUse: isUse)
    } else {
        throw .problem(.noCredentials)
    }
    if caller.isOperator, let tenant = request.header(.actingFor) {
        caller = try await services.acting(for: tenant, caller)
    }
    try services.require(scopes, of: caller)
    return (caller, session)
}

/// The caller behind a request's key, if it has one of `scopes`.
func authenticate(
    _ request: Request, _ scopes: Scopes, _ services: Services
) async throws(Failure) -> Caller {
    guard let key = request.apiKey else { throw .problem(.noCredentials) }
    let caller = try await services.caller(of: key, request)
    try services.require(scopes, of: caller)
    return caller
}

extension Services {
    fileprivate func caller(of key: [UInt8], _ request: Request) async throws(Failure) -> Caller {
        let proxies = settings.trustedProxies
        do throws(ControlPlaneError) {
            return try await keys.caller(for: key) { proxies.client(of: request) }
        } catch {
            throw .domain(error)
        }
    }

    fileprivate func require(_ scopes: Scopes, of caller: Caller) throws(Failure) {
        guard scopes.isDisjoint(with: caller.scopes) else { return }
        let names = scopes.names.joined(separator: " ")
        throw .problem(
            Problem(
                .forbidden,
                detail: "needs a key with scope \(scopes.names.joined(separator: " or "))",
                fields: [
                    Field(
                        .wwwAuthenticate,
                        #"Bearer error="insufficient_scope", scope="\#(names)""#)
                ]))
    }

    /// An operator who looks at one tenant and acts there: with the rights of its administrator, and in its
    /// audit under the operator's own key.
    fileprivate func acting(for text: String, _ caller: Caller) async throws(Failure) -> Caller {
        guard let id = Tenant.ID(text) else {
            throw .problem(.invalid("Breakwater-Tenant", "must be a tenant's id"))
        }
        do throws(ControlPlaneError) {
            _ = try await directory.tenant(id)
        } catch {
            if case .notFound = error {
                throw .problem(.invalid("Breakwater-Tenant", "names no tenant"))
            }
            throw .domain(error)
        }
        return Caller(
            tenant: id, keyID: caller.keyID, scopes: [.read, .admin], expiresAt: caller.expiresAt,
            load: caller.load)
    }
}

extension Request {
    /// The key in `Authorization: Bearer` or `X-API-Key`, whichever is there.
    fileprivate var apiKey: [UInt8]? {
        if let key = header(.xApiKey) { return Array(key.utf8) }
        guard let value = header(.authorization), value.utf8.count > 7,
            value.utf8.prefix(7).elementsEqual("Bearer ".utf8)
                || value.prefix(7).lowercased() == "bearer "
        else { return nil }
        return Array(value.utf8.dropFirst(7))
    }
}

/// Runs a call into the domain.
func domain<Value>(
    _ body: () async throws(ControlPlaneError) -> Value
) async throws(Failure) -> Value {
    do throws(ControlPlaneError) { return try await body() } catch { throw .domain(error) }
}
