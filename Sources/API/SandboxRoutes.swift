internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// Managed sandboxes: made, watched and ended by the service.
struct SandboxRoutes {
    let endpoint: Endpoint

    var all: [Route] { [create, request] + reads + acts }

    private var sandboxes: Sandboxes { endpoint.services.sandboxes }

    private var create: Route {
        let sandboxes = sandboxes
        return endpoint.route(
            .post, "/v1/sandboxes", "createSandbox", .sandbox, watchesClient: true
        ) { call throws(Failure) in
            let input = try call.bodyIfPresent(SandboxInput.self)
            let idempotency = try call.idempotency()
            let isAsync = try call.prefersAsync()
            let settings = try await domain { () throws(ControlPlaneError) in
                try await sandboxes.settings(of: call.caller.tenant)
            }
            let deadline = input.deadline ?? settings.deadline
            let until = MonotonicInstant.now.advanced(by: deadline)
            if let earlier = try await domain({ () throws(ControlPlaneError) in
                try await sandboxes.earlier(
                    idempotency, of: call.caller.tenant,
                    until: isAsync ? .now : until)
            }) {
                return try await replayed(earlier, sandboxes, settings)
            }
            let order = try await order(input, call, idempotency, deadline, settings)
            guard !isAsync else {
                switch await sandboxes.creations.begin(order) {
                case .success(let id): return accepted(id)
                case .failure(let failure): throw creationProblem(failure, order)
                }
            }
            switch await sandboxes.creations.create(order) {
            case .success(let made): return created(made, settings.times)
            case .failure(.domain(.conflict)) where idempotency != nil:
                // A twin was first.
                let first = try await domain { () throws(ControlPlaneError) in
                    try await sandboxes.earlier(
                        idempotency, of: call.caller.tenant, until: until)
                }
                guard let first else { throw .domain(.conflict("try again")) }
                return try await replayed(first, sandboxes, settings)
            case .failure(let failure): throw creationProblem(failure, order)
            }
        }
    }

    private func order(
        _ input: SandboxInput, _ call: Call, _ idempotency: Idempotency?, _ deadline: Duration,
        _ settings: SandboxSettings
    ) async throws(Failure) -> CreationOrder {
        let sandboxes = sandboxes
        guard let template = input.template ?? settings.defaultTemplate else {
            throw .problem(.invalid("/template", "is needed: there is no default template"))
        }
        let target = try await domain { () throws(ControlPlaneError) in
            try await sandboxes.target(for: call.caller.tenant, region: input.region)
        }
        let framework =
            input.framework
            ?? (input.template == nil ? settings.defaultFramework : nil)
        return CreationOrder(
            tenant: call.caller.tenant, way: .api, target: target,
            choice: TemplateChoice(template, framework: framework),
            fallback: settings.fallback,
            fallbackRule: input.fallbackRule ?? settings.fallbackRule,
            life: input.life ?? settings.times.life, deadline: deadline,
            maxAttempts: input.maxAttempts ?? settings.maxAttempts,
            healthCheck: input.healthCheck ?? settings.healthCheck, call: settings.createCall,
            maxLive: settings.maxLive.map { Int($0) }, metadata: input.metadata, body: input.body,
            traceID: call.request.trace.traceID,
            traceparent: call.request.trace.traceparent(span: call.request.span),
            idempotency: idempotency)
    }

    private var request: Route {
        let store = sandboxes.store
        return endpoint.route(
            .get, "/v1/sandbox-requests/{id}", "getSandboxRequest", [.sandbox, .read]
        ) { call throws(Failure) in
            _ = try call.query()
            let id = try call.id("request")
            let found = try await domain { () throws(ControlPlaneError) in
                try await store.request(id, of: call.caller.tenant)
            }
            return .json(encoded { write(found, to: &$0) })
        }
    }

    private var reads: [Route] {
        let (store, settings) = (sandboxes.store, endpoint.services.settings)
        return [
            endpoint.route(.get, "/v1/sandboxes", "listSandboxes", [.sandbox, .read]) {
                call throws(Failure) in
                let query = try call.query("limit", "cursor", "state")
                let (limit, after) = try Cursor.page(query, of: "sandboxes", settings)
                let states = try states(query["state"])
                let before = try after.map { text throws(Failure) in
                    guard let id = UUID(text) else {
                        throw .problem(.invalid("cursor", "is no cursor of this list"))
                    }
                    return id
                }
                let found = try await domain { () throws(ControlPlaneError) in
                    try await store.list(
                        of: call.caller.tenant, states: states, before: before, limit: limit + 1)
                }
                return list("sandboxes", found, limit, last: \.id.description) { row, writer in
                    writer.object { write(row, to: &$0) }
                }
            },
            endpoint.route(.get, "/v1/sandboxes/{id}", "getSandbox", [.sandbox, .read]) {
                call throws(Failure) in
                _ = try call.query()
                let id = try call.id("sandbox")
                let found = try await domain { () throws(ControlPlaneError) in
                    try await store.sandbox(id, of: call.caller.tenant)
                }
                return .json(encoded { write(found, to: &$0) })
            },
            endpoint.route(
                .get, "/v1/sandboxes/{id}/events", "listSandboxEvents", [.sandbox, .read]
            ) { call throws(Failure) in
                _ = try call.query()
                let id = try call.id("sandbox")
                let moves = try await domain { () throws(ControlPlaneError) in
                    _ = try await store.sandbox(id, of: call.caller.tenant)
                    return try await store.history(of: id, tenant: call.caller.tenant)
                }
                return .json(
                    encoded { json in
                        json.array("items") { writer in
                            for move in moves { writer.object { write(move, to: &$0) } }
                        }
                    })
            },
        ]
    }

