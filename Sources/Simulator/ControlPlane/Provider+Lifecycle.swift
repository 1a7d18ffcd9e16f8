import HTTP
import IO
import JSON

// What becomes of sandboxes. A running one may be told anything, a paused one only to go on or to end.
extension Provider {
    func create(
        _ ask: Ask, _ injection: FaultEngine.Injection, at now: Duration
    ) throws(ProviderError) -> Answer {
        guard let creation = ask.creation else { throw .validation("request body is missing") }
        if let templates = ask.region.templates, !templates.contains(creation.template) {
            throw .noTemplate(creation.template)
        }
        try checkQuota(ask)
        // Paused ones do not count against the quota, but they take memory here.
        guard inventory.live < 100_000 else { throw .capacity }
        let names = makeNames()
        var sandbox = Sandbox(
            number: inventory.nextNumber, id: names.id, region: ask.region.name,
            keyID: ask.team.keyID, template: creation.template, metadata: creation.metadata,
            idempotencyKey: ask.idempotencyKey,
            accessToken: creation.isSecure ? names.token : nil,
            pausesAtTimeout: creation.autoPause, createdAt: now, life: creation.timeout)
        sandbox.listedFrom += injection.hiddenFor ?? .zero
        sandbox.zombie = injection.zombie
        sandbox.vanishesAt = injection.vanishAfter.map { now + $0 }
        inventory.add(sandbox)
        return Answer(201, sandboxJSON(sandbox, ask.region), sandbox: sandbox)
    }

    private func checkQuota(_ ask: Ask) throws(ProviderError) {
        let limit = ask.region.limits.concurrent
        guard inventory.running(ask.team) < limit else { throw .quota(limit) }
    }

    /// The sandbox that the call names, running or paused, of the caller's own.
    func sandbox(_ ask: Ask) throws(ProviderError) -> Sandbox {
        let id = ask.sandboxID ?? ""
        guard let sandbox = inventory[id], sandbox.state != .ended, sandbox.team == ask.team else {
            throw .noSandbox(id)
        }
        return sandbox
    }

    /// Extends the life of a running one, never shortens it; wakes a paused one.
    func connect(_ ask: Ask, isV2: Bool, at now: Duration) throws(ProviderError) -> Answer {
        let document = try readDocument(ask.request.body)
        let timeout = try readTimeout(document, default: isV2 ? 300 : nil, ask.region.limits)
        let sandbox = try sandbox(ask)
        if sandbox.state == .paused { return try wake(sandbox, for: timeout, ask, at: now) }
        inventory.change(sandbox.number) { $0.endAt = max($0.endAt, now + timeout) }
        return Answer(200, sandboxJSON(sandbox, ask.region), sandbox: sandbox)
    }

    func resume(_ ask: Ask, at now: Duration) throws(ProviderError) -> Answer {
        let document = try readDocument(ask.request.body)
        let timeout = try readTimeout(document, default: 15, ask.region.limits)
        let sandbox = try sandbox(ask)
        guard sandbox.state == .paused else { throw .alreadyRunning(sandbox.id) }
        return try wake(sandbox, for: timeout, ask, at: now)
    }

    private func wake(
        _ sandbox: Sandbox, for timeout: Duration, _ ask: Ask, at now: Duration
    ) throws(ProviderError) -> Answer {
        try checkQuota(ask)
        inventory.change(sandbox.number) { sandbox in
            sandbox.state = .running
            sandbox.startedAt = now
            sandbox.endAt = now + timeout
        }
        return Answer(201, sandboxJSON(sandbox, ask.region), sandbox: sandbox)
    }

    func kill(_ ask: Ask, at now: Duration) throws(ProviderError) -> Answer {
        let sandbox = try sandbox(ask)
        inventory.change(sandbox.number) { sandbox in
            sandbox.end = .request
            sandbox.stop(.ended, at: now)
        }
        return Answer(204)
    }

    func pause(_ ask: Ask, at now: Duration) throws(ProviderError) -> Answer {
        let sandbox = try sandbox(ask)
        guard sandbox.state == .running else { throw .alreadyPaused(sandbox.id) }
        inventory.change(sandbox.number) { sandbox in
            sandbox.pauses += 1
            sandbox.stop(.paused, at: now)
        }
        return Answer(204)
    }

    /// Sets the time that is left, longer or shorter.
    func setTimeout(_ ask: Ask, at now: Duration) throws(ProviderError) -> Answer {
        let document = try readDocument(ask.request.body)
        let timeout = try readTimeout(document, default: nil, ask.region.limits)
        let sandbox = try runningSandbox(ask)
        inventory.change(sandbox.number) { $0.endAt = now + timeout }
        return Answer(204)
    }

    func refresh(_ ask: Ask, at now: Duration) throws(ProviderError) -> Answer {
        var seconds = 15
        switch try readDocument(ask.request.body)["duration"] {
        case nil, .null?: break
        case .number(let number)?:
            guard let whole = number.int, (0...3600).contains(whole) else { fallthrough }
            seconds = whole
        default: throw .validation("request body has an error: duration must be 0 to 3600")
        }
        let sandbox = try runningSandbox(ask)
        inventory.change(sandbox.number) { $0.endAt = max($0.endAt, now + .seconds(seconds)) }
        return Answer(204)
    }

    private func runningSandbox(_ ask: Ask) throws(ProviderError) -> Sandbox {
        let sandbox = try sandbox(ask)
        guard sandbox.state == .running else { throw .noSandbox(sandbox.id) }
        return sandbox
    }

    /// The template's alias, if it is one.
    func template(_ ask: Ask) throws(ProviderError) -> Answer {
        let alias = ask.request.parameter("alias") ?? ""
        guard ask.region.templates?.contains(alias) ?? true else { throw .noTemplate(alias) }
        var writer = JSONWriter()
        writer.object { json in
            json.member("templateID", alias)
            json.member("public", false)
        }
        return Answer(200, writer.bytes)
    }
}
