internal import ControlPlane
internal import HTTP
internal import JSON
internal import Postgres

/// The operators' switch of all killing at providers.
struct KillingRoutes {
    let endpoint: Endpoint

    var all: [Route] {
        let killing = KillSwitch(endpoint.services.pipeline)
        return [
            endpoint.route(.get, "/v1/admin/killing", "getKilling", .operator) {
                call throws(Failure) in
                _ = try call.query()
                return shown(
                    try await domain { () throws(ControlPlaneError) in try await killing.state() })
            },
            endpoint.route(.put, "/v1/admin/killing", "setKilling", .operator) {
                call throws(Failure) in
                let input = try call.body(KillingInput.self)
                return shown(
                    try await domain { () throws(ControlPlaneError) in
                        try await killing.set(
                            isOn: input.isEnabled, reason: input.reason, by: call.actor)
                    })
            },
        ]
    }
}

private struct KillingInput: JSONReadable {
    let isEnabled: Bool
    let reason: String?

    init(from reader: inout JSONReader) throws(JSONError) {
        var isEnabled: Bool?
        var reason: String?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "enabled": isEnabled = try reader.readBool()
            case "reason": if try !reader.readNull() { reason = try reader.readLabel(0...500) }
            default: throw reader.unknownField(key)
            }
        }
        self.isEnabled = try reader.require(isEnabled, "enabled")
        self.reason = reason
    }
}

private func shown(_ state: KillSwitch.State) -> Response {
    .json(
        encoded { json in
            json.member("enabled", state.isOn)
            json.member("reason", orNull: state.reason)
            json.member("changedAt", state.changedAt.description)
            json.member("changedBy", state.changedBy)
        })
}
