import ControlPlane
import HTTP
import IO
import JSON
import Outbound
import Postgres
import ServiceSupport
import Simulator
import Testing

/// A simulated provider that fails as it is told to.
struct FailingProvider {
    private static let key = "e2b_00a1"
    private let address: Address

    static func with(_ body: (FailingProvider) async throws -> Void) async throws {
        let text = script(faults: "[]")
        let loop = try EventLoop.start(name: "sim-test")
        let server = try SimulatorServer(
            on: loop, try JSONReader.decode(Script.self, from: Array(text.utf8)),
            text: Array(text.utf8), defaultAddress: .tcp(host: "127.0.0.1", port: 0))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask(executorPreference: loop) { try await server.run() }
            let outcome: Result<Void, any Error>
            do {
                try await body(FailingProvider(address: server.addresses[0].addresses[0]))
                outcome = .success(())
            } catch {
                outcome = .failure(error)
            }
            await server.drain(within: .milliseconds(200))
            try await group.waitForAll()
            try outcome.get()
        }
        loop.stop()
    }

    private static func script(faults: String) -> String {
        """
        {"seed": 7, "faults": \(faults), "regions": [
          {"name": "us", "listen": ["127.0.0.1:0"], "domain": "us.example",
           "keys": {"one": "\(key)"},
           "latency": {"createMs": 1, "otherMs": 0, "commandMs": 0, "sigma": 0}}]}
        """
    }

    /// From now on every call of it.
    func fail(with status: Int) async throws {
        let script = Self.script(
            faults: #"[{"effects": [{"effect": "error", "status": \#(status)}]}]"#)
        let answer = try await Client(address).send("PUT", "/_sim/script", script)
        #expect(answer.status == 204, "\(answer.text)")
    }

    /// Makes it the tenant's region `us`. Not through the API, which takes no provider on loopback.
    func addRegion(of tenant: Tenant.ID, _ plane: Plane) async throws {
        let draft = Regions.Draft(
            apiURL: "http://\(address)", domain: "us.example", apiKey: Self.key)
        _ = try await Regions(plane.reads, plane.secrets).put(
            "us", draft, of: tenant, if: .none, by: .system)
    }
}
