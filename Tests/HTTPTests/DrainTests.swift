import HTTP
import IO
import TestSupport
import Testing

@Suite(.proves("H3")) struct `A drain` {
    private let get = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func `closes idle clients and accepts no more`() async throws {
        let recorder = Recorder()
        try await withServer(echoRoutes, observer: recorder) { address, server in
            let idle = try RawClient(address)
            try idle.send(get)
            _ = try idle.response()
            let silent = try RawClient(address)
            while await server.connectionCount < 2 { await Task.yield() }
            await server.drain(within: .seconds(5))
            #expect(idle.isClosed())
            #expect(silent.isClosed())
            #expect(throws: (any Error).self) { try RawClient(address) }
        }
        #expect(recorder.ends == [.drained, .drained])
    }

    @Test func `finishes the request in hand with Connection: close`() async throws {
        let gate = Gatekeeper()
        defer { gate.open() }
        let routes =
            echoRoutes + [
                Route(.get, "/slow", "slow") { _ in
                    await gate.wait()
                    return .text("slow")
                }
            ]
        try await withServer(routes) { address, server in
            let client = try RawClient(address)
            try client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            let half = try RawClient(address)
            try half.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
            await gate.arrivals(1)
            while await server.connectionCount < 2 { await Task.yield() }
            try await Task.sleep(for: .milliseconds(20))
            await server.drain(within: .seconds(300))
            try half.send("cd")
            let finished = try half.response()
            #expect(finished.text == "abcd")
            #expect(finished.field("Connection") == "close")
            gate.open()
            let response = try client.response()
            #expect(response.text == "slow")
            #expect(response.field("Connection") == "close")
            #expect(client.isClosed())
        }
    }

    @Test func `cuts off what is left at its deadline`() async throws {
        let routes = [
            Route(.get, "/never", "never") { _ in
                try? await Task.sleep(for: .seconds(3600))  // ends when cancelled
                return .text("late")
            }
        ]
        let start = ContinuousClock.now
        try await withServer(routes) { address, server in
            let client = try RawClient(address)
            try client.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
            let half = try RawClient(address)
            try half.send("GET /ne")
            while await server.connectionCount < 2 { await Task.yield() }
            try await Task.sleep(for: .milliseconds(20))
            await server.drain(within: .milliseconds(100))
            #expect((try? client.response()) == nil)
            #expect((try? half.response()) == nil)
        }
        // not the hour that the handler asks for
        #expect(ContinuousClock.now - start < .seconds(30))
    }
}

@Suite(.proves("H3")) struct `A cap on connections` {
    private let get = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func `makes the next client wait for a place`() async throws {
        var limits = HTTPLimits()
        limits.connections = 2
        try await withServer(echoRoutes, limits: limits) { address, server in
            var first: RawClient? = try RawClient(address)
            try first?.send(get)
            _ = try first?.response()
            let second = try RawClient(address)
            try second.send(get)
            _ = try second.response()
            let third = try RawClient(address)
            try third.send(get)
            #expect(throws: (any Error).self) { try third.response(patience: .milliseconds(50)) }
            #expect(await server.connectionCount == 2)
            first = nil
            #expect(try third.response().status == 200)
        }
    }

    @Test func `per address answers 503 and closes`() async throws {
        var limits = HTTPLimits()
        limits.connectionsPerAddress = 2
        let recorder = Recorder()
        try await withServer(echoRoutes, limits: limits, observer: recorder) { address, server in
            var clients = try (0..<2).map { _ in try RawClient(address) }
            while await server.connectionCount < 2 { await Task.yield() }
            let third = try RawClient(address)
            let response = try third.response()
            #expect(response.status == 503)
            #expect(response.field("Retry-After") == "1")
            #expect(third.isClosed())
            clients.removeFirst()
            while await server.connectionCount > 1 { await Task.yield() }
            let fourth = try RawClient(address)
            try fourth.send(get)
            #expect(try fourth.response().status == 200)
        }
        #expect(recorder.ends.contains(.addressCap))
    }

    @Test func `bounds the bodies that arrive at once`() async throws {
        var limits = HTTPLimits()
        limits.bufferedBodyBytes = 100_000
        try await withServer(echoRoutes, limits: limits) { address, _ in
            let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n"
            let part = [UInt8](repeating: 0x61, count: 80_000)
            let first = try RawClient(address)
            try first.send(Array(head.utf8) + part)
            try await Task.sleep(for: .milliseconds(50))
            let second = try RawClient(address)
            try second.send(Array(head.utf8) + part)
            #expect(try second.response().status == 503)
            try first.send([UInt8](repeating: 0x61, count: 10_000))
            #expect(try first.response().body.count == 90_000)
        }
    }
}
