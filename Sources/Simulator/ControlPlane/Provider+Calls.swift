package import HTTP
import IO

/// One call of the control plane, as far as it was understood.
struct Ask: Sendable {
    let request: Request
    let region: RegionScript
    let team: Inventory.Team
    var creation: CreateRequest?
    /// Nil unless it was sent to an API that knows it.
    var idempotencyKey: String?
    /// The one in the path, without a client id behind it.
    var sandboxID: String?
}

extension Provider {
    /// Serves one call: key, limit, faults, latency, work, answer, book.
    package func serve(_ request: Request, region index: Int, _ endpoint: Endpoint) async
        -> Response
    {
        let region = script.regions[index]
        var call = CallRecord(
            at: settledNow(), region: region.name, operation: endpoint.operation,
            method: request.method.description, path: String(request.path.prefix(200)))
        call.traceparent = request.header(.traceparent).map { String($0.prefix(200)) }
        call.userAgent = request.header(FieldName("User-Agent")).map { String($0.prefix(200)) }
        do throws(ProviderError) {
            let ask = try understand(request, region, endpoint, &call)
            let injection = injection(call)
            call.injected = injection.names
            return await serve(ask, endpoint, injection, call)
        } catch {
            return await deliver(Answer(error), .init(), call)
        }
    }

    private func understand(
        _ request: Request, _ region: RegionScript, _ endpoint: Endpoint,
        _ call: inout CallRecord
    ) throws(ProviderError) -> Ask {
        let secret = request.header(.xApiKey)
        guard let key = region.keys.first(where: { $0.secret == secret }) else {
            throw .invalidKey
        }
        call.keyID = key.id
        let team = Inventory.Team(region: region.name, keyID: key.id)
        var ask = Ask(request: request, region: region, team: team)
        if let id = request.parameter("id") {
            ask.sandboxID = String(id.prefix { $0 != "-" }.prefix(100))
            call.sandboxID = ask.sandboxID
            call.template = ask.sandboxID.flatMap { inventory[$0]?.template }
        }
        guard case .create(let isV2) = endpoint else { return ask }
        if isV2, let text = request.header(.idempotencyKey) {
            call.idempotencyKey = String(text.prefix(255))
            guard text.isIdempotencyKey else {
                throw .validation("parameter \"Idempotency-Key\" in header has an error")
            }
            ask.idempotencyKey = text
        }
        try takeCreation(team, region)
        let creation = try CreateRequest(request.body, isV2: isV2, region.limits)
        call.template = creation.template
        call.metadata = creation.metadata
        ask.creation = creation
        return ask
    }

    private func serve(
        _ ask: Ask, _ endpoint: Endpoint, _ injection: FaultEngine.Injection, _ call: CallRecord
    ) async -> Response {
        var call = call
        let isApplied = injection.answer?.isApplied ?? true
        do throws(ProviderError) {
            let hasKey = isApplied || injection.answer?.isLost ?? false
            if hasKey, let answer = try replay(ask) {
                return await deliver(answer, injection, call)
            }
        } catch {
            return await deliver(Answer(error), injection, call)
        }
        do throws(IOError) {
            try await delay(endpoint.operation, ask.region, injection)
        } catch {
            forget(ask)
            return await deliver(
                Answer(ProviderError(503, "the simulator is stopping")), .init(), call)
        }
        let answer: Answer
        do throws(ProviderError) {
            let now = settledNow()
            answer = isApplied ? try perform(endpoint, ask, injection, at: now) : Answer(204)
            call.isApplied = isApplied
            finish(ask, answer, injection)
        } catch {
            forget(ask)
            answer = Answer(error)
        }
        return await deliver(answer, injection, call)
    }

    // MARK: Idempotency

    /// The answer that the same key has had before.
    private func replay(_ ask: Ask) throws(ProviderError) -> Answer? {
        guard let key = ask.idempotencyKey,
            let number = try idempotency.begin(key, ask.team, ask.request.body, at: clock.now)
        else { return nil }
        guard let sandbox = inventory[number: number] else { throw .idempotencyUnknown }
        return Answer(201, sandboxJSON(sandbox, ask.region), sandbox: sandbox)
    }

    private func finish(_ ask: Ask, _ answer: Answer, _ injection: FaultEngine.Injection) {
        guard let key = ask.idempotencyKey else { return }
        if injection.answer?.isLost ?? false {
            idempotency.finish(key, ask.team, .unknown)
        } else if let sandbox = answer.sandbox {
            idempotency.finish(key, ask.team, .created(sandbox.number))
        }
    }

    private func forget(_ ask: Ask) {
        if let key = ask.idempotencyKey { idempotency.forgetUnfinished(key, ask.team) }
    }

    /// The answer as the fault leaves it; who creates a sandbox learns its id from a sound one alone.
    private func deliver(
        _ answer: Answer, _ injection: FaultEngine.Injection, _ call: CallRecord
    ) async -> Response {
        var call = call
        call.errorCode = answer.errorCode
        if let sandbox = answer.sandbox {
            call.sandboxID = sandbox.id
            if injection.answer == nil {
                inventory.change(sandbox.number) { $0.isAnswered = true }
            }
        }
        return await deliver(answer.response, injection, call)
    }
}

extension Effect.Action {
    /// Whether the provider itself does not know what came of it: a placement that timed out.
    fileprivate var isLost: Bool {
        if case .answer(let answer, _) = self { return answer.error.status == 504 }
        return false
    }
}

extension String {
    /// 1 to 255 of `[a-z0-9-]`.
    fileprivate var isIdempotencyKey: Bool {
        (1...255).contains(utf8.count)
            && utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                    UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}
