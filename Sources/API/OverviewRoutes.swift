internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// How things are now, for dashboards: cheap to ask for each second, and cheaper while nothing changes.
struct OverviewRoutes {
    let endpoint: Endpoint

    var all: [Route] {
        let services = endpoint.services
        return [
            endpoint.route(.get, "/v1/overview", "getOverview", [.read, .admin, .operator]) {
                call throws(Failure) in
                _ = try call.query()
                let overview = try await domain { () throws(ControlPlaneError) in
                    try await services.overviews.overview(of: call.caller.tenant)
                }
                let fields = [
                    Field(.eTag, overview.tag), Field(.cacheControl, "private, no-cache"),
                ]
                if call.request.knows(tag: overview.tag) { return Response(304, fields: fields) }
                return Response(contentType: .json, fields: fields, body: .bytes(overview.body))
            },
            endpoint.route(.get, "/v1/admin/overview", "listTenantOverviews", .operator) {
                call throws(Failure) in
                let (limit, after) = try Cursor.page(
                    try call.query("limit", "cursor"), of: "tenantOverviews", services.settings)
                let lines = try await domain { () throws(ControlPlaneError) in
                    try await services.directory.tenantLines(
                        after: after.flatMap { Tenant.ID($0) }, limit: limit + 1)
                }
                var open: [Tenant.ID: Int] = [:]
                for view in await services.breakers.troubled(of: nil)
                where view.machine.effectiveState != .closed {
                    open[view.key.tenant, default: 0] += 1
                }
                return list("tenantOverviews", lines, limit, last: { $0.tenant.description }) {
                    line, writer in
                    writer.object { write(line, open[line.tenant] ?? 0, to: &$0) }
                }
            },
        ]
    }
}

extension Request {
    /// Whether `If-None-Match` names this tag, RFC 9110 section 13.1.2: compared weakly.
    func knows(tag: String) -> Bool {
        values(.ifNoneMatch).contains { value in
            value == "*"
                || value.split(separator: ",").contains { part in
                    var part = part.drop { $0 == " " || $0 == "\t" }
                    if part.hasPrefix("W/") { part = part.dropFirst(2) }
                    return part.prefix { $0 != " " && $0 != "\t" } == tag
                }
        }
    }
}

private func write(_ line: TenantLine, _ openBreakers: Int, to json: inout JSONWriter) {
    json.member("tenantId", line.tenant.description)
    json.member("name", line.name)
    json.member("suspendedAt", orNull: line.suspendedAt?.description)
    json.member("deletedAt", orNull: line.deletedAt?.description)
    json.member("liveSandboxes", line.live)
    json.member("succeeded", line.succeeded)
    json.member("failed", line.failed)
    json.member("failed5m", line.failedLately)
    json.member("deniedCalls", line.deniedCalls)
    json.member("openBreakers", openBreakers)
    json.member("firingAlerts", line.firingAlerts)
}
