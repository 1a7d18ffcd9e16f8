import HTTP
import IO
import Synchronization
import Testing

/// Serves on a loop of its own while `body` runs, then drains and stops.
///
/// Returns after the server has ended, so that what it leaves behind can be looked at.
func withServer(
    _ routes: [Route], unix: Bool = false,
    limits: HTTPLimits = HTTPLimits(), deadlines: HTTPDeadlines = .patient,
    observer: (any HTTPObserver)? = nil, finish: Routes.Finish? = nil,
    _ body: (Address, Server) async throws -> Void
) async throws {
    let loop = try EventLoop.start(name: "http-test")
    let asked: Address =
        unix
        ? .unix(path: "/tmp/bw-http-\(UInt64.random(in: 0 ... .max)).sock")
        : .tcp(host: "127.0.0.1", port: 0)
    let endpoint = try Listener.open(asked)
    let server = Server(
        on: loop, endpoints: [endpoint], routes: try Routes(routes, finish: finish), limits: limits,
        deadlines: deadlines, observer: observer)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask(executorPreference: loop) { try await server.run() }
        do {
            try await body(endpoint.address, server)
        } catch {
            await server.drain(within: .milliseconds(200))
            throw error
        }
        await server.drain(within: .seconds(5))
        try await group.waitForAll()
    }
    #expect(await server.connectionCount == 0)
    loop.stop()
}

extension HTTPDeadlines {
    /// For tests that are not about time: on a busy machine minutes may pass between two of their
    /// steps, and a client that was given up meanwhile would be waited for without end.
    static var patient: HTTPDeadlines {
        var deadlines = HTTPDeadlines()
        deadlines.head = .seconds(600)
        deadlines.bodyGrace = .seconds(600)
        deadlines.body = .seconds(600)
        deadlines.idle = .seconds(600)
        deadlines.writeStall = .seconds(600)
        return deadlines
    }
}

/// Remembers what a server told.
final class Recorder: HTTPObserver {
    struct Log {
        var exchanges: [(operation: String?, status: Int, bytesIn: Int, bytesOut: Int)] = []
        var opened = 0
        var ends: [ConnectionEnd] = []
    }

    let log = Mutex(Log())

    func finished(_ exchange: Exchange) {
        log.withLock {
            $0.exchanges.append(
                (
                    exchange.operationID, Int(exchange.status.code), exchange.bytesIn,
                    exchange.bytesOut
                ))
        }
    }

    func opened(peer: IPAddress?) { log.withLock { $0.opened += 1 } }
    func closed(peer: IPAddress?, _ end: ConnectionEnd) { log.withLock { $0.ends.append(end) } }

    var ends: [ConnectionEnd] { log.withLock { $0.ends } }
    var statuses: [Int] { log.withLock { $0.exchanges.map(\.status) } }
}
