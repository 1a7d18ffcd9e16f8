import HTTP
package import IO

/// A provider that is being served: a server for each region, all on one loop.
package struct SimulatorServer: Sendable {
    package let provider: Provider
    /// For each region its name and where it listens.
    package let addresses: [(region: String, addresses: [Address])]
    private let servers: [Server]

    /// Opens every region's addresses.
    ///
    /// - Parameter defaultAddress: of a region that names none.
    /// - Throws: `CannotListen`, e.g. when an address is in use.
    package init(
        on loop: EventLoop, _ script: Script, text: [UInt8], defaultAddress: Address
    ) throws {
        provider = Provider(on: loop, script, text: text)
        var servers: [Server] = []
        var addresses: [(region: String, addresses: [Address])] = []
        for (index, region) in script.regions.enumerated() {
            let wanted =
                region.listen.isEmpty ? [defaultAddress] : region.listen.compactMap { Address($0) }
            var endpoints: [Server.Endpoint] = []
            for address in wanted {
                do throws(IOError) {
                    endpoints.append(try Listener.open(address, reusePort: false))
                } catch {
                    throw CannotListen(region: region.name, address: address, error: error)
                }
            }
            var limits = HTTPLimits()
            limits.bodyBytes = 65_536
            servers.append(
                Server(
                    on: loop, endpoints: endpoints, routes: try provider.routes(region: index),
                    limits: limits))
            addresses.append((region.name, endpoints.map(\.address)))
        }
        self.servers = servers
        self.addresses = addresses
    }

    /// Serves until drained or cancelled. Run it in a task that prefers the loop.
    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for server in servers {
                group.addTask(executorPreference: provider.loop) { try await server.run() }
            }
            try await group.waitForAll()
        }
    }

    /// Stops accepting, finishes what is in hand, cuts off what is left after `limit`.
    package func drain(within limit: Duration) async {
        for server in servers { await server.drain(within: limit) }
    }
}

/// Why a region has no address.
package struct CannotListen: Error, CustomStringConvertible {
    let region: String
    let address: Address
    let error: IOError

    package var description: String {
        "region \(region) cannot listen on \(address): \(error); "
            + "choose another with --listen, or with \"listen\" in the script"
    }
}
