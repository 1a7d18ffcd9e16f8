internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// How long a sandbox lives. The provider is asked first: what its plan does not allow is its caller's to know.
extension Gateway {
    /// The provider's own default for one that is woken without a time.
    private static let wokenLife = Duration.seconds(300)
    /// Beyond the time that a call to the provider has.
    private static let holdMargin = Duration.seconds(15)

    func kill(_ row: Sandbox, _ call: GatewayCall) async throws(GatewayError) -> Response {
        guard !row.state.isEnd else { throw .noSandbox(row.providerID ?? "") }
        _ = try await domain { () throws(ControlPlaneError) in
            try await sandboxes.kill(row.id, of: row.tenant, by: call.caller.actor)
        }
        return Response(.noContent)
    }

    func setTimeout(_ row: Sandbox, _ call: GatewayCall) async throws(GatewayError) -> Response {
        guard let life = try life(call.object()) else {
            throw GatewayError(400, "timeout is needed")
        }
        return try await changed(row, call) { _ throws(ControlPlaneError) in
            try await note(row, life)
        }
    }

    /// As old SDKs keep a sandbox alive: it only makes longer.
    func refresh(_ row: Sandbox, _ call: GatewayCall) async throws(GatewayError) -> Response {
        let life = try life(call.object(), in: "duration")
        return try await changed(row, call) { _ throws(ControlPlaneError) in
            if let life { try await lengthen(row, to: life) }
        }
    }

    /// Wakes one that is paused, for another life; of one that runs it only makes the life longer.
    func connect(_ row: Sandbox, _ call: GatewayCall) async throws(GatewayError) -> Response {
        let body = try call.object()
        let life = try life(body)
        return try await changed(row, call) { status throws(ControlPlaneError) in
            // 201: it was paused, also where the row does not say so yet.
            if row.state == .paused || status == .created {
                if case .bool(let pauses)? = body["autoPause"], pauses != row.pauses {
                    try await sandboxes.store.setPauses(row.id, of: row.tenant, to: pauses)
                }
                if try await wake(row, for: life ?? Self.wokenLife, by: call.caller.actor) {
                    return
                }
            }
            if let life { try await lengthen(row, to: life) }
        }
    }

    func pause(_ row: Sandbox, _ call: GatewayCall) async throws(GatewayError) -> Response {
        let note: @Sendable (Status) async throws(ControlPlaneError) -> Void = {
            _ throws(ControlPlaneError) in
            _ = try await sandboxes.store.move(
                row.id, of: row.tenant, to: .paused, why: nil, by: call.caller.actor)
            await sandboxes.freePlace(row)
        }
        do throws(GatewayError) { return try await changed(row, call, note: note) } catch {
            // It is paused already: by a call, perhaps, that could not be noted.
            if error.status == 409, row.state == .running, let id = row.providerID,
                let target = try? await target(of: row),
                (try? await sandboxes.creations.providers.find(
                    id, at: target.endpoint, within: sandboxes.settings.actWait))?.isPaused == true
            {
                try? await note(Status(provider: error.status))
            }
            throw error
        }
    }

    /// Has the provider change it, and notes what that means here.
    private func changed(
        _ row: Sandbox, _ call: GatewayCall,
        note: @escaping @Sendable (_ status: Status) async throws(ControlPlaneError) -> Void
    ) async throws(GatewayError) -> Response {
        let held = try await hold(row)
        let response: Response
        do throws(GatewayError) { response = try await passed(call, to: row) } catch {
            // Nothing was changed, and its end is what it was. What gave no answer may be done.
            if let held, error.status < 500 {
                try? await sandboxes.store.changeLife(
                    row.id, of: row.tenant, from: held, to: row.endsAt)
            }
            throw error
        }
        do throws(ControlPlaneError) {
            try await sandboxes.creations.whileAway { () throws(ControlPlaneError) in
                try await note(response.status)
            }
        } catch {
            throw GatewayError(
                503, "The provider has done it, and it could not be noted here: try again",
                shouldRetry: true, retryAfter: services.settings.storeRetryAfter)
        }
        return response
    }

    /// One that is near its end is not ended here while the provider is asked. Its end meanwhile; nil: it is not
    /// near.
    private func hold(_ row: Sandbox) async throws(GatewayError) -> Timestamp? {
        let time = sandboxes.settings.standard.times.call + Self.holdMargin
        guard row.state == .running, !row.pauses, let endsAt = row.endsAt, endsAt - .now < time
        else { return nil }
        let held = try await domain { () throws(ControlPlaneError) in
            try await sandboxes.store.hold(row.id, of: row.tenant, for: time)
        }
        guard let held else { throw .noSandbox(row.providerID ?? "") }
        return held
    }

    /// False: it is not paused, as its row has it.
    private func wake(
        _ row: Sandbox, for life: Duration, by actor: String
    ) async throws(ControlPlaneError) -> Bool {
        var facts = SandboxFacts()
        facts.endsAt = .now + life
        facts.providerEndsAt = facts.endsAt
        let woken = try await sandboxes.store.move(
            row.id, of: row.tenant, to: .running, why: nil, by: actor, from: [.paused], facts)
        if woken != nil { await sandboxes.keepPlace(row, for: life) }
        return woken != nil
    }

    /// The provider has given that life, if it is longer than what was left.
    private func lengthen(_ row: Sandbox, to life: Duration) async throws(ControlPlaneError) {
        if let endsAt = row.endsAt, .now + life > endsAt { try await note(row, life) }
    }

    /// The provider has given that life.
    private func note(_ row: Sandbox, _ life: Duration) async throws(ControlPlaneError) {
        guard
            let endsAt = try await sandboxes.store.setLife(row.id, of: row.tenant, to: life)?.endsAt
        else { return }
        try await sandboxes.store.extended(row.id, of: row.tenant, to: endsAt)
        await sandboxes.keepPlace(row, for: life)
    }
}
