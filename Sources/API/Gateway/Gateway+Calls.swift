internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Outbound
internal import Postgres

extension Gateway {
    /// Longest life that may be asked for, in seconds: 31 days.
    private static let longestLife = 2_678_400
    /// The provider's own default for one that is woken without a time.
    private static let wokenLife = Duration.seconds(300)

    // MARK: Creating

    func create(_ call: GatewayCall, isOld: Bool) async throws(GatewayError) -> Response {
        let body = try call.object()
        guard let template = body["templateID"]?.string, (1...200).contains(template.utf8.count)
        else { throw GatewayError(400, "templateID is needed") }
        let metadata = try metadata(body)
        let settings = try await domain { () throws(ControlPlaneError) in
            try await sandboxes.settings(of: call.caller.tenant)
        }
        let life = try life(body) ?? settings.times.life
        let idempotency: Idempotency?
        do throws(Failure) { idempotency = try call.call.idempotency() } catch {
            throw GatewayError(error, services)
        }
        let deadline = settings.gatewayDeadline
        let tenant = call.caller.tenant
        if let earlier = try await domain({ () throws(ControlPlaneError) in
            try await sandboxes.earlier(
                idempotency, of: tenant, until: .now.advanced(by: deadline))
        }) {
            return try await replayed(earlier, call)
        }
        let target = try await domain { () throws(ControlPlaneError) in
            try await sandboxes.target(for: tenant, region: nil)
        }
        let trace = call.request.trace
        let order = CreationOrder(
            tenant: tenant, way: .gateway, target: target,
            choice: TemplateChoice(
                template,
                framework: metadata.first { $0.name == services.settings.frameworkKey }?.value),
            fallback: settings.fallback, fallbackRule: settings.fallbackRule, life: life,
            deadline: deadline, maxAttempts: settings.maxAttempts,
            healthCheck: settings.healthCheck, call: settings.createCall,
            maxLive: settings.maxLive.map { Int($0) }, metadata: metadata,
            body: body.removing("metadata").removing("timeout"), traceID: trace.traceID,
            traceparent: trace.traceparent(span: call.request.span), idempotency: idempotency)
        switch await sandboxes.creations.create(order) {
        case .success(let made): return shown(made.answer, target, .created)
        case .failure(let failure): throw GatewayError(failure, order)
        }
    }

    private func metadata(
        _ body: JSONValue
    ) throws(GatewayError) -> [(name: String, value: String)] {
        guard case .object(let members)? = body["metadata"] else { return [] }
        var metadata: [(name: String, value: String)] = []
        for member in members {
            guard let value = member.value.string, !SandboxTag.isOurs(member.name) else {
                throw GatewayError(400, "metadata has a member that is no text, or breakwater.…")
            }
            metadata.append((member.name, value))
        }
        return metadata
    }

    private func life(_ body: JSONValue) throws(GatewayError) -> Duration? {
        guard let value = body["timeout"] else { return nil }
        guard case .number(let number) = value, let seconds = number.int,
            (1...Self.longestLife).contains(seconds)
        else { throw GatewayError(400, "Timeout must be greater than 0") }
        return .seconds(seconds)
    }

    /// What an earlier call with the same key made, as the provider has it now.
    private func replayed(
        _ request: SandboxRequest, _ call: GatewayCall
    ) async throws(GatewayError) -> Response {
        guard let id = request.sandbox else {
            throw GatewayError(
                502, request.error ?? "The first call with this key made no sandbox")
        }
        let row = try await domain { () throws(ControlPlaneError) in
            try await sandboxes.store.sandbox(id, of: call.caller.tenant)
        }
        guard let providerID = row.providerID else { throw .noSandbox(id.description) }
        let target = try await target(of: row)
        let found: ProviderSandbox?
        do throws(TryError) {
            found = try await sandboxes.creations.providers.find(
                providerID, at: target.endpoint, within: sandboxes.settings.actWait)
        } catch {
            // It is there for all that is known: no reason to say otherwise.
            throw GatewayError(
                503, "Sandbox \"\(providerID)\" was made; the provider does not show it now",
                shouldRetry: true, retryAfter: .seconds(1))
        }
        guard let found else { throw .noSandbox(providerID) }
        return shown(found, target, .created)
    }

