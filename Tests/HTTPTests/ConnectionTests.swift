import HTTP
import IO
import TestSupport
import Testing

let echoRoutes: [Route] = [
    Route(.get, "/livez", "livez") { _ in .text("ok") },
    Route(.get, "/things/{id}", "getThing") { request in
        .text("thing \(request.parameter("id") ?? "-")")
    },
    Route(.post, "/echo", "echo") { request in
        Response(contentType: .text, body: .bytes(request.body))
    },
    Route(.post, "/small", "small", maxBodyBytes: 10) { request in
        Response(contentType: .text, body: .bytes(request.body))
    },
    Route(
        .post, "/gated", "gated",
        gate: { request throws(Problem) in
            if request.header(.authorization) == nil {
                throw Problem(
                    .unauthorized, fields: [Field(.wwwAuthenticate, "Bearer")])
            }
        }, handler: { _ in .text("in") }),
    Route(
        .post, "/busy", "busy",
        gate: { _ throws(Problem) in
            throw Problem(.tooManyRequests, retryAfter: .milliseconds(1500))
        }, handler: { _ in .text("in") }),
]

@Suite(.proves("H3")) struct `A connection` {
    @Test func `answers a request and stays open for the next`() async throws {
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            for _ in 0..<3 {
                try client.send("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
                let response = try client.response()
                #expect(response.status == 200)
                #expect(response.text == "ok")
                #expect(response.field("Date")?.hasSuffix(" GMT") == true)
                #expect(response.field("Server") == nil)
                #expect(response.field("X-Request-Id")?.count == 32)
                #expect(response.field("Connection") == nil)
            }
        }
    }
}
