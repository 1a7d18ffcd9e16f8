internal import ControlPlane
internal import HTTP
internal import JSON

/// What ends a tenant, stops it for a while, or takes it elsewhere.
struct TenantLifeRoutes {
    let endpoint: Endpoint

    var all: [Route] { suspension + [deletion, export] }

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

extension TenantLifeRoutes {
    /// Streams; what goes wrong on the way cuts the connection off, and is logged.
    fileprivate var export: Route {
        let services = endpoint.services
        return endpoint.route(
            .get, "/v1/admin/tenants/{tenantId}/export", "exportTenant", [.operator, .admin]
        ) { call throws(Failure) in
            let id = try call.tenant()
            _ = try call.query()
            let export = try await domain { () throws(ControlPlaneError) in
                try await TenantExport(
                    of: id, pageRows: services.settings.exportPageRows, by: call.actor,
                    services.pipeline)
            }
            return Response(
                contentType: "application/x-ndjson", fields: [Field(.cacheControl, "no-store")],
                body: .stream { writer in
                    var export = export
                    while true {
                        let lines: [UInt8]?
                        do throws(ControlPlaneError) { lines = try await export.next() } catch {
                            _ = services.problem(.domain(error), "exportTenant", call.request)
                            throw error
                        }
                        guard let lines else { return }
                        try await writer.write(lines)
                    }
                })
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
