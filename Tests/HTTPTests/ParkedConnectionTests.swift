import HTTP
import IO
import Synchronization
import TestSupport
import Testing

/// One that has been silent for `park` has no task; nobody must notice.
@Suite(.proves("H3")) struct `A parked connection` {
    private let get = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"

    private static func deadlines(idle: Duration = .seconds(600)) -> HTTPDeadlines {
        var deadlines = HTTPDeadlines.patient
        deadlines.idle = idle
        deadlines.park = .milliseconds(1)
        return deadlines
    }

    /// Returns when no connection of `count` has a task.
    private func parked(_ count: Int, _ server: Server) async {
        while await server.connectionCount < count { await Task.yield() }
        while await server.taskCount > 0 { await Task.yield() }
    }

    @Test(arguments: [false, true])
    func `is served as any other, again and again`(unix: Bool) async throws {
        let recorder = Recorder()
        try await withServer(
            echoRoutes, unix: unix, deadlines: Self.deadlines(), observer: recorder
        ) { address, server in
            let client = try RawClient(address)
            for _ in 0..<5 {
                await parked(1, server)
                try client.send(get)
                #expect(try client.response().text == "ok")
                await parked(1, server)
                try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
                while await server.taskCount == 0 { await Task.yield() }
                try client.send("cd" + get)
                #expect(try client.response().text == "abcd")
                #expect(try client.response().text == "ok")
            }
            #expect(await server.connectionCount == 1)
        }
        #expect(recorder.statuses == [Int](repeating: 200, count: 15))
        #expect(recorder.log.withLock { $0.opened } == 1)
    }

    @Test func `is closed when its client leaves, in order or by a reset`() async throws {
        let recorder = Recorder()
        try await withServer(echoRoutes, deadlines: Self.deadlines(), observer: recorder) {
            address, server in
            var client: RawClient? = try RawClient(address)
            await parked(1, server)
            client?.closeWrite()
            #expect(client?.isClosed() == true)
            client = try RawClient(address)
            try client?.send(get)
            _ = try client?.response()
            await parked(1, server)
            client = nil
            while recorder.ends.count < 2 { await Task.yield() }
            #expect(await server.connectionCount == 0)
        }
        #expect(recorder.ends == [.finished, .finished])
    }

    @Test func `is idle for no longer than others in all`() async throws {
        let recorder = Recorder()
        let start = ContinuousClock.now
        try await withServer(
            echoRoutes, deadlines: Self.deadlines(idle: .milliseconds(300)), observer: recorder
        ) { address, server in
            let client = try RawClient(address)
            #expect(client.isClosed())
            #expect(ContinuousClock.now - start >= .milliseconds(290))
        }
        #expect(recorder.ends == [.idle])
    }

    @Test func `that says half a request is too slow as any other`() async throws {
        var deadlines = Self.deadlines()
        deadlines.head = .milliseconds(50)
        try await withServer(echoRoutes, deadlines: deadlines) { address, server in
            let client = try RawClient(address)
            await parked(1, server)
            try client.send("GET /li")
            #expect(try client.response().status == 408)
            #expect(client.isClosed())
        }
    }

    @Test func `is closed by a drain, or served if its request was there before`() async throws {
        let recorder = Recorder()
        try await withServer(echoRoutes, deadlines: Self.deadlines(), observer: recorder) {
            address, server in
            let clients = try (0..<200).map { _ in try RawClient(address) }
            await parked(200, server)
            for client in clients.prefix(100) { try client.send(get) }
            await server.drain(within: .seconds(600))
            for client in clients.prefix(100) { #expect(try client.response().status == 200) }
            for client in clients { #expect(client.isClosed()) }
        }
        #expect(recorder.ends == [ConnectionEnd](repeating: .drained, count: 200))
    }

    @Test func `does not count as one less: the cap holds`() async throws {
        var limits = HTTPLimits()
        limits.connections = 3
        try await withServer(echoRoutes, limits: limits, deadlines: Self.deadlines()) {
            address, server in
            var clients = try (0..<3).map { _ in try RawClient(address) }
            await parked(3, server)
            let waiting = try RawClient(address)
            try waiting.send(get)
            #expect(throws: (any Error).self) { try waiting.response(patience: .milliseconds(50)) }
            clients.removeLast()
            #expect(try waiting.response().status == 200)
        }
    }
}
