internal import ControlPlane
internal import HTTP
internal import JSON

/// Which key seals what, and sealing it again with the present one.
struct SecretRoutes {
    let endpoint: Endpoint

    var all: [Route] {
        let rotation = SecretRotation(endpoint.services.pipeline, endpoint.services.secrets)
        return [
            endpoint.route(.get, "/v1/admin/secrets", "getSecrets", .operator) {
                call throws(Failure) in
                _ = try call.query()
                let state = try await domain { () throws(ControlPlaneError) in
                    try await rotation.state()
                }
                return .json(encoded { write(state, &$0) })
            },
            endpoint.route(.post, "/v1/admin/secrets/rotate", "rotateSecrets", .operator) {
                call throws(Failure) in
                _ = try call.bodyIfPresent(NoInput.self)
                let (resealed, state) = try await domain { () throws(ControlPlaneError) in
                    (try await rotation.rotate(by: call.actor), try await rotation.state())
                }
                return .json(
                    encoded {
                        $0.member("resealed", resealed)
                        write(state, &$0)
                    })
            },
        ]
    }
}

private func write(_ state: SecretRotation.State, _ writer: inout JSONWriter) {
    writer.member("keyId", orNull: state.keyID)
    writer.member("previousKeyIds", state.previous)
    writer.object("values") {
        for (key, count) in state.values.sorted(by: { $0.key < $1.key }) { $0.member(key, count) }
    }
    writer.member("lost", state.lost)
}
