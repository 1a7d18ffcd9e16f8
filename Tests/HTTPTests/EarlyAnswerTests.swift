import HTTP
import IO
import TestSupport
import Testing

/// CVE-2025-4366 and its like: a request that stands in the body of a refused one must never be read
/// as a request.
@Suite(.proves("H3")) struct `A refused request` {
    static let hidden = "GET /livez HTTP/1.1\r\nHost: hidden\r\n\r\n"

    /// Request line and fields, and the status of the early answer.
    static let cases: [(String, Int)] = [
        ("POST /gated HTTP/1.1\r\nHost: a\r\n", 401),
        ("POST /nowhere HTTP/1.1\r\nHost: a\r\n", 404),
        ("POST /livez HTTP/1.1\r\nHost: a\r\n", 405),
        ("DELETE /livez HTTP/1.1\r\nHost: a\r\n", 405),
        ("POST /small HTTP/1.1\r\nHost: a\r\n", 413),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n", 417),
        ("POST /busy HTTP/1.1\r\nHost: a\r\n", 429),
        ("BREW /livez HTTP/1.1\r\nHost: a\r\n", 501),
    ]

    @Test(arguments: cases)
    func `hides no second one in its body`(head: String, status: Int) async throws {
        let hidden = Self.hidden
        try await withServer(echoRoutes) { address, _ in
            // At once, in two parts, and with the body long after the answer.
            for split in 0..<3 {
                let client = try RawClient(address)
                let first = head + "Content-Length: \(hidden.utf8.count)\r\n\r\n"
                if split == 0 {
                    try client.send(first + hidden)
                } else {
                    try client.send(first)
                }
                if split == 1 { try client.send(hidden) }
                #expect(try client.response().status == status)
                if split == 2 { try? client.send(hidden) }
                // Either the connection is at its end, or the next answer belongs to the next request.
                try? client.send("GET /things/next HTTP/1.1\r\nHost: a\r\n\r\n")
                if let next = try? client.response() { #expect(next.text == "thing next") }
            }
        }
    }

    @Test(arguments: cases)
    func `hides none in its chunks`(head: String, status: Int) async throws {
        let size = String(Self.hidden.utf8.count, radix: 16)
        let body = "\(size)\r\n\(Self.hidden)\r\n0\r\n\r\n"
        try await withServer(echoRoutes) { address, _ in
            // How large chunks are is not known before they come.
            for isSplit in status == 413 ? [false] : [false, true] {
                let client = try RawClient(address)
                try client.send(head + "Transfer-Encoding: chunked\r\n\r\n")
                if isSplit { #expect(try client.response().status == status) }
                try? client.send(body + Self.hidden)
                if !isSplit { #expect(try client.response().status == status) }
                #expect((try? client.response()) == nil)
            }
        }
    }

    @Test func `keeps its connection when its body is small and on its way`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            for _ in 0..<3 {
                try client.send("POST /gated HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
                let response = try client.response()
                #expect(response.status == 401)
                #expect(response.field("WWW-Authenticate") == "Bearer")
                #expect(response.field("Connection") == nil)
                try client.send("abc")
            }
        }
    }

    @Test func `loses its connection when its body is large`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            try client.send("POST /gated HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n")
            #expect(try client.response().field("Connection") == "close")
        }
    }

    @Test func `gets its answer although it goes on sending`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            try client.send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n")
            try client.send([UInt8](repeating: 0x61, count: 50_000))
            #expect(try client.response().status == 413)
        }
    }

    @Test func `says how to go on`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            try client.send("DELETE /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            let refused = try client.response()
            #expect(refused.field("Allow") == "GET, HEAD, OPTIONS")
            #expect(refused.field("Content-Type") == "application/problem+json")
            #expect(
                refused.text.hasPrefix(
                    #"{"type":"urn:breakwater:problem:method-not-allowed","title":"#))
            try client.send("POST /busy HTTP/1.1\r\nHost: a\r\n\r\n")
            let busy = try client.response()
            #expect(busy.field("Retry-After") == "2")
            #expect(busy.text.contains(#""retryAfterMs":1500"#))
        }
    }
}

@Suite(.proves("H3")) struct `Expect` {
    private let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"

    @Test func `gets 100 once the body will be read`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            for value in ["100-continue", "100-Continue"] {
                try client.send(head + "Expect: \(value)\r\n\r\n")
                let interim = try client.response()
                #expect(interim.status == 100)
                #expect(interim.fields.isEmpty)
                try client.send("hi")
                #expect(try client.response().text == "hi")
            }
        }
    }

    @Test func `gets no 100 when the body is there or empty`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            try client.send(head + "Expect: 100-continue\r\n\r\nhi")
            #expect(try client.response().text == "hi")
            try client.send(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n"
            )
            #expect(try client.response().status == 200)
        }
    }

    @Test(arguments: ["POST /gated", "POST /nowhere", "GET /echo", "POST /busy"])
    func `is refused at once and for good`(line: String) async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            try client.send(
                "\(line) HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            let response = try client.response()
            #expect(response.status >= 400)
            #expect(response.field("Connection") == "close")
            #expect(client.isClosed())
        }
    }

    @Test(arguments: ["y 100-continue", "100-continue, 100-continue", "", "100"])
    func `takes nothing else`(value: String) async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            try client.send(head + "Expect: \(value)\r\n\r\nhi")
            #expect(try client.response().status == 417)
        }
    }
}
