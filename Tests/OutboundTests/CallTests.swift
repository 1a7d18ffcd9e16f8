import IO
import Outbound
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(3))) struct `An outbound call` {
    @Test func `sends what it was given and answers status, fields and body`() async throws {
        let server = try RawServer { peer, _ in
            while peer.request() != nil {
                peer.send(
                    "HTTP/1.1 201 Created\r\nX-One: a\r\nx-one:  b \r\nEmpty:\r\nContent-Length: 5\r\n\r\nhello"
                )
            }
        }
        defer { server.stop() }
        try await withClient { client in
            var request = try HTTPClient.Request.post(server.url + "/a/../b?c=%2F", "{\"x\":1}")
            request.fields = [
                HTTPClient.Field("Content-Type", "application/json"),
                HTTPClient.Field("traceparent", "00-1"), HTTPClient.Field("X-Empty", ""),
            ]
            let response = try await client.send(request)
            #expect(response.status == 201)
            #expect(response.body == Array("hello".utf8))
            #expect(response.head.value("X-ONE") == "a")
            #expect(
                response.head.fields == [
                    HTTPClient.Field("X-One", "a"), HTTPClient.Field("x-one", "b"),
                    HTTPClient.Field("Empty", ""), HTTPClient.Field("Content-Length", "5"),
                ])
        }
        // Nothing of libcurl's own: no Accept, Accept-Encoding, Expect or User-Agent.
        #expect(
            server.requests == [
                "POST /a/../b?c=%2F HTTP/1.1\r\nHost: 127.0.0.1:\(server.port)\r\n"
                    + "Content-Type: application/json\r\ntraceparent: 00-1\r\nX-Empty:\r\n"
                    + "Content-Length: 7\r\n\r\n{\"x\":1}"
            ])
    }

    @Test(
        arguments: [
            ("GET", nil, "GET"), ("HEAD", nil, "HEAD"), ("DELETE", nil, "DELETE"),
            ("POST", nil, "POST"), ("PUT", "x", "PUT"), ("PATCH", "y", "PATCH"),
            ("DELETE", "z", "DELETE"),
        ] as [(String, String?, String)])
    func `is framed by its method and body`(
        _ method: String, _ body: String?, _ line: String
    ) async throws {
        let server = try RawServer { peer, _ in
            if let request = peer.request() {
                peer.answer(request.hasPrefix("HEAD") ? "" : "ok")
            }
        }
        defer { server.stop() }
        try await withClient { client in
            let url = try HTTPClient.Request.sound(server.url)
            let response = try await client.send(
                HTTPClient.Request(method, url, body: body.map { Array($0.utf8) }))
            #expect(response.status == 200)
            #expect(response.body == Array((method == "HEAD" ? "" : "ok").utf8))
        }
        let length = body.map { $0.utf8.count } ?? (method == "POST" ? 0 : nil)
        #expect(server.requests.count == 1)
        let sent = server.requests.first ?? ""
        #expect(sent.hasPrefix(line + " / HTTP/1.1\r\n"))
        #expect(sent.contains("Content-Length") == (length != nil))
        if let length { #expect(sent.contains("Content-Length: \(length)\r\n")) }
        #expect(sent.hasSuffix("\r\n\r\n" + (body ?? "")) || body == nil)
        #expect(!sent.contains("Transfer-Encoding"))
    }

    @Test(arguments: [
        HTTPClient.Field("X", "a\r\nY: b"), HTTPClient.Field("X", "a\nb"),
        HTTPClient.Field("X", "a\u{0}b"), HTTPClient.Field("X\r\nY", "a"),
        HTTPClient.Field("X:Y", "a"), HTTPClient.Field("", "a"), HTTPClient.Field("Ä", "a"),
        HTTPClient.Field("Content-Length", "1"), HTTPClient.Field("transfer-encoding", "chunked"),
        HTTPClient.Field("Host", "other"), HTTPClient.Field("Connection", "close"),
        HTTPClient.Field("X", String(repeating: "a", count: 16_385)),
    ])
    func `is refused with a field that could change the message`(
        _ field: HTTPClient.Field
    ) async throws {
        let server = try RawServer { peer, _ in if peer.request() != nil { peer.answer() } }
        defer { server.stop() }
        try await withClient { client in
            var request = try HTTPClient.Request.get(server.url)
            request.fields = [field]
            let failure = await client.failure(of: request)
            #expect(failure.kind == .invalid)
            #expect(!failure.mayHaveBeenApplied)
        }
        #expect(server.connections == 0)
    }

    @Test func `skips interim answers, reads chunks and leaves trailers out`() async throws {
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            peer.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n  folded: x\r\n\r\n")
            peer.send("5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\nX-Trailer: t\r\n\r\n")
        }
        defer { server.stop() }
        try await withClient { client in
            let response = try await client.send(.post(server.url))
            #expect(response.body == Array("hello world".utf8))
            #expect(response.head.fields == [HTTPClient.Field("Transfer-Encoding", "chunked")])
        }
    }

    @Test func `follows no redirect and unpacks nothing`() async throws {
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            peer.answer(
                "\u{1f}raw", status: "302 Found",
                fields:
                    "Location: http://127.0.0.1:1/\r\nContent-Encoding: gzip\r\nSet-Cookie: a=b\r\n"
            )
        }
        defer { server.stop() }
        try await withClient { client in
            let response = try await client.send(.get(server.url))
            #expect(response.status == 302)
            #expect(response.body == Array("\u{1f}raw".utf8))
        }
        #expect(server.connections == 1)
    }

    @Test(arguments: [true, false])
    func `answers a head or a body over its bound with a failure`(_ isHead: Bool) async throws {
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            peer.send("HTTP/1.1 200 OK\r\n")
            let line = isHead ? "X: " + String(repeating: "a", count: 1000) + "\r\n" : "\r\n"
            for _ in 0..<100_000 where !peer.send(line) { return }
        }
        defer { server.stop() }
        try await withClient {
            $0.headBytes = 10_000
            $0.bodyBytes = 100_000
        } _: { client in
            let failure = try await client.failure(of: .post(server.url))
            #expect(failure.kind == .tooLarge)
            #expect(failure.phase == (isHead ? .head : .body))
            #expect(failure.mayHaveBeenApplied)
            #expect(await client.counters.inFlight == 0)
        }
    }

    @Test func `refuses a body that its length says is too long, without reading it`() async throws
    {
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4294967296\r\n\r\n")
            _ = peer.waitForEnd()
        }
        defer { server.stop() }
        try await withClient { client in
            let failure = try await client.failure(of: .get(server.url))
            #expect(failure.kind == .tooLarge)
        }
    }

    @Test func `uses a connection again, and not one that the server closed meanwhile`()
        async throws
    {
        let server = try RawServer { peer, number in
            for _ in 0..<(number == 1 ? 3 : 100) {
                guard peer.request() != nil else { return }
                peer.answer("\(number)")
            }
        }
        defer { server.stop() }
        try await withClient { client in
            for _ in 0..<3 {
                #expect(try await client.text("POST", server.url) == "1")
            }
            // The first connection is closed by the server now; its end arrives on loopback at once,
            // but on a thread of its own.
            let answer = await eventualAnswer(client, try .post(server.url))
            #expect(answer == "2")
            let counters = await client.counters
            #expect(counters.connections == 2)
            #expect(counters.reuses >= 2)
        }
        #expect(server.connections == 2)
    }

    @Test func `stays on its loop from beginning to end`() async throws {
        let server = try RawServer { peer, _ in while peer.request() != nil { peer.answer() } }
        defer { server.stop() }
        try await withClient { client in
            let request = try HTTPClient.Request.post(server.url)
            let before = client.loop.foreignWakeups
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: client.loop) {
                    for _ in 0..<100 {
                        let answer = try await client.send(request)
                        #expect(answer.status == 200)
                    }
                }
                try await group.waitForAll()
            }
            // Starting and ending the task comes from this test's own thread.
            let wakeups = client.loop.foreignWakeups - before
            #expect(wakeups < 4, "\(wakeups) wake-ups in 100 calls")
            #expect(await client.counters.connections == 1)
        }
    }

    /// The first answer that is not a reset, of a call that is not repeated by itself.
    private func eventualAnswer(
        _ client: HTTPClient, _ request: HTTPClient.Request
    ) async -> String? {
        for _ in 0..<20 {
            do throws(HTTPClient.Failure) {
                return String(decoding: try await client.send(request).body, as: UTF8.self)
            } catch {
                #expect(error.kind == .reset)
            }
        }
        return nil
    }

    @Test func `waits for a free connection within the bounds, at most so many`() async throws {
        let gate = Gate()
        let server = try RawServer { peer, _ in
            while peer.request() != nil {
                gate.wait()
                peer.answer()
            }
        }
        defer { server.stop() }
        try await withClient {
            $0.connectionsPerHost = 2
            $0.maxCalls = 4
        } _: { client in
            let request = try HTTPClient.Request.post(server.url)
            await withTaskGroup(of: HTTPClient.Failure?.self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        do throws(HTTPClient.Failure) {
                            _ = try await client.send(request)
                            return nil
                        } catch { return error }
                    }
                }
                for _ in 0..<2 { #expect(await group.next()??.kind == .overloaded) }
                gate.open()
                for await failure in group { #expect(failure == nil) }
            }
        }
        #expect(server.connections == 2)
        #expect(server.requests.count == 4)
    }
}
