import API
import ControlPlane
import HTTP
import IO
import Postgres
import ServiceSupport
import TestSupport

// Calls that fail for what is around them: limits, and a database that is not there.
extension WrongCalls {
    /// Past the server's bounds: of time, of requests in hand, of connections.
    func underLimits(_ plane: Plane) async throws {
        let tenant = try await plane.makeTenant()
        let key = try await plane.directory.createKey(
            for: tenant, name: "all", scopes: [.record, .sandbox, .read, .admin], expiresAt: nil,
            by: .system
        ).1?.text
        let fleet = newKey()
        try await plane.directory.adoptOperatorKey(fleet)

        // It was given no key to seal secrets with.
        try await serving(plane) { address in
            let call = Caller(calls: self, address: address, key: fleet.text)
            try await call("rotateSecrets", "POST", "/v1/admin/secrets/rotate", "{}")
            try await call(
                "putTenantRegion", "PUT", "/v1/admin/tenants/\(tenant)/regions/eu", Self.region)
            try await call(
                "createAlertChannel", "POST", "/v1/alert-channels", Self.channel("a"))
            let made = try await AlertChannels(plane.reads, plane.secrets).create(
                Self.channelDraft, of: .fleet, by: .system)
            try await call(
                "changeAlertChannel", "PATCH", "/v1/alert-channels/\(made.value.id)",
                #"{"url":"https://a.example/other"}"#)
        }
        var deadlines = HTTPDeadlines()
        deadlines.head = .milliseconds(20)
        try await serving(plane, deadlines: deadlines) { address in
            for operation in operations {
                try await send(
                    operation.id, "\(operation.method) \(operation.target()) HTTP/1.1\r\nHost:",
                    to: address)
            }
        }
        var settings = APISettings()
        settings.maxInFlightPerTenant = 0
        try await serving(plane, settings) { address in
            for operation in operations where !operation.scopes.isEmpty {
                let key = operation.scopes == ["operator"] ? fleet.text : key
                let request = Self.request(
                    operation.method, operation.target(), key: key, body: operation.body)
                try await send(operation.id, request, to: address)
            }
        }
        var limits = HTTPLimits()
        limits.connectionsPerAddress = 0
        try await serving(plane, limits: limits) { address in
            // It is turned away before it can say what it wants.
            for operation in operations { try await send(operation.id, "", to: address) }
        }
    }

    /// With a database that has no schema, and with none at all.
    func withoutDatabase() async throws {
        try await TestDatabase.withDatabase { try await allFail(on: $0, isReady: true) }
        let dropped = try await TestDatabase.withDatabase { $0 }
        try await allFail(on: dropped, isReady: false)
    }

    private func allFail(on url: String, isReady: Bool) async throws {
        let key = newKey().text
        // Only what is away for good is not waited for: on a busy machine the other takes its time.
        let wait: Duration = isReady ? .seconds(10) : .milliseconds(100)
        try await Plane.with(url: url, connectWait: wait) { plane in
            try await serving(plane, isReady: isReady) { address in
                for operation in operations {
                    let request = Self.request(
                        operation.method, operation.target(), key: key, body: operation.body)
                    try await send(operation.id, request, to: address)
                }
            }
        }
    }

    /// The API of a plane, with nothing else around it.
    private func serving(
        _ plane: Plane, _ settings: APISettings = APISettings(), isReady: Bool = true,
        limits: HTTPLimits = HTTPLimits(), deadlines: HTTPDeadlines = HTTPDeadlines(),
        _ body: (Address) async throws -> Void
    ) async throws {
        let readiness = Readiness()
        if !isReady { readiness.set("database", down: "away") }
        let services = Services(
            keys: plane.keys, ledger: plane.ledger, breakers: plane.breakers,
            attempts: plane.attempts, regions: plane.regions, budget: plane.budget,
            sandboxes: plane.sandboxes, events: plane.events,
            alertSender: plane.alertSender, pipeline: plane.reads, jobs: [],
            settings: settings,
            readiness: readiness, metricsPage: { "" }, tell: { _ in })
        let endpoint = try Listener.open(.tcp(host: "127.0.0.1", port: 0))
        let server = Server(
            on: plane.loop, endpoints: [endpoint], routes: try Routes(apiRoutes(services)),
            limits: limits, deadlines: deadlines)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask(executorPreference: plane.loop) { try await server.run() }
            let outcome: Result<Void, any Error>
            do { outcome = .success(try await body(endpoint.address)) } catch {
                outcome = .failure(error)
            }
            await server.drain(within: .seconds(2))
            try await group.waitForAll()
            try outcome.get()
        }
    }
}

private func newKey() -> APIKeySecret {
    var random = SystemRandomNumberGenerator()
    return APIKeySecret(using: &random)
}
