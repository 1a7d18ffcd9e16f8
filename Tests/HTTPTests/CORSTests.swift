import HTTP
import IO
import TestSupport
import Testing

@Suite(.proves("F6")) struct `Pages of other origins` {
    private static let origin = "https://app.example.com"

    private func answer(_ head: String, _ body: String = "") async throws -> RawResponse {
        let cors = try CORS(origins: [Self.origin, "http://localhost:3000"])
        var answer: RawResponse?
        try await withServer(echoRoutes, finish: cors.finish) { address, _ in
            let client = try RawClient(address)
            try client.send(head + "\r\nHost: x\r\n\r\n" + body)
            answer = try client.response()
        }
        return try #require(answer)
    }

    @Test func `may read answers and the fields that calls need, if their origin is listed`()
        async throws
    {
        let answer = try await answer("GET /livez HTTP/1.1\r\nOrigin: \(Self.origin)")
        #expect(answer.status == 200)
        #expect(answer.field("access-control-allow-origin") == Self.origin)
        #expect(answer.field("vary") == "Origin")
        let exposed = answer.field("access-control-expose-headers")?.split(separator: ", ") ?? []
        for name in [
            "ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id", "Location",
        ] { #expect(exposed.contains(Substring(name))) }
        #expect(answer.field("access-control-allow-credentials") == nil)
    }

    @Test(arguments: [
        ("GET /none HTTP/1.1", 404), ("DELETE /livez HTTP/1.1", 405), ("BREW /livez HTTP/1.1", 501),
        ("POST /gated HTTP/1.1\r\nContent-Length: 0", 401),
        ("POST /busy HTTP/1.1\r\nContent-Length: 0", 429),
        ("POST /small HTTP/1.1\r\nContent-Length: 11", 413),
        ("POST /small HTTP/1.1\r\nTransfer-Encoding: chunked", 413),
    ])
    func `may read errors too`(head: String, status: Int) async throws {
        let answer = try await answer(
            head + "\r\nOrigin: http://localhost:3000", "b\r\nhello world\r\n0\r\n\r\n")
        #expect(answer.status == status)
        #expect(answer.field("access-control-allow-origin") == "http://localhost:3000")
        #expect(answer.field("access-control-expose-headers")?.contains("Retry-After") == true)
    }

    @Test func `are answered a preflight`() async throws {
        let answer = try await answer(
            "OPTIONS /echo HTTP/1.1\r\nOrigin: \(Self.origin)\r\n"
                + "Access-Control-Request-Method: POST\r\n"
                + "Access-Control-Request-Headers: authorization,content-type")
        #expect(answer.status == 204)
        #expect(answer.field("access-control-allow-origin") == Self.origin)
        #expect(answer.field("access-control-allow-methods") == "POST, OPTIONS")
        let allowed = answer.field("access-control-allow-headers")?.split(separator: ", ") ?? []
        for name in ["Authorization", "X-API-Key", "Idempotency-Key", "If-Match", "Content-Type"] {
            #expect(allowed.contains(Substring(name)))
        }
        #expect(answer.field("access-control-max-age") == "600")
        #expect(answer.field("access-control-allow-credentials") == nil)
    }

    @Test(arguments: [
        "https://evil.example.com", "https://app.example.com.evil.com",
        "https://app.example.com:444",
        "http://app.example.com", "https://app.example.com/", "null", "*",
        "HTTPS://APP.EXAMPLE.COM",
    ])
    func `are told nothing if their origin is another`(origin: String) async throws {
        for head in [
            "GET /livez HTTP/1.1", "OPTIONS /echo HTTP/1.1\r\nAccess-Control-Request-Method: POST",
        ] {
            let answer = try await answer(head + "\r\nOrigin: \(origin)")
            #expect(answer.fields.allSatisfy { !$0.name.hasPrefix("Access-Control") })
            #expect(answer.field("vary") == "Origin")
        }
    }

    @Test func `are no concern of an answer without an origin`() async throws {
        let answer = try await answer("GET /livez HTTP/1.1")
        #expect(answer.fields.allSatisfy { !$0.name.hasPrefix("Access-Control") })
        #expect(answer.field("vary") == nil)
    }

    @Test(arguments: [
        "*", "null", "app.example.com", "https://", "https://app.example.com/", "https://a.b/path",
        "HTTPS://app.example.com", "https://App.example.com", "ftp://a.b", "https://a b",
        "https://app.example.com:443", "http://app.example.com:80", "https://user@a.b",
        "https://*.a.b",
        "https://a.b?x", "https://a.b:x",
    ])
    func `are listed as browsers name them, or the list is refused`(origin: String) {
        #expect(throws: CORS.Fault.self) { try CORS(origins: [origin]) }
    }
}
