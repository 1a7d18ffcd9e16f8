import Glibc
import HTTP
import IO
import TestSupport
import Testing

@Suite(.proves("H8"), .timeLimit(.minutes(2))) struct `An answer that is given up` {
    private let routes: [Route] = [
        Route(.get, "/reset", "reset") { _ in Response(body: .abandoned(byReset: true)) },
        Route(.get, "/close", "close") { _ in Response(body: .abandoned(byReset: false)) },
        Route(.get, "/half", "half") { _ in
            Response(
                contentType: .text,
                body: .stream { writer in
                    try await writer.write("half")
                    try await Task.sleep(for: .milliseconds(50))
                    throw StreamReset()
                })
        },
        Route(.get, "/livez", "livez") { _ in .text("ok") },
    ]

    /// What comes of a request: octets, and how the connection ended; 0 is in good order.
    private func outcome(_ address: Address, _ request: String) throws -> (String, Int32) {
        let client = try RawClient(address)
        try client.send(request)
        var octets: [UInt8] = []
        do {
            while true {
                let more = try client.bytes(1)
                if more.isEmpty { return (String(decoding: octets, as: UTF8.self), 0) }
                octets += more
            }
        } catch RawClient.Failure.reading(let code) {
            return (String(decoding: octets, as: UTF8.self), code)
        }
    }

    @Test func `closes without an octet, by a reset if so wanted, whatever the method`()
        async throws
    {
        try await withServer(routes) { address, _ in
            for method in ["GET", "HEAD"] {
                let head = "HTTP/1.1\r\nHost: a\r\n\r\n"
                let closed = try outcome(address, "\(method) /close \(head)")
                #expect(closed == ("", 0))
                let reset = try outcome(address, "\(method) /reset \(head)")
                #expect(reset == ("", ECONNRESET))
            }
        }
    }

    @Test func `may break off within its body by a reset`() async throws {
        try await withServer(routes) { address, _ in
            let (text, code) = try outcome(address, "GET /half HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(text.hasSuffix("4\r\nhalf\r\n"))
            #expect(code == ECONNRESET)
        }
    }

    @Test func `ends its own connection alone, and is told as the end that it is`() async throws {
        let recorder = Recorder()
        try await withServer(routes, observer: recorder) { address, _ in
            let other = try RawClient(address)
            try other.send("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = try other.response()
            _ = try outcome(address, "GET /reset HTTP/1.1\r\nHost: a\r\n\r\n")
            try other.send("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try other.response().text == "ok")
        }
        #expect(recorder.ends.contains(.clientGone))
        #expect(recorder.statuses == [200, 200])
    }
}
