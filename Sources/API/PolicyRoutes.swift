internal import ControlPlane
internal import HTTP
internal import JSON
internal import Postgres

/// Limits as data.
struct PolicyRoutes {
    let endpoint: Endpoint

    var all: [Route] { policies + overrides }

    private var policies: [Route] {
        let (policies, settings) = (
            Policies(endpoint.services.pipeline), endpoint.services.settings
        )
        return [
            endpoint.route(.get, "/v1/policies", "listPolicies", [.read, .record, .admin]) {
                call throws(Failure) in
                let (limit, after) = try Cursor.page(
                    try call.query("limit", "cursor"), of: "policies", settings)
                let page = try await domain { () throws(ControlPlaneError) in
                    try await policies.list(of: call.caller.tenant, after: after, limit: limit + 1)
                }
                return list("policies", page, limit, last: \.operation, write)
            },
            endpoint.route(
                .get, "/v1/policies/{operation}", "getPolicy", [.read, .record, .admin]
            ) { call throws(Failure) in
                let operation = try call.policyOperation()
                _ = try call.query()
                return shown(
                    try await domain { () throws(ControlPlaneError) in
                        try await policies.policy(for: operation, of: call.caller.tenant)
                    })
            },
            endpoint.route(.put, "/v1/policies/{operation}", "putPolicy", .admin) {
                call throws(Failure) in
                let operation = try call.policyOperation()
                let input = try call.body(PolicyInput.self)
                let precondition = try call.precondition()
                let (policy, isNew) = try await domain { () throws(ControlPlaneError) in
                    try await policies.put(
                        operation, limits: input.limits, admitsOnOutage: input.admitsOnOutage,
                        of: call.caller.tenant, if: precondition, by: call.actor)
                }
                return shown(policy, isNew ? .created : .ok)
            },
            endpoint.route(.delete, "/v1/policies/{operation}", "deletePolicy", .admin) {
                call throws(Failure) in
                let operation = try call.policyOperation()
                _ = try call.query()
                let precondition = try call.precondition()
                try await domain { () throws(ControlPlaneError) in
                    try await policies.delete(
                        operation, of: call.caller.tenant, if: precondition, by: call.actor)
                }
                return Response(.noContent)
            },
        ]
    }

    private var overrides: [Route] {
        let policies = Policies(endpoint.services.pipeline)
        return [
            endpoint.route(
                .put, "/v1/policies/{operation}/override", "putPolicyOverride", .admin
            ) { call throws(Failure) in
                let operation = try call.policyOperation()
                let input = try call.body(OverrideInput.self)
                let precondition = try call.precondition()
                let override = Policy.Override(
                    limits: input.limits, expiresAt: input.expiresAt, reason: input.reason,
                    author: call.actor.name)
                return shown(
                    try await domain { () throws(ControlPlaneError) in
                        try await policies.override(
                            operation, with: override, of: call.caller.tenant, if: precondition,
                            by: call.actor)
                    })
            },
            endpoint.route(
                .delete, "/v1/policies/{operation}/override", "deletePolicyOverride", .admin
            ) { call throws(Failure) in
                let operation = try call.policyOperation()
                _ = try call.query()
                try await domain { () throws(ControlPlaneError) in
                    try await policies.endOverride(
                        operation, of: call.caller.tenant, by: call.actor)
                }
                return Response(.noContent)
            },
        ]
    }
}

// MARK: Input

extension Call {
    /// The policy that the path names: an operation, or `*` for all of them together.
    fileprivate func policyOperation() throws(Failure) -> String {
        let name = request.parameter("operation") ?? ""
        guard name == "*" || operationName(name) else { throw .domain(.notFound("policy")) }
        return name
    }
}

private struct PolicyInput: JSONReadable {
    let limits: [Limit]
    let admitsOnOutage: Bool

    init(from reader: inout JSONReader) throws(JSONError) {
        var limits: [Limit]?
        var admitsOnOutage = false
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "limits": limits = try reader.readLimits()
            case "onOutage":
                let text = try reader.readString(maxBytes: 16)
                guard text == "allow" || text == "deny" else {
                    throw reader.failure(.range, "must be allow or deny")
                }
                admitsOnOutage = text == "allow"
            default: throw reader.unknownField(key)
            }
        }
        self.limits = try reader.require(limits, "limits")
        self.admitsOnOutage = admitsOnOutage
    }
}

private struct OverrideInput: JSONReadable {
    let limits: [Limit]
    let expiresAt: Timestamp
    let reason: String?

    init(from reader: inout JSONReader) throws(JSONError) {
        var limits: [Limit]?
        var expiresAt: Timestamp?
        var reason: String?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "limits": limits = try reader.readLimits()
            case "expiresAt": expiresAt = try reader.readFuture()
            case "reason": if try !reader.readNull() { reason = try reader.readLabel(0...500) }
            default: throw reader.unknownField(key)
            }
        }
        self.limits = try reader.require(limits, "limits")
        self.expiresAt = try reader.require(expiresAt, "expiresAt")
        self.reason = reason
    }
}

// MARK: Answers

private func shown(_ policy: Policy, _ status: Status = .ok) -> Response {
    var writer = JSONWriter()
    write(policy, &writer)
    var response = Response.json(writer.bytes, status: status)
    response.fields.append(Field(.eTag, "\"\(policy.version)\""))
    if status == .created {
        response.fields.append(Field(.location, "/v1/policies/\(policy.operation)"))
    }
    return response
}

private func write(_ policy: Policy, _ writer: inout JSONWriter) {
    writer.object {
        $0.member("operation", policy.operation)
        $0.member("version", policy.version)
        $0.array("limits") { writer in for limit in policy.limits { writer.value(limit) } }
        $0.member("onOutage", policy.admitsOnOutage ? "allow" : "deny")
        if let override = policy.override {
            $0.object("override") {
                $0.array("limits") { writer in for limit in override.limits { writer.value(limit) }
                }
                $0.member("expiresAt", override.expiresAt.description)
                $0.member("reason", orNull: override.reason)
                $0.member("author", override.author)
            }
        } else {
            $0.startMember("override")
            $0.null()
        }
        $0.member("updatedAt", policy.updatedAt.description)
        $0.member("updatedBy", policy.updatedBy)
    }
}
