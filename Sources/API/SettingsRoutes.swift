internal import ControlPlane
internal import HTTP
internal import JSON
internal import Postgres

/// What a tenant sets for itself.
struct SettingsRoutes {
    let endpoint: Endpoint

    var all: [Route] {
        let services = endpoint.services
        let store = TenantSettingsStore(services.pipeline)
        return [
            endpoint.route(.get, "/v1/settings", "getSettings", [.read, .admin]) {
                call throws(Failure) in
                _ = try call.query()
                let state = try await domain { () throws(ControlPlaneError) in
                    try await store.state(of: call.caller.tenant)
                }
                return shown(state, services)
            },
            endpoint.route(.patch, "/v1/settings", "changeSettings", .admin) {
                call throws(Failure) in
                let input = try call.body(SettingsInput.self)
                let precondition = try call.precondition()
                let state = try await domain { () throws(ControlPlaneError) in
                    try await store.change(
                        input.changes, of: call.caller.tenant, if: precondition, by: call.actor)
                }
                return shown(state, services)
            },
        ]
    }
}

/// A merge patch (RFC 7396): what is not named stays, null takes away.
private struct SettingsInput: JSONReadable {
    private(set) var changes: [TenantSettingsStore.Change] = []

    init(from reader: inout JSONReader) throws(JSONError) {
        var changes: [TenantSettingsStore.Change] = []
        try reader.readObject { key, reader throws(JSONError) in
            if key == "defaultMaxPerHour" {
                let limit =
                    try reader.readNull() ? nil : Int64(try reader.readInt(in: Limit.units))
                changes.append(.init(.defaultMaxPerHour(limit)))
                return
            }
            guard let setting = TenantSetting(rawValue: key.string) else {
                throw reader.unknownField(key)
            }
            let value = try reader.readNull() ? nil : try reader.readValue(of: setting)
            changes.append(.init(.sandboxes(setting, value)))
        }
        self.changes = changes
    }
}

extension JSONReader {
    fileprivate mutating func readValue(
        of setting: TenantSetting
    ) throws(JSONError) -> TenantSettings.Value {
        switch setting.form {
        case .number(let range): return .number(try readInt(in: range))
        case .label(let length): return .text(try readLabel(length))
        case .choice(let known):
            let text = try readString(maxBytes: 64)
            guard known.contains(text) else {
                throw failure(.range, "must be one of \(known.joined(separator: ", "))")
            }
            return .text(text)
        }
    }
}

/// What is in force, and what of it the tenant has set itself.
private func shown(_ state: TenantSettingsStore.State, _ services: Services) -> Response {
    let settings = services.sandboxes.settings.standard.with(state.settings)
    let limit = state.defaultMaxPerHour ?? services.ledger.settings.defaultMaxPerHour
    var own = TenantSetting.allCases.filter { state.settings[$0] != nil }.map(\.rawValue)
    if state.defaultMaxPerHour != nil { own.insert("defaultMaxPerHour", at: 0) }
    var response = Response.json(
        encoded { json in
            json.member("defaultMaxPerHour", orNull: limit)
            for setting in TenantSetting.allCases {
                json.member(setting.rawValue, orNull: settings[setting])
            }
            json.member("own", own)
            json.member("version", state.version)
            json.member("updatedAt", orNull: state.updatedAt?.description)
            json.member("updatedBy", orNull: state.updatedBy)
        })
    response.fields.append(Field(.eTag, "\"\(state.version)\""))
    return response
}
