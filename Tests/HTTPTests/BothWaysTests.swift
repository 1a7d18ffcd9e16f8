import HTTP
import IO
import TestSupport
import Testing

/// The same requests through parser and routes alone, and over a socket.
@Suite(.proves("H3")) struct `An exchange` {
    /// What both ways must agree on.
    private struct Answer: Equatable {
        var status: Int
        var type: String?
        var allow: String?
        var body: String
    }

    private static let requests = [
        "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /things/7 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /things/a%20b HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "POST /gated HTTP/1.1\r\nHost: a\r\nX-Request-Id: i\r\n\r\n",
        "POST /gated HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\n\r\n",
        "PUT /echo HTTP/1.1\r\nHost: a\r\nX-Request-Id: i\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Request-Id: i\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS /echo HTTP/1.1\r\nHost: a\r\n\r\n",
    ]

    @Test func `is the same in-process and over a socket`() async throws {
        let routes = try Routes(echoRoutes)
        try await withServer(echoRoutes) { address, _ in
            let client = try RawClient(address)
            for text in Self.requests {
                let isHead = text.hasPrefix("HEAD")
                let request = try #require(try request(text))
                let here = await routes.respond(to: request)
                try client.send(text)
                let there = try client.response(toHead: isHead)
                #expect(answer(here, isHead) == answer(there), "\(text)")
            }
        }
    }

    private func answer(_ response: Response, _ isHead: Bool) -> Answer {
        var body = ""
        if case .bytes(let bytes) = response.body { body = String(decoding: bytes, as: UTF8.self) }
        return Answer(
            status: Int(response.status.code), type: response.contentType.map { "\($0)" },
            allow: response.fields.first { $0.name == .allow }?.value, body: isHead ? "" : body)
    }

    private func answer(_ response: RawResponse) -> Answer {
        Answer(
            status: response.status, type: response.field("Content-Type"),
            allow: response.field("Allow"), body: response.text)
    }
}
