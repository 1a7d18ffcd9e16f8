import ArgumentParser
import Glibc
import HTTP
import IO
import JSON
import Simulator
import UnixSignals

struct Simulate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Play a sandbox provider that fails as it is told to.",
        discussion: """
            Speaks E2B's control plane and enough of its sandboxes for the stock SDK, on addresses \
            of its own and without a database. Without --script there is one healthy region, and \
            what points the SDK at it is printed, e.g.

                export E2B_API_URL=http://127.0.0.1:3100
                export E2B_SANDBOX_URL=http://127.0.0.1:3100
                export E2B_API_KEY=e2b_53a9...

            Faults come from the script or, while it runs, by PUT /_sim/script; what was asked and \
            what became of it is at GET /_sim/book and /_sim/sandboxes. docs/simulator.md has the \
            script's form with examples. Whoever reaches its address steers it: keep it on loopback.
            """)

    @Option(name: .long, help: "JSON file with regions and faults; - is standard input.")
    var script: String?

    @Option(name: .long, help: "Where a region listens that the script gives no address.")
    var listen = "127.0.0.1:3100"

    @Option(name: .long, help: "API key of the region that there is without a script.")
    var key = "e2b_53a9d2c4b7e8f1065a3b9c0d4e7f82161b5c8d3a"

    @Option(name: .long, help: "Seed, instead of the script's; 0 or more.")
    var seed: UInt64?

    @Flag(name: .long, help: "Only say whether the script is sound.")
    var check = false

    func run() async throws {
        let (script, text) = try readScript()
        if check { return print("the script is sound", to: .standardOutput) }
        guard let address = Address(listen), case .tcp = address else {
            throw ValidationError("--listen \(listen): must be host:port with an IP address")
        }
        do {
            try await simulate(script, text, address)
        } catch {
            print("breakwater: \(describe(error))", to: .standardError)
            throw ExitCode(1)
        }
    }

    /// The script that is given, or one of a single healthy region; and its text.
    private func readScript() throws -> (Script, [UInt8]) {
        var text = usualScript
        if let file = script {
            guard let read = readFile(file == "-" ? "/dev/stdin" : file) else {
                throw ValidationError("--script: cannot read \(file), or it is longer than 1 MiB")
            }
            text = Array(read.utf8)
        }
        do throws(JSONError) {
            var script = try JSONReader.decode(Script.self, from: text)
            if let seed { script.seed = seed }
            return (script, text)
        } catch {
            let place = error.pointer.isEmpty ? "" : error.pointer + ": "
            throw ValidationError("\(script ?? "--key"): \(place)\(error.message)")
        }
    }

    private var usualScript: [UInt8] {
        var writer = JSONWriter()
        writer.object { json in
            json.array("regions") { json in
                json.object { json in
                    json.member("name", "sim")
                    json.object("keys") { $0.member("primary", key) }
                }
            }
        }
        return writer.bytes
    }
}

/// Serves until SIGTERM or SIGINT.
private func simulate(_ script: Script, _ text: [UInt8], _ address: Address) async throws {
    _ = signal(SIGPIPE, SIG_IGN)
    let stop = Stop()
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    let loop = try EventLoop.start(name: "bw-simulator")
    let server = try SimulatorServer(on: loop, script, text: text, defaultAddress: address)
    for line in greeting(server, script) { print(line, to: .standardOutput) }
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await stop.watch(signals) { _ in } }
        group.addTask {
            await stop.wait()
            await server.drain(within: .seconds(2))
        }
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await run(server))
        } catch {
            outcome = .failure(error)
        }
        group.cancelAll()
        try outcome.get()
    }
    loop.stop()
}

private func run(_ server: SimulatorServer) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask(executorPreference: server.provider.loop) { try await server.run() }
        try await group.waitForAll()
    }
}

/// For each region where it is and how the SDK gets there.
private func greeting(_ server: SimulatorServer, _ script: Script) -> [String] {
    zip(server.addresses, script.regions).flatMap { place, region in
        let url = "http://\(place.addresses[0])"
        return [
            "# region \(region.name) listens on "
                + place.addresses.map(\.description).joined(separator: ", "),
            "export E2B_API_URL=\(url)",
            "export E2B_SANDBOX_URL=\(url)",
            "export E2B_API_KEY=\(region.keys[0].secret)",
        ]
    }
}
