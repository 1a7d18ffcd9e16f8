package import API
package import ControlPlane
package import HTTP
import IO
import Outbound
import Postgres

/// A plane with the API in front of it, over a real socket.
package struct Served: Sendable {
    package let plane: Plane
    /// Without a key.
    package let client: Client
    package let operatorKey: String
    package let readiness: Readiness
    package let routes: [Route]

    package static func with<Answer: Sendable>(
        clock: TestClock? = nil, settings: APISettings = APISettings(),
        _ body: @Sendable (Served) async throws -> Answer
    ) async throws -> Answer {
        try await Plane.with(clock: clock) { plane in try await with(plane, settings, body) }
    }

    package static func with<Answer: Sendable>(
        _ plane: Plane, _ settings: APISettings = APISettings(),
        _ body: @Sendable (Served) async throws -> Answer
    ) async throws -> Answer {
        let readiness = Readiness()
        let metrics = LoopMetrics()
        let jobs: [any Job] = [CleanupJob(), PartitionsJob(), RollUpJob(), TenantRemovalJob(), AlertJob()]
        let scheduler = Scheduler(
            on: plane.loop, jobs, pipeline: plane.reads, instance: "test", tell: { _ in })
        let services = Services(
            keys: plane.keys, ledger: plane.ledger, breakers: plane.breakers,
            attempts: plane.attempts, regions: plane.regions, budget: plane.budget,
            sandboxes: plane.sandboxes, events: plane.events,
            alertSender: plane.alertSender, pipeline: plane.reads,
            jobs: jobs.map { JobSchedule($0) }, settings: settings, readiness: readiness,
            secrets: plane.secrets,
            metricsPage: {
                MetricsPage.render(
                    loops: [metrics], ledgers: [await plane.ledger.counters],
                    breakers: [await plane.breakers.counters],
                    attempts: [await plane.attempts.counters],
                    creations: [await CreationMetrics(plane.sandboxes.creations)],
                    events: EventMetrics(
                        buffer: plane.buffer.counters, waiting: plane.buffer.count,
                        writer: await plane.eventWriter.counters,
                        hub: await plane.events.counters),
                    alerts: [await plane.alertSender.counters], isDatabaseUp: true,
                    jobRuns: await scheduler.runs, build: [("version", "test")])
            }, tell: { _ in })
        let routes = apiRoutes(services)
        let endpoint = try Listener.open(.tcp(host: "127.0.0.1", port: 0))
        let server = Server(
            on: plane.loop, endpoints: [endpoint], routes: try Routes(routes + gatewayRoutes(services) + dashboardRoutes()),
            observer: metrics)
        var random = SystemRandomNumberGenerator()
        let key = APIKeySecret(using: &random)
        try await plane.directory.adoptOperatorKey(key)
        let served = Served(
            plane: plane, client: Client(endpoint.address), operatorKey: key.text,
            readiness: readiness, routes: routes)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask(executorPreference: plane.loop) { try await server.run() }
            // Registered by the scheduler at its first look, which this test need not wait for.
            for job in jobs { await scheduler.runIfDue(job) }
            let outcome: Result<Answer, any Error>
            do { outcome = .success(try await body(served)) } catch { outcome = .failure(error) }
            await server.drain(within: .seconds(2))
            try await group.waitForAll()
            return try outcome.get()
        }
    }

    package var asOperator: Client { client.with(key: operatorKey) }

    /// A new tenant and a client with a key of it.
    package func tenant(_ scopes: Scopes = [.record, .read]) async throws -> (Tenant.ID, Client) {
        let tenant = try await plane.makeTenant()
        let (_, secret) = try await plane.directory.createKey(
            for: tenant, name: "test", scopes: scopes, expiresAt: nil, by: .system)
        return (tenant, client.with(key: secret?.text))
    }
}
