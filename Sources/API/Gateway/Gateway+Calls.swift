internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Outbound
internal import Postgres

extension Gateway {
    /// Longest life that may be asked for, in seconds: 31 days.
    private static let longestLife = 2_678_400

    // MARK: Creating

    func create(_ call: GatewayCall, isOld: Bool) async throws(GatewayError) -> Response {
        let body = try call.object()
        guard let template = body["templateID"]?.string, (1...200).contains(template.utf8.count)
        else { throw GatewayError(400, "templateID is needed") }
        try checkStorable(template, as: "templateID")
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
        case .failure(.domain(.conflict)) where idempotency != nil:
            // A twin was first.
            let first = try await domain { () throws(ControlPlaneError) in
                try await sandboxes.earlier(
                    idempotency, of: tenant, until: .now.advanced(by: deadline))
            }
            guard let first else {
                throw GatewayError(503, "try again", shouldRetry: true, retryAfter: .seconds(1))
            }
            return try await replayed(first, call)
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
            try checkStorable(member.name, as: "metadata")
            try checkStorable(value, as: "metadata")
            metadata.append((member.name, value))
        }
        return metadata
    }

    /// What PostgreSQL does not take.
    private func checkStorable(_ text: String, as name: String) throws(GatewayError) {
        if text.utf8.contains(0) { throw GatewayError(400, "\(name) has the character U+0000") }
    }

    func life(
        _ body: JSONValue, in name: String = "timeout"
    ) throws(GatewayError) -> Duration? {
        guard let value = body[name], value != .null else { return nil }
        guard case .number(let number) = value, let seconds = number.int,
            (1...Self.longestLife).contains(seconds)
        else {
            // The provider's own word, as far as it goes.
            let word = "\(name.prefix(1).uppercased())\(name.dropFirst())"
            throw GatewayError(
                400, "\(word) must be greater than 0, in seconds, and at most \(Self.longestLife)")
        }
        return .seconds(seconds)
    }

    /// What an earlier call with the same key made, as the provider has it now.
    private func replayed(
        _ request: SandboxRequest, _ call: GatewayCall
    ) async throws(GatewayError) -> Response {
        guard let id = request.sandbox else {
            let status =
                switch request.errorKind {
                case .invalidRequest: 400
                case .notFound: 404
                default: 502
                }
            throw GatewayError(
                status, request.error ?? "The first call with this key made no sandbox")
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

    // MARK: Lists

    /// A page of one region; the next region's follow it.
    func list(_ call: GatewayCall) async throws(GatewayError) -> Response {
        let targets = try await domain { () throws(ControlPlaneError) in
            try await sandboxes.targets.open(to: call.caller.tenant)
        }
        var (place, token) = (0, String?.none)
        var query = try ListQuery(call)
        if let text = query.token {
            let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let number = Int(parts[0]), targets.indices.contains(number)
            else { throw GatewayError(400, "nextToken is none of this list") }
            (place, token) = (number, parts[1].isEmpty ? nil : String(parts[1]))
        }
        guard targets.indices.contains(place) else { return .json(Array("[]".utf8)) }
        // Of the account's sandboxes only the tenant's own, however the provider reads the query.
        let own = "\(SandboxTag.tenant)%3D\(call.caller.tenant)"
        query.items.append("metadata=" + (query.metadata.map { $0 + "%26" } ?? "") + own)
        if let token { query.items.append("nextToken=" + token) }
        let target = targets[place]
        let answer = try await send(
            "GET",
            "/" + call.path.joined(separator: "/") + "?" + query.items.joined(separator: "&"),
            call, target)
        guard answer.status == 200, let document = JSONValue(bytes: answer.body),
            case .array(let found) = document
        else { return try relayed(answer, target, mustRead: true) }
        let mine = found.filter { $0.isOf(call.caller.tenant) }
        var response = Response.json(JSONValue.array(mine.map { cleaned($0, target) }).bytes)
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
    func passed(_ call: GatewayCall, to row: Sandbox? = nil) async throws(GatewayError) -> Response
    {
        let target: CreationTarget
        if let row {
            target = try await self.target(of: row)
        } else {
            target = try await domain { () throws(ControlPlaneError) in
                try await sandboxes.target(for: call.caller.tenant, region: nil)
            }
        }
        return try relayed(
            try await send(call.method.description, call.target, call, target), target,
            mustRead: row != nil)
    }

    func target(of row: Sandbox) async throws(GatewayError) -> CreationTarget {
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
            if error.kind == .overloaded {
                throw GatewayError(
                    503, "Too many calls are in hand", shouldRetry: true, retryAfter: .seconds(1))
            }
            let facts = ErrorFacts(error)
            throw GatewayError(facts, services.classifier.classify(facts))
        }
    }

    /// The provider's answer in a form that the SDK can read, whatever came.
    ///
    /// - Parameter mustRead: what it says of success must be JSON, or nothing.
    private func relayed(
        _ answer: HTTPClient.Response, _ target: CreationTarget, mustRead: Bool
    ) throws(GatewayError) -> Response {
        let document = answer.body.isEmpty ? nil : JSONValue(bytes: answer.body)
        guard (200...299).contains(answer.status) else {
            let facts = ErrorFacts(answer)
            throw GatewayError(facts, services.classifier.classify(facts))
        }
        guard let document else {
            guard answer.body.isEmpty || !mustRead else {
                throw GatewayError(502, "The provider gave no answer that can be read")
            }
            return Response(Status(provider: answer.status), body: .bytes(answer.body))
        }
        var response = Response.json(
            cleaned(document, target).bytes, status: Status(provider: answer.status))
        if let next = answer.head.value("X-Next-Token"), !next.isEmpty {
            response.fields.append(Field(FieldName("X-Next-Token"), next))
        }
        return response
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

/// The query of a list: what we set ourselves, and the rest as it came. By decoded names: another spelling of one
/// would be the same to the provider.
private struct ListQuery {
    var items: [String] = []
    private(set) var metadata: String?
    private(set) var token: String?

    init(_ call: GatewayCall) throws(GatewayError) {
        let mark = call.target.firstIndex(of: "?") ?? call.target.endIndex
        let raw = call.target[mark...].dropFirst().split(separator: "&").map(String.init)
        for (item, decoded) in zip(raw, call.request.queryItems) {
            let value = item.drop { $0 != "=" }.dropFirst()
            switch decoded.name {
            case "metadata":
                if metadata != nil { throw GatewayError(400, "metadata may be given once") }
                metadata = String(value)
            case "nextToken":
                if token != nil { throw GatewayError(400, "nextToken may be given once") }
                token = String(value)
            default: items.append(item)
            }
        }
        if metadata == "" { metadata = nil }
    }
}

extension JSONValue {
    /// A listed sandbox of this tenant, by our tag.
    fileprivate func isOf(_ tenant: Tenant.ID) -> Bool {
        self["metadata"]?[SandboxTag.tenant]?.string == tenant.description
    }
}
