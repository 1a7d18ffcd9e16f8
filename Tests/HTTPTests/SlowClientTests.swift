import HTTP
import IO
import TestSupport
import Testing

@Suite(.proves("H3"), .serialized) struct `A slow client` {
    private static var deadlines: HTTPDeadlines {
        var deadlines = HTTPDeadlines()
        deadlines.head = .milliseconds(200)
        deadlines.bodyGrace = .milliseconds(200)
        deadlines.body = .milliseconds(400)
        deadlines.idle = .milliseconds(300)
        deadlines.writeStall = .milliseconds(200)
        deadlines.linger = .milliseconds(100)
        return deadlines
    }

    private let get = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"

    /// Sends an octet every 20 ms until the server has had enough; how long it took.
    private func trickle(_ client: RawClient, _ text: String) async throws -> Duration {
        let start = ContinuousClock.now
        for byte in text.utf8 {
            do { try client.send([byte]) } catch { break }
            if let response = try? client.response(patience: .milliseconds(20)) {
                #expect(response.status == 408)
                #expect(response.field("Connection") == "close")
                break
            }
        }
        return ContinuousClock.now - start
    }

    @Test func `is gone when its head takes too long, whatever it sends meanwhile`() async throws {
        let recorder = Recorder()
        try await withServer(echoRoutes, deadlines: Self.deadlines, observer: recorder) {
            address, _ in
            let client = try RawClient(address)
            let time = try await trickle(
                client, String(repeating: get, count: 3).replacing("\n\r", with: "\nX: y\r"))
            #expect(time > .milliseconds(150) && time < .seconds(15))
        }
        #expect(recorder.ends == [.requestTooSlow])
    }

    @Test func `is gone when its body takes too long`() async throws {
        let recorder = Recorder()
        try await withServer(echoRoutes, deadlines: Self.deadlines, observer: recorder) {
            address, _ in
            let client = try RawClient(address)
            try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
            let time = try await trickle(client, String(repeating: "a", count: 900))
            #expect(time > .milliseconds(150) && time < .seconds(15))
        }
        #expect(recorder.ends == [.requestTooSlow])
    }

    @Test func `is gone when it is idle, without an answer`() async throws {
        let recorder = Recorder()
        try await withServer(echoRoutes, deadlines: Self.deadlines, observer: recorder) {
            address, _ in
            let silent = try RawClient(address)
            let served = try RawClient(address)
            try served.send(get)
            _ = try served.response()
            #expect(silent.isClosed())
            #expect(served.isClosed())
        }
        #expect(recorder.ends == [.idle, .idle])
    }

    @Test func `is gone when it does not read`() async throws {
        let recorder = Recorder()
        let large = [UInt8](repeating: 0x61, count: 20_000_000)
        let routes = [Route(.get, "/large", "large") { _ in .json(large) }]
        try await withServer(routes, deadlines: Self.deadlines, observer: recorder) { address, _ in
            let client = try RawClient(address, receiveBuffer: 4096)
            try client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            let start = ContinuousClock.now
            while recorder.ends.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
            #expect(ContinuousClock.now - start < .seconds(15))
        }
        #expect(recorder.ends == [.readerTooSlow])
    }

    @Test func `makes us hold no more when it pipelines without reading`() async throws {
        let recorder = Recorder()
        let body = [UInt8](repeating: 0x61, count: 15_000)
        let routes = [Route(.get, "/", "root") { _ in .json(body) }]
        try await withServer(routes, deadlines: Self.deadlines, observer: recorder) { address, _ in
            let client = try RawClient(address, receiveBuffer: 4096)
            let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
            try? client.send(String(repeating: request, count: 5000))
            while recorder.ends.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
        }
        #expect(recorder.ends == [.readerTooSlow])
        // What went into the kernel's buffers was answered, and nothing like all of it.
        #expect(recorder.statuses.count < 2000)
    }

    @Test func `slows no fast one, a hundred of them neither`() async throws {
        var deadlines = Self.deadlines
        deadlines.head = .seconds(3)
        deadlines.body = .seconds(3)
        deadlines.bodyGrace = .seconds(3)
        try await withServer(echoRoutes, deadlines: deadlines) { address, _ in
            let slow = try (0..<100).map { index in
                let client = try RawClient(address)
                try client.send(
                    index % 2 == 0
                        ? "GET /li"
                        : "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nab")
                return client
            }
            let client = try RawClient(address)
            let start = ContinuousClock.now
            for _ in 0..<1000 {
                try client.send(get)
                #expect(try client.response().status == 200)
            }
            #expect(ContinuousClock.now - start < .seconds(15))
            for client in slow { #expect(try client.response().status == 408) }
        }
    }
}
