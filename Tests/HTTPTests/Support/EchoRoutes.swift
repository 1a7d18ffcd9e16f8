import HTTP
import IO

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
