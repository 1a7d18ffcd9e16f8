internal import CEmbedded
internal import ControlPlane
package import HTTP

/// The dashboard: the files of `dashboard/`, which are part of the binary. They hold no data: the page is a
/// client of the API like any other.
package func dashboardRoutes() -> [Route] {
    let files = DashboardFile.all
    guard let page = files["index.html"] else { return [] }
    return [
        Route(.get, "/dashboard", "getDashboard") { request throws(Problem) in
            page.answer(to: request)
        },
        Route(.get, "/dashboard/{file}", "getDashboardFile") { request throws(Problem) in
            guard let file = files[request.parameter("file") ?? ""] else { throw Problem(.notFound) }
            return file.answer(to: request)
        },
    ]
}

/// One file, with what a browser must know of it.
private struct DashboardFile: Sendable {
    private let bytes: [UInt8]
    private let tag: String
    private let type: String
    private let isPage: Bool

    /// By name.
    static let all: [String: DashboardFile] = {
        var files: [String: DashboardFile] = [:]
        for index in 0..<bw_dashboard_count() {
            let file = unsafe bw_dashboard(index)
            let name = unsafe String(cString: file.name)
            let bytes = unsafe Array(UnsafeBufferPointer(start: file.bytes, count: file.count))
            files[name] = DashboardFile(name, bytes)
        }
        return files
    }()

    init(_ name: String, _ bytes: [UInt8]) {
        self.bytes = bytes
        tag = "\"\(sha256Hex(String(decoding: bytes, as: UTF8.self)).prefix(24))\""
        isPage = name.hasSuffix(".html")
        type =
            switch name.split(separator: ".").last {
            case "html": "text/html; charset=utf-8"
            case "css": "text/css; charset=utf-8"
            case "js": "text/javascript; charset=utf-8"
            case "svg": "image/svg+xml"
            default: "application/octet-stream"
            }
    }

    func answer(to request: Request) -> Response {
        var fields = [
            Field(.eTag, tag),
            // Asked for anew each time, and answered 304: another version of the service has other files.
            Field(.cacheControl, "no-cache"),
            Field("X-Content-Type-Options", "nosniff"),
            Field("Cross-Origin-Resource-Policy", "same-origin"),
        ]
        if isPage { fields += Self.pageFields }
        if request.knows(tag: tag) { return Response(304, fields: fields) }
        return Response(fields: fields + [Field(.contentType, type)], body: .bytes(bytes))
    }

    /// Nothing from elsewhere, nothing inline, no frame around it, no text that becomes markup.
    private static let pageFields = [
        Field(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
                + "require-trusted-types-for 'script'; trusted-types 'none'"),
        Field("Referrer-Policy", "no-referrer"),
        Field("Cross-Origin-Opener-Policy", "same-origin"),
        Field("X-Frame-Options", "DENY"),
        Field("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()"),
    ]
}
