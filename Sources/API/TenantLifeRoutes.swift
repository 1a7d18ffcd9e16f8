internal import ControlPlane
internal import HTTP
internal import JSON

/// What ends a tenant, or stops it for a while: for operators.
struct TenantLifeRoutes {
    let endpoint: Endpoint

    var all: [Route] { suspension + [deletion] }

    private var suspension: [Route] {
        let directory = endpoint.services.directory
        return [
            endpoint.route(
                .post, "/v1/admin/tenants/{tenantId}/suspend", "suspendTenant", .operator
            ) { call throws(Failure) in
                let id = try call.tenant()
                let input = try call.bodyIfPresent(SuspendInput.self)
                let tenant = try await domain { () throws(ControlPlaneError) in
                    try await directory.suspend(id, reason: input.reason, by: call.actor)
                }
                return answer(tenant)
            },
            endpoint.route(
                .post, "/v1/admin/tenants/{tenantId}/resume", "resumeTenant", .operator
            ) { call throws(Failure) in
                let id = try call.tenant()
                _ = try call.bodyIfPresent(NoInput.self)
                let tenant = try await domain { () throws(ControlPlaneError) in
                    try await directory.resume(id, by: call.actor)
                }
                return answer(tenant)
            },
        ]
    }

    private var deletion: Route {
        let directory = endpoint.services.directory
        return endpoint.route(
            .delete, "/v1/admin/tenants/{tenantId}", "deleteTenant", .operator
        ) { call throws(Failure) in
            let id = try call.tenant()
            guard let name = try call.query("confirm")["confirm"] else {
                throw .problem(.invalid("confirm", "must be there: the tenant's name"))
            }
            let tenant = try await domain { () throws(ControlPlaneError) in
                try await directory.delete(id, confirm: name, by: call.actor)
            }
            return answer(tenant, status: .accepted)
        }
    }
}

private func answer(_ tenant: Tenant, status: Status = .ok) -> Response {
    var writer = JSONWriter()
    write(tenant, &writer)
    return .json(writer.bytes, status: status)
}

private struct SuspendInput: JSONReadable {
    let reason: String?

    init(from reader: inout JSONReader) throws(JSONError) {
        var reason: String?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "reason": if try !reader.readNull() { reason = try reader.readLabel(0...500) }
            default: throw reader.unknownField(key)
            }
        }
        self.reason = reason
    }
}
