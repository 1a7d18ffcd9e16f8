internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// A key traded for a cookie, so that a browser need not keep the key.
struct SessionRoutes {
    let endpoint: Endpoint

    private static let anyScope: Scopes = [.record, .sandbox, .read, .admin, .operator]

    var all: [Route] {
        let services = endpoint.services
        return [
            endpoint.route(.post, "/v1/session", "startSession", Self.anyScope) {
                call throws(Failure) in
                _ = try call.bodyIfPresent(NoInput.self)
                try call.requireNoOtherTenant()
                // A session would else begin the next one, and never end.
                guard call.session == nil else {
                    throw .problem(Problem(.forbidden, detail: "a session begins with a key"))
                }
                if call.request.isFromElsewhere {
                    throw .problem(.crossSite("a session begins on this origin's own page"))
                }
                let (token, session) = try await domain { () throws(ControlPlaneError) in
                    try await services.keys.sessions.start(for: call.caller, by: call.actor)
                }
                let lifetime = services.keys.sessions.settings.lifetime.components.seconds
                var response = answer(token, session, call, .created)
                response.fields.append(
                    SessionCookie.set(
                        token, lasts: lifetime, isSecure: services.isSecure(call.request)))
                return response
            },
            endpoint.route(.get, "/v1/session", "getSession", Self.anyScope) {
                call throws(Failure) in
                let token = try call.ownSession()
                let session = try await domain { () throws(ControlPlaneError) in
                    try await services.keys.sessions.session(
                        token, of: call.caller.tenant, from: nil)
                }
                return answer(token, session, call, .ok)
            },
            endpoint.route(.delete, "/v1/session", "endSession", Self.anyScope) {
                call throws(Failure) in
                let token = try call.ownSession()
                try await domain { () throws(ControlPlaneError) in
                    try await services.keys.sessions.end(token, of: call.caller, by: call.actor)
                }
                return Response(
                    .noContent,
                    fields: [
                        Field(.cacheControl, "no-store"),
                        SessionCookie.clear(isSecure: services.isSecure(call.request)),
                    ])
            },
        ]
    }

    private func answer(
        _ token: SessionToken, _ session: BrowserSession, _ call: Call, _ status: Status
    ) -> Response {
        let idle = endpoint.services.keys.sessions.settings.idle
        var response = Response.json(
            encoded { json in
                json.member("tenantId", call.caller.tenant.description)
                json.member("keyId", call.caller.keyID)
                json.member("scopes", call.caller.scopes.names)
                json.member("csrfToken", token.csrf)
                json.member("startedAt", session.startedAt.description)
                json.member("expiresAt", session.expiresAt.description)
                json.member("idleS", idle.components.seconds)
            }, status: status)
        response.fields.append(Field(.cacheControl, "no-store"))
        return response
    }
}

extension Call {
    /// The session that the call came with.
    fileprivate func ownSession() throws(Failure) -> SessionToken {
        _ = try query()
        try requireNoOtherTenant()
        guard let session else { throw .domain(.notFound("session")) }
        return session
    }

    fileprivate func requireNoOtherTenant() throws(Failure) {
        guard request.header(.actingFor) == nil else {
            throw .problem(.invalid("Breakwater-Tenant", "is not for sessions"))
        }
    }
}
