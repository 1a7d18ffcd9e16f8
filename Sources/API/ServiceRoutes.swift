internal import ControlPlane
internal import HTTP
internal import JSON
internal import Postgres

/// What is about the service itself: health, metrics, the contract, jobs, the caller's own key.
struct ServiceRoutes {
    let endpoint: Endpoint
    private var services: Services { endpoint.services }

    var all: [Route] { open + [whoAmI] + jobs }

    /// Routes without a key.
    private var open: [Route] {
        let services = services
        let alive = Response.json(Array(#"{"status":"ok"}"#.utf8))
        let ready = Response.json(Array(#"{"status":"ready"}"#.utf8))
        let contract = Response(contentType: .yaml, body: .bytes(API.contract))
        return [
            Route(.get, "/livez", "getLiveness") { _ throws(Problem) in alive },
            Route(.get, "/readyz", "getReadiness") { _ throws(Problem) in
                guard let reason = services.readiness.reason else { return ready }
                throw Problem(
                    .storeUnavailable, detail: "not ready: \(reason)",
                    retryAfter: services.settings.storeRetryAfter)
            },
            Route(.get, "/metrics", "getMetrics") { _ throws(Problem) in
                let page = await services.metricsPage()
                return Response(
                    contentType: "text/plain; version=0.0.4; charset=utf-8",
                    body: .bytes(Array(page.utf8)))
            },
            Route(.get, "/openapi.yaml", "getContract") { _ throws(Problem) in contract },
        ]
    }

    private var whoAmI: Route {
        endpoint.route(
            .get, "/v1/whoami", "whoAmI", [.record, .sandbox, .read, .admin, .operator]
        ) { call throws(Failure) in
            _ = try call.query()
            var writer = JSONWriter()
            writer.object {
                $0.member("tenantId", call.caller.tenant.description)
                $0.member("keyId", call.caller.keyID)
                $0.member("scopes", call.caller.scopes.names)
            }
            return .json(writer.bytes)
        }
    }

    private var jobs: [Route] {
        let services = services
        return [
            endpoint.route(.get, "/v1/admin/jobs", "listJobs", .operator) { call throws(Failure) in
                _ = try call.query()
                let states = try await domain { () throws(ControlPlaneError) in
                    try await services.directory.jobs()
                }
                var writer = JSONWriter(capacity: 1024)
                writer.object {
                    $0.array("items") { writer in
                        for state in states { write(state, services.jobs, &writer) }
                    }
                }
                return .json(writer.bytes)
            },
            endpoint.route(.post, "/v1/admin/jobs/{name}/run", "runJob", .operator) {
                call throws(Failure) in
                _ = try call.bodyIfPresent(NoInput.self)
                let name = call.request.parameter("name") ?? ""
                let state = try await domain { () throws(ControlPlaneError) in
                    try await services.directory.runJob(name, by: call.actor)
                }
                var writer = JSONWriter()
                writer.object {
                    $0.member("name", state.name)
                    $0.member("nextRunAt", state.nextRunAt.description)
                }
                return .json(writer.bytes, status: .accepted)
            },
        ]
    }
}

private func write(_ state: JobState, _ jobs: [JobSchedule], _ writer: inout JSONWriter) {
    let interval = jobs.first { $0.name == state.name }?.interval.components.seconds
    writer.object {
        $0.member("name", state.name)
        $0.member("intervalS", orNull: interval)
        $0.member("holder", orNull: state.holder)
        $0.member("leaseUntil", orNull: state.leaseUntil?.description)
        $0.member("nextRunAt", state.nextRunAt.description)
        $0.member("startedAt", orNull: state.startedAt?.description)
        $0.member("finishedAt", orNull: state.finishedAt?.description)
        $0.member("durationMs", orNull: state.durationMs)
        $0.member("outcome", orNull: state.outcome)
        $0.member("failures", state.failures)
        $0.member("detail", raw: Array(state.detail.utf8))
    }
}
