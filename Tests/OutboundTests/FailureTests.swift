import IO
import Outbound
import Synchronization
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(3))) struct `A failed call` {
    @Test func `to a port where nobody listens was refused, not sent`() async throws {
        let port = try RawServer.freePort()
        try await withClient { client in
            let failure = try await client.failure(of: .post("http://127.0.0.1:\(port)/"))
            #expect(failure.kind == .refused)
            #expect(failure.phase == .connect)
            #expect(!failure.mayHaveBeenApplied)
        }
    }

    @Test func `to a name without address was not sent`() async throws {
        try await withClient { client in
            let failure = try await client.failure(of: .post("http://nothing.invalid/"))
            #expect(failure.kind == .name)
            #expect(failure.phase == .resolve)
            #expect(!failure.mayHaveBeenApplied)
        }
    }

    @Test(arguments: [false, true])
    func `after the request was reset or closed, and may have been applied`(
        _ isReset: Bool
    ) async throws {
        let server = try RawServer { peer, _ in
            if peer.request() != nil, isReset { peer.reset() }
        }
        defer { server.stop() }
        try await withClient { client in
            for request in [
                try HTTPClient.Request.post(server.url), try .get(server.url),
            ] {
                let failure = await client.failure(of: request)
                #expect(failure.kind == .reset)
                #expect(failure.phase == .awaitingHead)
                #expect(failure.mayHaveBeenApplied)
            }
        }
        #expect(server.requests.count == 2)
    }

    @Test(arguments: ["HTTP/1.1 20", "HTTP/1.1 200 OK\r\nContent-Le"])
    func `in the head has that phase`(_ text: String) async throws {
        let server = try RawServer { peer, _ in
            if peer.request() != nil {
                peer.send(text)
                usleepUntilRead()
                peer.reset()
            }
        }
        defer { server.stop() }
        try await withClient { client in
            let failure = try await client.failure(of: .post(server.url))
            #expect(failure.kind == .reset)
            // libcurl hands a line over when it is whole: half a status line is no octet of a head.
            #expect(failure.phase == (text.contains("\r\n") ? .head : .awaitingHead))
            #expect(failure.mayHaveBeenApplied)
        }
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ])
    func `in the body has that phase, whether reset or closed early`(_ text: String) async throws {
        let server = try RawServer { peer, number in
            if peer.request() != nil {
                peer.send(text)
                usleepUntilRead()
                if number == 1 { peer.reset() }
            }
        }
        defer { server.stop() }
        try await withClient { client in
            for _ in 0..<2 {
                let failure = try await client.failure(of: .post(server.url))
                #expect(failure.kind == .reset)
                #expect(failure.phase == .body)
            }
        }
    }

    @Test(arguments: [
        "SSH-2.0-x\r\n", "HTTP/1.1 \r\n\r\n", "<html>",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ])
    func `by an answer that is not HTTP says so`(_ text: String) async throws {
        let server = try RawServer { peer, _ in
            if peer.request() != nil {
                peer.send(text)
                _ = peer.waitForEnd()
            }
        }
        defer { server.stop() }
        try await withClient { client in
            let failure = try await client.failure(of: .post(server.url))
            #expect(failure.kind == .protocol, "\(failure)")
            #expect(failure.mayHaveBeenApplied)
        }
    }

    @Test func `in the middle of a large body was not wholly sent`() async throws {
        // The server reads the head and never the body: the kernels' buffers fill.
        let server = try RawServer { peer, _ in
            peer.readHead()
            usleepUntilRead()
            peer.reset()
        }
        defer { server.stop() }
        try await withClient { client in
            let body = String(repeating: "x", count: 64 << 20)
            let failure = try await client.failure(of: .post(server.url, body))
            #expect(failure.kind == .reset)
            #expect(failure.phase == .sending)
            #expect(!failure.mayHaveBeenApplied)
        }
        #expect(server.requests.isEmpty)
    }

    @Test(.proves("B2"), arguments: [1, 2, 5])
    func `on a kept connection was one request at the server, and a reset`(
        _ before: Int
    ) async throws {
        // libcurl would send it again on a new connection, whose answer would be a 200.
        let server = try RawServer { peer, number in
            guard number == 1 else {
                while peer.request() != nil { peer.answer() }
                return
            }
            for _ in 0..<before where peer.request() != nil { peer.answer() }
            if peer.request() != nil { peer.reset() }
        }
        defer { server.stop() }
        try await withClient { client in
            for _ in 0..<before { #expect(try await client.status("POST", server.url) == 200) }
            let begin = MonotonicInstant.now
            let failure = try await client.failure(of: .post(server.url, "{\"create\":1}"))
            #expect(begin.duration(to: .now) < .seconds(5))
            #expect(failure.kind == .reset)
            #expect(failure.phase == .awaitingHead)
            #expect(failure.mayHaveBeenApplied)
            let counters = await client.counters
            #expect(counters.reuses == before)
        }
        #expect(server.requests.count == before + 1)
    }

    @Test func `would be two requests if it were said to be repeatable: libcurl's own way`()
        async throws
    {
        let server = try RawServer { peer, number in
            if peer.request() != nil { peer.answer() }
            if peer.request() != nil { number == 1 ? peer.reset() : peer.answer() }
        }
        defer { server.stop() }
        try await withClient { client in
            #expect(try await client.status("POST", server.url) == 200)
            var request = try HTTPClient.Request.post(server.url, "{\"create\":1}")
            request.isRepeatable = true
            #expect(try await client.send(request).status == 200)
        }
        #expect(server.requests.filter { $0.hasSuffix("{\"create\":1}") }.count == 2)
    }

    @Test(arguments: ["DELETE", "POST"])
    func `on a kept connection without a body was one request too`(_ method: String) async throws {
        let server = try RawServer { peer, number in
            guard number == 1 else {
                while peer.request() != nil { peer.answer() }
                return
            }
            if peer.request() != nil { peer.answer() }
            _ = peer.request()  // and closes without an answer
        }
        defer { server.stop() }
        try await withClient { client in
            #expect(try await client.status("GET", server.url) == 200)
            let url = try HTTPClient.Request.sound(server.url)
            let failure = await client.failure(of: HTTPClient.Request(method, url))
            #expect(failure.kind == .reset)
            #expect(failure.mayHaveBeenApplied)
        }
        #expect(server.requests.count == 2)
    }

    @Test func `of a safe method on a kept connection is repeated by itself`() async throws {
        let server = try RawServer { peer, number in
            if peer.request() != nil { peer.answer("\(number)") }
            if number == 1 {
                if peer.request() != nil { peer.reset() }
            } else {
                while peer.request() != nil { peer.answer("\(number)") }
            }
        }
        defer { server.stop() }
        try await withClient { client in
            let first = try await client.text("GET", server.url)
            let second = try await client.text("GET", server.url)
            #expect([first, second] == ["1", "2"])
        }
        #expect(server.requests.count == 3)
    }

    @Test(.proves("H1"), arguments: ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
    func `to an address that is refused never left this machine's kernel`(
        _ host: String
    ) async throws {
        let server = try RawServer { _, _ in }
        defer { server.stop() }
        try await withClient {
            $0.addresses = AddressRule()
        } _: { client in
            let failure = try await client.failure(of: .get("http://\(host):\(server.port)/"))
            #expect(failure.kind == .addressRefused)
            #expect(failure.phase == .connect)
            #expect(failure.detail.contains("loopback"), "\(failure)")
            #expect(failure.detail.contains("BREAKWATER_ALLOW_PRIVATE_UPSTREAMS"))
        }
        #expect(server.connections == 0)
    }

    @Test(.proves("H1"))
    func `to a name that changes its address is judged by the one connected to`() async throws {
        let server = try RawServer { peer, _ in if peer.request() != nil { peer.answer() } }
        defer { server.stop() }
        // An address of the internet at first (where nothing answers here), loopback from then on.
        Names.rebindAnswers.withLock { $0 = ["192.88.98.1", "127.0.0.1"] }
        try await withClient {
            $0.addresses = AddressRule()
        } _: { client in
            let url = "http://rebind.test:\(server.port)/"
            let first = try await client.failure(of: .get(url, deadline: .milliseconds(300)))
            #expect([.timedOut, .unreachable, .refused].contains(first.kind), "\(first)")
            #expect(first.phase == .connect)
        }
        try await withClient {
            $0.addresses = AddressRule()
        } _: { client in
            let second = try await client.failure(of: .get("http://rebind.test:\(server.port)/"))
            #expect(second.kind == .addressRefused)
        }
        #expect(server.connections == 0)
        let lookUps = Names.lookUps.withLock { $0["rebind.test"] }
        #expect(lookUps == 2)
    }
}