    private var acts: [Route] {
        let sandboxes = sandboxes
        return [
            endpoint.route(.delete, "/v1/sandboxes/{id}", "killSandbox", [.sandbox, .admin]) {
                call throws(Failure) in
                _ = try call.query()
                let id = try call.id("sandbox")
                let row = try await domain { () throws(ControlPlaneError) in
                    try await sandboxes.kill(
                        id, of: call.caller.tenant, by: call.caller.actor)
                }
                return .json(encoded { write(row, to: &$0) })
            },
            endpoint.route(
                .post, "/v1/sandboxes/{id}/timeout", "setSandboxTimeout", .sandbox
            ) { call throws(Failure) in
                let id = try call.id("sandbox")
                let input = try call.body(SandboxTimeoutInput.self)
                let row = try await domain { () throws(ControlPlaneError) in
                    try await sandboxes.setLife(id, of: call.caller.tenant, to: input.life)
                }
                return .json(encoded { write(row, to: &$0) })
            },
            endpoint.route(
                .post, "/v1/sandboxes/{id}/health-checks", "checkSandbox", .sandbox
            ) { call throws(Failure) in
                let id = try call.id("sandbox")
                _ = try call.bodyIfPresent(NoInput.self)
                let (row, check) = try await domain { () throws(ControlPlaneError) in
                    try await sandboxes.checkHealth(
                        id, of: call.caller.tenant, by: call.caller.actor,
                        traceID: call.request.trace.traceID)
                }
                return checked(row, check)
            },
        ]
    }
}

private func states(_ text: String?) throws(Failure) -> [SandboxState] {
    guard let text else { return [] }
    var states: [SandboxState] = []
    for part in text.split(separator: ",") {
        guard let state = SandboxState(rawValue: String(part)) else {
            let known = SandboxState.allCases.map(\.rawValue).joined(separator: ", ")
            throw .problem(.invalid("state", "must be some of \(known), with commas"))
        }
        states.append(state)
    }
    return states
}

extension Call {
    /// The id in the path; what is no id is not found.
    fileprivate func id(_ what: String) throws(Failure) -> UUID {
        guard let id = request.parameter("id").flatMap({ UUID($0) }) else {
            throw .domain(.notFound(what))
        }
        return id
    }

    /// `Prefer: respond-async` (RFC 7240 section 4.1); other preferences may be ignored.
    fileprivate func prefersAsync() throws(Failure) -> Bool {
        guard let text = request.header(FieldName("Prefer")) else { return false }
        return text.split(separator: ",").contains {
            $0.lowercased().filter { $0 != " " && $0 != "\t" } == "respond-async"
        }
    }
}

// MARK: Answers

private func created(_ made: CreatedSandbox, _ times: SandboxTimes) -> Response {
    var response = Response.json(
        encoded { json in
            write(made.sandbox, to: &json)
            json.member("attempts", made.attempts)
            json.member("fellBack", made.fellBack)
            json.member("replacements", made.replacements)
            write(times, to: &json)
            json.member("accessToken", orNull: made.answer.accessToken)
        }, status: .created)
    response.fields.append(Field(.location, "/v1/sandboxes/\(made.sandbox.id)"))
    return response
}

private func accepted(_ request: UUID) -> Response {
    var response = Response.json(
        encoded { json in
            json.member("requestId", request.description)
            json.member("state", SandboxRequestState.dispatching.rawValue)
        }, status: .accepted)
    response.fields.append(Field(.location, "/v1/sandbox-requests/\(request)"))
    response.fields.append(Field(FieldName("Preference-Applied"), "respond-async"))
    return response
}

/// As the first order was answered, as far as that is kept: the token of the sandbox's own access is not.
private func replayed(
    _ request: SandboxRequest, _ sandboxes: Sandboxes, _ settings: SandboxSettings
) async throws(Failure) -> Response {
    guard let id = request.sandbox else {
        throw .problem(
            Problem(
                .creationFailed,
                detail: request.error ?? "the request is \(request.state.rawValue)",
                fields: [.replayed]))
    }
    let row = try await domain { () throws(ControlPlaneError) in
        try await sandboxes.store.sandbox(id, of: request.tenant)
    }
    var response = Response.json(
        encoded { json in
            write(row, to: &json)
            json.member("attempts", request.attempts)
            json.member("fellBack", request.fellBack)
            json.member("replacements", orNull: Int?.none)
            write(settings.times, to: &json)
            json.member("accessToken", orNull: String?.none)
        }, status: .created)
    response.fields += [Field(.location, "/v1/sandboxes/\(id)"), .replayed]
    return response
}

