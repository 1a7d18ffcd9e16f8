import JSON

@testable import HTTP

// What a request leads to, and that nothing of it breaks out of an answer.

private let patterns: [RoutePattern] = [
    "/", "/v1/things", "/v1/things/{id}", "/v1/things/{id}/parts/{other}", "/v1/things/special",
    "/v1/things/special/only", "/e2b/{path...}", "/e2b/exact", "/a/b/c", "/a/{id}/d",
]

private let routes: Routes = {
    let all = patterns.map { pattern in
        Route(.get, pattern, pattern.text) { _ in Response() }
    }
    guard let routes = try? Routes(all) else { fatalError("the routes clash") }
    return routes
}()

/// The route of a path, found by trying all: a literal segment wins over a parameter, a parameter
/// over a rest, the first segment that differs decides.
private func bestPattern(_ segments: [String]) -> RoutePattern? {
    let fitting = patterns.filter { pattern in
        let parts = split(pattern.text, "/")
        guard isRest(parts) ? segments.count >= parts.count : segments.count == parts.count else {
            return false
        }
        return zip(parts, segments).allSatisfy { part, segment in
            part.hasSuffix("...}") || (part.hasPrefix("{") ? !segment.isEmpty : part == segment)
        }
    }
    return fitting.min { left, right in
        kinds(left).lexicographicallyPrecedes(kinds(right))
    }
}

private func isRest(_ parts: [String]) -> Bool { parts.last?.hasSuffix("...}") == true }

private func kinds(_ pattern: RoutePattern) -> [Int] {
    split(pattern.text, "/").map { $0.hasSuffix("...}") ? 2 : $0.hasPrefix("{") ? 1 : 0 }
}

func checkRoute(of request: Request) {
    var request = request
    let match = routes.match(&request)
    if request.head.isAsterisk {
        guard case .options(nil) = match else { fatalError("OPTIONS * leads to \(match)") }
        return
    }
    let segments = split(request.path, "/")
    let pattern = bestPattern(segments)
    switch match {
    case .route(let index):
        demandSame(routes.all[index].pattern, pattern, "the route of \(request.path)")
        demand([.get, .head].contains(request.method), "\(request.method) leads to a GET")
        checkParameters(of: request, segments, split(routes.all[index].pattern.text, "/"))
    case .options, .methodNotAllowed:
        demand(pattern != nil, "no route, but a place: \(request.path)")
    case .notFound: demandSame(pattern, nil, "not found: \(request.path)")
    case .unknownMethod:
        guard case .other = request.method else { fatalError("\(request.method) is known") }
    }
}

private func checkParameters(of request: Request, _ segments: [String], _ parts: [String]) {
    for (index, part) in parts.enumerated() where part.hasPrefix("{") {
        var name = part.dropFirst().dropLast()
        var value = segments[index]
        if name.hasSuffix("...") {
            name = name.dropLast(3)
            value = segments[index...].joined(separator: "/")
        }
        demandSame(request.parameter(String(name)), value, "parameter \(name)")
    }
}

/// A problem that repeats what the client sent, in a field and in its body, is one sound answer.
func checkAnswer(to request: Request) {
    let echoes = request.queryItems.map(\.value) + request.fields.map(\.value) + [request.path]
    let problem = Problem(
        .validation, detail: request.path, members: [("echoes", .strings(echoes))],
        fields: echoes.map { Field("X-Echo", $0) })
    let response = Response(problem, requestID: request.id)
    let context = ResponseWriter.Context(request, keepsAlive: request.head.keepsAlive)
    let framing = ResponseWriter.framing(of: response, context)
    var buffer = ByteBuffer()
    ResponseWriter.writeHead(
        response, framing, context, date: Array("Date: now\r\n".utf8), to: &buffer)
    var head: [UInt8] = []
    while !buffer.isEmpty {
        // As to a client that takes little at a time.
        _ = unsafe buffer.drain { bytes in
            let taken = unsafe Array(bytes.prefix(100))
            head += taken
            return taken.count
        }
    }
    // Status, Date, Content-Type, Content-Length, X-Request-Id, Cache-Control, then the empty line's two.
    let saysConnection = !context.keepsAlive || context.isHTTP10
    let expected = 6 + echoes.count + (saysConnection ? 1 : 0) + 2
    let lines = head.split(separator: .lineFeed, omittingEmptySubsequences: false)
    demandSame(lines.count, expected, "lines of \(String(decoding: head, as: UTF8.self))")
    for line in lines.dropLast() {
        demand(
            line.last == .carriageReturn && line.dropLast().allSatisfy(\.isFieldValue),
            "a line that is none: \(Array(line))")
    }
    guard case .bytes(let body) = response.body,
        let json = try? JSONReader.decode(JSONValue.self, from: body)
    else { fatalError("the problem is no JSON") }
    demandSame(json["detail"], .string(request.path), "the problem's detail")
    demandSame(json["echoes"], .array(echoes.map { .string($0) }), "the problem's members")
}
