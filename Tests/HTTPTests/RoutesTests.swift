import HTTP
import TestSupport
import Testing

@Suite(.proves("H2", "H3")) struct `The route list` {
    private func route(
        _ method: HTTP.Method, _ pattern: RoutePattern, _ name: String? = nil
    ) -> Route {
        Route(method, pattern, name ?? "\(method) \(pattern.text)") { request in
            let values = ["id", "other", "path"].compactMap { request.parameter($0) }
            return .text(([pattern.text] + values).joined(separator: " "))
        }
    }

    private func routes() throws -> Routes {
        try Routes([
            route(.get, "/"), route(.get, "/v1/things"), route(.post, "/v1/things"),
            route(.get, "/v1/things/{id}"), route(.delete, "/v1/things/{id}"),
            route(.get, "/v1/things/{id}/parts/{other}"), route(.get, "/v1/things/special"),
            route(.get, "/v1/things/special/only"), route(.get, "/e2b/{path...}"),
            route(.post, "/e2b/exact"), route(.get, "/a/b/c"), route(.get, "/a/{id}/d"),
        ])
    }

    private func answer(
        _ line: String
    ) async throws -> (status: Int, text: String, allow: String?) {
        let request = try #require(try request("\(line) HTTP/1.1\r\nHost: a\r\n\r\n"))
        let response = await (try routes()).respond(to: request)
        var text = ""
        if case .bytes(let bytes) = response.body { text = String(decoding: bytes, as: UTF8.self) }
        let allow = response.fields.first { $0.name == .allow }?.value
        return (Int(response.status.code), text, allow)
    }

    @Test(arguments: [
        ("GET /", "/"), ("GET /v1/things?x=y", "/v1/things"),
        ("GET /v1/things/7", "/v1/things/{id} 7"), ("GET /v1/things/a%20b", "/v1/things/{id} a b"),
        ("GET /v1/%74hings/7", "/v1/things/{id} 7"),
        ("GET /v1/things/7/parts/8", "/v1/things/{id}/parts/{other} 7 8"),
        ("GET /v1/things/special", "/v1/things/special"),
        ("GET /v1/things/special/parts/8", "/v1/things/{id}/parts/{other} special 8"),
        ("GET /e2b/", "/e2b/{path...} "), ("GET /e2b/a/b%20c/", "/e2b/{path...} a/b c/"),
        ("GET /a/b/d", "/a/{id}/d b"), ("GET http://other/v1/things", "/v1/things"),
        ("GET http://other", "/"), ("GET http://other?x", "/"),
    ])
    func `leads to the operation`(line: String, text: String) async throws {
        let answer = try await answer(line)
        #expect(answer.status == 200)
        #expect(answer.text == text)
    }

    @Test(arguments: [
        "GET /v1", "GET /v1/", "GET /v1/things/", "GET /v1/things//parts/8", "GET /V1/things",
        "GET /v1/things/7/", "GET /v1/things/7/parts", "GET /e2b", "GET //v1/things", "GET /a/b/",
    ])
    func `knows nothing else`(line: String) async throws {
        #expect(try await answer(line).status == 404)
    }

    private static let methods: [(String, Int, String?)] = [
        ("PUT /v1/things", 405, "GET, HEAD, POST, OPTIONS"), ("POST /", 405, "GET, HEAD, OPTIONS"),
        ("DELETE /v1/things/special", 405, "GET, HEAD, OPTIONS"),
        ("TRACE /v1/things/7", 405, "GET, HEAD, DELETE, OPTIONS"),
        ("HEAD /e2b/exact", 405, "POST, OPTIONS"),
        ("OPTIONS /v1/things/7", 204, "GET, HEAD, DELETE, OPTIONS"),
        ("OPTIONS *", 204, "GET, HEAD, POST, DELETE, OPTIONS"), ("HEAD /v1/things", 200, nil),
        ("BREW /v1/things", 501, nil), ("get /v1/things", 501, nil),
    ]

    @Test(arguments: methods)
    func `says what a path allows`(line: String, status: Int, allow: String?) async throws {
        let answer = try await answer(line)
        #expect(answer.status == status)
        #expect(answer.allow == allow)
    }

    @Test func `refuses two routes that are the same`() throws {
        #expect(throws: Routes.Fault.clash(.get, "/a/{x}", "/a/{y}")) {
            try Routes([route(.get, "/a/{x}"), route(.get, "/a/{y}")])
        }
        #expect(throws: Routes.Fault.repeatedOperation("same")) {
            try Routes([route(.get, "/a", "same"), route(.get, "/b", "same")])
        }
        #expect(throws: Routes.Fault.unknownMethod("BREW")) {
            try Routes([route(.other("BREW"), "/a")])
        }
        #expect(throws: Never.self) { try Routes([route(.get, "/a/{x}"), route(.post, "/a/{y}")]) }
    }

    @Test(arguments: [
        "", "a", "/{", "/{}", "/{a b}", "/{a}/{a}", "/{a...}/b", "/a{b}", "/a b", "/%41", "/?",
        "/a#",
    ])
    func `takes no malformed pattern`(text: String) { #expect(RoutePattern(text) == nil) }

    @Test func `touches every answer last`() async throws {
        let routes = try Routes([route(.get, "/")]) { request, response in
            response.fields.append(Field("X-Path", request.path))
        }
        for line in ["GET /", "GET /x", "POST /", "OPTIONS /"] {
            let request = try #require(try request("\(line) HTTP/1.1\r\nHost: a\r\n\r\n"))
            let response = await routes.respond(to: request)
            #expect(response.fields.last?.value == request.path)
        }
    }
}