    // MARK: One sandbox

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
        // The provider first: what its plan does not allow is its caller's to know.
        let response = try await passed(call, to: row)
        if (200...299).contains(response.status.code) { await note(row, life) }
        return response
    }

    func connect(_ row: Sandbox, _ call: GatewayCall) async throws(GatewayError) -> Response {
        let life = try life(call.object())
        let response = try await passed(call, to: row)
        guard (200...299).contains(response.status.code) else { return response }
        // 201: it was paused, also where the row does not say so yet. It lives anew, from now on.
        if row.state == .paused || response.status == .created {
            var facts = SandboxFacts()
            facts.endsAt = .now + (life ?? Self.wokenLife)
            facts.providerEndsAt = facts.endsAt
            let woken = try? await sandboxes.store.move(
                row.id, of: row.tenant, to: .running, why: nil, by: call.caller.actor,
                from: [.paused], facts)
            if woken != nil { return response }
        }
        // It only makes longer.
        if let life, let endsAt = row.endsAt, Timestamp.now + life > endsAt { await note(row, life) }
        return response
    }

    func pause(_ row: Sandbox, _ call: GatewayCall) async throws(GatewayError) -> Response {
        let response = try await passed(call, to: row)
        if (200...299).contains(response.status.code) {
            _ = try? await sandboxes.store.move(
                row.id, of: row.tenant, to: .paused, why: nil, by: call.caller.actor)
        }
        return response
    }

    /// The provider has given that life.
    private func note(_ row: Sandbox, _ life: Duration) async {
        guard let row = try? await sandboxes.store.setLife(row.id, of: row.tenant, to: life),
            let endsAt = row.endsAt
        else { return }
        try? await sandboxes.store.extended(row.id, of: row.tenant, to: endsAt)
    }

    // MARK: Lists

    /// A page of one region; the next region's follow it.
    func list(_ call: GatewayCall) async throws(GatewayError) -> Response {
        let targets = try await domain { () throws(ControlPlaneError) in
            try await sandboxes.targets.open(to: call.caller.tenant)
        }
        var (place, token) = (0, String?.none)
        var items = call.rawQuery
        if let index = items.firstIndex(where: { $0.hasPrefix("nextToken=") }) {
            let text = items.remove(at: index).dropFirst("nextToken=".count)
            let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let number = Int(parts[0]), targets.indices.contains(number)
            else { throw GatewayError(400, "nextToken is none of this list") }
            (place, token) = (number, parts[1].isEmpty ? nil : String(parts[1]))
        }
        guard targets.indices.contains(place) else { return .json(Array("[]".utf8)) }
        // Of the account's sandboxes only the tenant's own.
        let own = "\(SandboxTag.tenant)%3D\(call.caller.tenant)"
        if let index = items.firstIndex(where: { $0.hasPrefix("metadata=") }) {
            items[index] += "%26" + own
        } else {
            items.append("metadata=" + own)
        }
        if let token { items.append("nextToken=" + token) }
        let target = targets[place]
        let answer = try await send(
            "GET", "/" + call.path.joined(separator: "/") + "?" + items.joined(separator: "&"), call,
            target)
        guard answer.status == 200, let document = JSONValue(bytes: answer.body),
            case .array(let found) = document
        else { return try relayed(answer, target) }
        var response = Response.json(JSONValue.array(found.map { cleaned($0, target) }).bytes)
        let next = answer.head.value("X-Next-Token").flatMap { $0.isEmpty ? nil : $0 }
        if let next {
            response.fields.append(Field(FieldName("X-Next-Token"), "\(place).\(next)"))
        } else if place + 1 < targets.count {
            response.fields.append(Field(FieldName("X-Next-Token"), "\(place + 1)."))
        }
        return response
    }

    // MARK: Passing on

    /// To the sandbox's region, or for what is no sandbox's to the tenant's first.
    func passed(_ call: GatewayCall, to row: Sandbox? = nil) async throws(GatewayError) -> Response {
        let target: CreationTarget
        if let row {
            target = try await self.target(of: row)
        } else {
            target = try await domain { () throws(ControlPlaneError) in
                try await sandboxes.target(for: call.caller.tenant, region: nil)
            }
        }
        return try relayed(
            try await send(call.method.description, call.target, call, target), target)
    }

    private func target(of row: Sandbox) async throws(GatewayError) -> CreationTarget {
        let found = try await domain { () throws(ControlPlaneError) in
            try await sandboxes.targets.find(row.region, of: row.tenant)
        }
        guard let found else {
            throw GatewayError(404, "The sandbox's region \(row.region) is not there any more")
        }
        return found
    }

    private func send(
        _ method: String, _ path: String, _ call: GatewayCall, _ target: CreationTarget
    ) async throws(GatewayError) -> HTTPClient.Response {
        guard let url = target.endpoint.api.appending(path) else {
            throw GatewayError(400, "the path is no path of the API")
        }
        var fields = [HTTPClient.Field("X-API-Key", target.endpoint.apiKey)]
        for name in ["User-Agent", "Content-Type", "Accept", "Idempotency-Key"] {
            if let value = call.request.header(FieldName(name)) {
                fields.append(HTTPClient.Field(name, value))
            }
        }
        fields.append(
            HTTPClient.Field(
                "traceparent", call.request.trace.traceparent(span: call.request.span)))
        let body = call.request.body
        do throws(HTTPClient.Failure) {
            return try await sandboxes.creations.providers.pass(
                HTTPClient.Request(
                    method, url, fields: fields, body: body.isEmpty ? nil : body,
                    deadline: sandboxes.settings.standard.times.call))
        } catch {
            let facts = ErrorFacts(error)
            throw GatewayError(facts, services.classifier.classify(facts))
        }
    }

    /// The provider's answer in a form that the SDK can read, whatever came.
    private func relayed(
        _ answer: HTTPClient.Response, _ target: CreationTarget
    ) throws(GatewayError) -> Response {
        let document = answer.body.isEmpty ? nil : JSONValue(bytes: answer.body)
        guard (200...299).contains(answer.status) else {
            let facts = ErrorFacts(answer)
            throw GatewayError(facts, services.classifier.classify(facts))
        }
        guard let document else {
            return Response(Status(provider: answer.status), body: .bytes(answer.body))
        }
        return .json(cleaned(document, target).bytes, status: Status(provider: answer.status))
    }

    private func shown(
        _ sandbox: ProviderSandbox, _ target: CreationTarget, _ status: Status
    ) -> Response {
        .json(cleaned(sandbox.document, target).bytes, status: status)
    }

    /// Without our tags; with the domain that the SDK needs to find the sandbox.
    private func cleaned(_ document: JSONValue, _ target: CreationTarget) -> JSONValue {
        guard document["sandboxID"] != nil else { return document }
        var document = document
        if case .object(let members)? = document["metadata"] {
            document = document.setting(
                "metadata", .object(members.filter { !SandboxTag.isOurs($0.name) }))
        }
        if document["domain"]?.string == nil, let domain = target.endpoint.domain {
            document = document.setting("domain", .string(domain))
        }
        return document
    }
}

extension GatewayCall {
    /// The items of the query as they came.
    var rawQuery: [String] {
        guard let mark = target.firstIndex(of: "?") else { return [] }
        return target[target.index(after: mark)...].split(separator: "&").map(String.init)
    }
}
