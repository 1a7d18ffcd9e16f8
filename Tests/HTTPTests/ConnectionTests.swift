import HTTP
import IO
import Synchronization
import TestSupport
import Testing

@Suite(.proves("H3")) struct `A connection` {
    private let get = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test(arguments: [false, true])
    func `answers a request and stays open for the next`(unix: Bool) async throws {
        try await withServer(echoRoutes, unix: unix) { address, _ in
            let client = try RawClient(address)
            for _ in 0..<3 {
                try client.send(get)
                let response = try client.response()
                #expect(response.status == 200)
                #expect(response.text == "ok")
                #expect(response.field("Content-Type") == "text/plain; charset=utf-8")
                #expect(response.field("Date")?.hasSuffix(" GMT") == true)
                #expect(response.field("Server") == nil)
                #expect(response.field("X-Request-Id")?.count == 32)
                #expect(response.field("Connection") == nil)
            }
        }
    }

    @Test func `reads a request byte by byte`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            let request =
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "3;x=\"y\"\r\nabc\r\n0\r\nTrailer: t\r\n\r\n"
            for byte in request.utf8 { try client.send([byte]) }
            #expect(try client.response().text == "abc")
            try client.send(get)
            #expect(try client.response().status == 200)
        }
    }

    @Test func `answers pipelined requests in order`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            let requests = (0..<500).map { "GET /things/\($0) HTTP/1.1\r\nHost: a\r\n\r\n" }
            try client.send(requests.joined())
            for index in 0..<500 {
                #expect(try client.response().text == "thing \(index)")
            }
        }
    }

    @Test func `sends what is answered while a later handler works`() async throws {
        let gate = Gatekeeper()
        let routes =
            echoRoutes + [
                Route(.get, "/slow", "slow") { _ in
                    await gate.wait()
                    return .text("slow")
                }
            ]
        try await withServer(routes) { address, _ in
            let client = try RawClient(address)
            try client.send(get + "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + get)
            #expect(try client.response().text == "ok")
            gate.open()
            #expect(try client.response().text == "slow")
            #expect(try client.response().text == "ok")
        }
    }

    @Test func `sends bodies larger than any buffer`() async throws {
        let large = [UInt8](repeating: 0x61, count: 5_000_000)
        let routes =
            echoRoutes + [
                Route(.get, "/large", "large") { _ in .json(large) }
            ]
        try await withServer(routes) { address, _ in
            let client = try RawClient(address)
            try client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n" + get)
            #expect(try client.response().body == large)
            #expect(try client.response().text == "ok")
        }
    }

    @Test(arguments: [1, 16_000, 16_384, 70_000, 1_048_576])
    func `takes a body`(size: Int) async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n"
            try client.send(Array(head.utf8) + body)
            #expect(try client.response().body == body)
            let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            let chunks = stride(from: 0, to: size, by: 50_000).flatMap { start in
                let chunk = body[start..<min(start + 50_000, size)]
                return Array("\(String(chunk.count, radix: 16))\r\n".utf8) + chunk
                    + Array("\r\n".utf8)
            }
            try client.send(Array(chunked.utf8) + chunks + Array("0\r\n\r\n".utf8))
            #expect(try client.response().body == body)
        }
    }

    @Test func `answers HEAD as GET without its body`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            try client.send("HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n" + get)
            let head = try client.response(toHead: true)
            #expect(head.status == 200)
            #expect(head.field("Content-Length") == "2")
            #expect(try client.response().text == "ok")
        }
    }

    @Test func `keeps the client's request id, or makes one`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            func id(_ sent: String) throws -> String? {
                try client.send("GET /x HTTP/1.1\r\nHost: a\r\nX-Request-Id: \(sent)\r\n\r\n")
                let response = try client.response()
                let id = response.field("X-Request-Id")
                #expect(response.text.contains("urn:breakwater:request:\(id ?? "-")\""))
                return id
            }
            #expect(try id("abc-1._Z") == "abc-1._Z")
            #expect(
                try id(String(repeating: "a", count: 128)) == String(repeating: "a", count: 128))
            for bad in ["", "a b", "a\u{e9}", String(repeating: "a", count: 129), "a,b"] {
                #expect(try id(bad)?.count == 32)
            }
        }
    }

    @Test func `declines an upgrade and stays usable`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            try client.send(
                "GET /livez HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, websocket\r\n"
                    + "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n\r\n" + get)
            #expect(try client.response().text == "ok")
            #expect(try client.response().text == "ok")
        }
    }

    @Test func `closes when asked to`() async throws {
        try await withServer(echoRoutes) { address, _ in
            for option in ["close", "Close", "keep-alive, close", "x,close ,y"] {
                let client = try RawClient(address)
                try client.send("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: \(option)\r\n\r\n")
                #expect(try client.response().field("Connection") == "close")
                #expect(client.isClosed())
            }
        }
    }

    @Test func `speaks HTTP/1.0`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let once = try RawClient(address)
            try once.send("GET /livez HTTP/1.0\r\n\r\n")
            #expect(try once.response().field("Connection") == "close")
            #expect(once.isClosed())
            let kept = try RawClient(address)
            try kept.send("GET /livez HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n")
            #expect(try kept.response().field("Connection") == "keep-alive")
            // RFC 9110 section 10.1.1: to HTTP/1.0 no 100.
            try kept.send(
                "POST /echo HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            try kept.send("hi")
            #expect(try kept.response().text == "hi")
            #expect(kept.isClosed())
        }
    }

    @Test func `answers what came before the client's half-close`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            try client.send(get + get)
            client.closeWrite()
            #expect(try client.response().status == 200)
            #expect(try client.response().status == 200)
            #expect(client.isClosed())
        }
    }

    @Test func `tells its observer each exchange and why it ended`() async throws {
        let recorder = Recorder()
        try await withServer(echoRoutes, observer: recorder) { address, _ in
            let client = try RawClient(address)
            try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            _ = try client.response()
            try client.send("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\nBAD\r\n")
            #expect(try client.response().status == 404)
            #expect(try client.response().status == 400)
            #expect(client.isClosed())
        }
        recorder.log.withLock { log in
            #expect(log.exchanges.map(\.status) == [200, 404, 400])
            #expect(log.exchanges.map(\.operation) == ["echo", nil, nil])
            #expect(log.exchanges[0].bytesIn == 53)
            #expect(log.exchanges[0].bytesOut == 2)
            #expect(log.opened == 1)
            #expect(log.ends == [.refused])
        }
    }
}