private func checked(_ row: Sandbox, _ check: HealthCheck) -> Response {
    .json(
        encoded { json in
            json.member("id", row.id.description)
            json.member("sandboxId", orNull: row.providerID)
            json.member("verdict", check.verdict.rawValue)
            json.member("reason", orNull: check.reason)
            json.member("tries", check.tries)
            json.member("durationMs", check.took.milliseconds)
            json.member("health", row.health.rawValue)
        })
}

private func creationProblem(_ failure: CreationFailure, _ order: CreationOrder) -> Failure {
    switch failure {
    case .domain(let error): return .domain(error)
    case .breakerOpen(let refusal):
        return .problem(
            Problem(
                .breakerOpen, detail: refusal.message,
                retryAfter: .seconds(refusal.retryAfterSeconds),
                members: [
                    ("breaker", .string(refusal.key.id)),
                    ("overAllTenants", .boolean(refusal.key.isParent)),
                ]))
    case .overQuota(let verdict):
        return .problem(denial(Ask(Creations.Settings.operation), verdict))
    case .notWorking(let reason, let attempts, let request):
        return .problem(
            Problem(
                .creationFailed,
                detail: "no sandbox that was made works: \(reason)",
                members: [
                    ("kind", .string(ErrorKind.unavailable.rawValue)),
                    ("stop", .string("not_working")), ("attempts", .integer(Int64(attempts))),
                    ("requestId", .string(request.description)),
                ]))
    case .notTried(.throttled, let wait):
        return .problem(
            Problem(
                .tooManyRequests,
                detail: "the provider's account creates no more before the deadline",
                retryAfter: wait ?? .seconds(1)))
    case .notTried(_, let wait):
        return .problem(
            Problem(
                .overloaded, detail: "too many sandboxes are being made here",
                retryAfter: wait ?? .seconds(1)))
    case .provider(let cause, let stop, let wait, let attempts, let request):
        let kind = cause.error.kind
        return .problem(
            Problem(
                type(kind, stop),
                detail:
                    "the provider made no sandbox in \(attempts) \(attempts == 1 ? "try" : "tries"): \(kind.rawValue): \(cause.facts.message.prefix(300))",
                retryAfter: wait,
                members: [
                    ("kind", .string(kind.rawValue)), ("stop", .string(stop.rawValue)),
                    ("attempts", .integer(Int64(attempts))),
                    ("requestId", .string(request.description)),
                ]))
    }
}

private func type(_ kind: ErrorKind, _ stop: RetryPolicy.Stop) -> ProblemType {
    switch kind {
    case .notFound, .invalidRequest: .creationRefused
    default: stop == .deadline ? .deadlineExceeded : .creationFailed
    }
}

private func write(_ row: Sandbox, to json: inout JSONWriter) {
    json.member("id", row.id.description)
    json.member("sandboxId", orNull: row.providerID)
    json.member("requestId", row.request.description)
    json.member("state", row.state.rawValue)
    json.member("reason", orNull: row.reason?.rawValue)
    json.member("template", row.template)
    json.member("framework", orNull: row.framework)
    json.member("region", row.region)
    json.member("domain", orNull: row.domain)
    json.member("health", row.health.rawValue)
    json.member("metadata", raw: Array(row.metadata.utf8))
    json.member("createdAt", row.createdAt.description)
    json.member("startedAt", orNull: row.startedAt?.description)
    json.member("endsAt", orNull: row.endsAt?.description)
    json.member("autoPause", row.pauses)
    json.member("endedAt", orNull: row.endedAt?.description)
}

private func write(_ request: SandboxRequest, to json: inout JSONWriter) {
    json.member("requestId", request.id.description)
    json.member("state", request.state.rawValue)
    json.member("sandbox", orNull: request.sandbox?.description)
    json.member("template", request.template)
    json.member("framework", orNull: request.framework)
    json.member("region", request.region)
    json.member("attempts", request.attempts)
    json.member("fellBack", request.fellBack)
    json.member("errorKind", orNull: request.errorKind?.rawValue)
    json.member("error", orNull: request.error)
    json.member("createdAt", request.createdAt.description)
    json.member("deadlineAt", request.deadlineAt.description)
    json.member("endedAt", orNull: request.endedAt?.description)
}

private func write(_ move: SandboxMove, to json: inout JSONWriter) {
    json.member("version", move.version)
    json.member("at", move.at.description)
    json.member("from", orNull: move.from)
    json.member("to", move.to)
    json.member("reason", orNull: move.reason)
    json.member("actor", move.actor)
    json.member("detail", orNull: move.detail)
}
