import Glibc
import IO
import Outbound
import Synchronization
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(3)), .serialized) struct `A streamed answer` {
    @Test func `hands its head out at once and its pieces as they come`() async throws {
        let (first, second) = (Gate(), Gate())
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            peer.send("HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n")
            first.wait()
            peer.send("5\r\nhello\r\n")
            second.wait()
            peer.send("5\r\nworld\r\n0\r\n\r\n")
        }
        defer { server.stop() }
        try await withClient { client in
            let stream = try await client.open(.post(server.url))
            #expect(stream.head.status == 200)
            #expect(stream.head.value("x-a") == "b")
            first.open()
            #expect(try await stream.next() == Array("hello".utf8))
            second.open()
            #expect(try await stream.next() == Array("world".utf8))
            #expect(try await stream.next() == nil)
            #expect(try await stream.next() == nil)
            #expect(await client.counters.inFlight == 0)
        }
    }

    @Test func `holds the sender back while nobody reads, and loses nothing`() async throws {
        let total = 64 << 20
        let progress = Mutex((sent: 0, isStuck: false))
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: \(total)\r\n\r\n")
            let piece = [UInt8](repeating: 7, count: 65_536)
            // Blocks when the kernels' buffers, libcurl's and ours are full.
            let taken = peer.sendUntilStuck(piece, stuckFor: 300)
            progress.withLock { $0 = (taken, true) }
            peer.unsetTimeout()
            peer.send([UInt8](repeating: 7, count: total - taken))
        }
        defer { server.stop() }
        try await withClient {
            $0.streamBufferBytes = 65_536
            $0.bodyBytes = total
        } _: { client in
            let stream = try await client.open(.get(server.url, deadline: .seconds(60)))
            try await eventually { progress.withLock { $0.isStuck } }
            let sent = progress.withLock { $0.sent }
            #expect(sent < 16 << 20, "\(sent) octets were taken although nobody read")
            var received = 0
            var largest = 0
            while let piece = try await stream.next() {
                received += piece.count
                largest = max(largest, piece.count)
            }
            #expect(received == total)
            // What we hold is bounded: our buffer, and one write of libcurl's (16 KiB) over it.
            #expect(largest <= 65_536 + 16_384, "\(largest)")
        }
    }

    @Test func `that is broken off fails after what came of it`() async throws {
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        }
        defer { server.stop() }
        try await withClient { client in
            let stream = try await client.open(.post(server.url))
            #expect(try await stream.next() == Array("hello".utf8))
            await #expect(throws: HTTPClient.Failure.self) { try await stream.next() }
        }
    }

    @Test
    func
        `that is longer than its bound never ends soundly, even if its last octets were held back`()
        async throws
    {
        // Two writes of libcurl's: the second waits for the reader, and is over the bound.
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            let body = String(repeating: "x", count: 32_000)
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            peer.send("7d00\r\n\(body)\r\n0\r\n\r\n")
            _ = peer.waitForEnd()
        }
        defer { server.stop() }
        try await withClient {
            $0.streamBufferBytes = 4096
            $0.bodyBytes = 31_000
        } _: { client in
            let stream = try await client.open(.post(server.url))
            let failure = await #expect(throws: HTTPClient.Failure.self) {
                while try await stream.next() != nil {}
            }
            #expect(failure?.kind == .tooLarge)
            #expect(await client.counters.inFlight == 0)
        }
    }

    @Test func `that is dropped ends its call and connection`() async throws {
        let hasEnded = Mutex(false)
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            let isEnd = peer.waitForEnd()
            hasEnded.withLock { $0 = isEnd }
        }
        defer { server.stop() }
        try await withClient { client in
            var stream: HTTPClient.BodyStream? = try await client.open(.post(server.url))
            #expect(try await stream?.next() != nil)
            #expect(await client.counters.inFlight == 1)
            stream = nil
            try await eventually { hasEnded.withLock { $0 } }
            #expect(await client.counters.inFlight == 0)
        }
    }

    @Test func `that is left keeps its connection if its rest comes soon`() async throws {
        let server = try RawServer { peer, _ in
            while peer.request() != nil {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                usleep(50_000)
                peer.send("world")
            }
        }
        defer { server.stop() }
        try await withClient { client in
            for isFresh in [false, false, true] {
                var request = try HTTPClient.Request.post(server.url)
                request.needsFreshConnection = isFresh
                let stream = try await client.open(request)
                #expect(try await stream.next() != nil)
                await stream.leave()
                try await eventually { await client.counters.inFlight == 0 }
            }
            let counters = await client.counters
            #expect(counters.connections == 2 && counters.reuses == 1)
            #expect(counters.calls == [.init(kind: nil, phase: nil): 3])
        }
    }

    @Test func `that is left and does not end is ended`() async throws {
        let hasEnded = Mutex(false)
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            let isEnd = peer.waitForEnd()
            hasEnded.withLock { $0 = isEnd }
        }
        defer { server.stop() }
        try await withClient { client in
            let stream = try await client.open(.post(server.url, deadline: .seconds(60)))
            #expect(try await stream.next() != nil)
            await stream.leave()
            try await eventually { hasEnded.withLock { $0 } }
            #expect(await client.counters.calls == [.init(kind: .cancelled, phase: .body): 1])
        }
    }

    @Test func `ends by its deadline even while it is held back`() async throws {
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            while peer.send([UInt8](repeating: 7, count: 65_536)) {}
        }
        defer { server.stop() }
        try await withClient {
            $0.bodyBytes = 1 << 30
        } _: { client in
            let stream = try await client.open(.get(server.url, deadline: .milliseconds(300)))
            try await eventually { await client.counters.inFlight == 0 }
            let failure = await #expect(throws: HTTPClient.Failure.self) {
                while try await stream.next() != nil {}
            }
            #expect(failure?.kind == .timedOut)
            #expect(failure?.phase == .body)
        }
    }
}
