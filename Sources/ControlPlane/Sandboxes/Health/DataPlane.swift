internal import IO
internal import JSON
internal import Outbound

/// Where a sandbox's own agent (envd) is, and how it is entered.
package struct DataPlaneAddress: Sendable {
    /// The port that envd listens on.
    private static let port = 49_983

    let url: UpstreamURL
    /// One address for all sandboxes, as an operator has set it.
    let isShared: Bool
    let id: String
    let token: String?
    /// Before 0.4.0 envd wants a user by Basic.
    let wantsUser: Bool

    /// Nil where nothing says where it is.
    package init?(_ sandbox: ProviderSandbox, domain: String?, at endpoint: ProviderEndpoint) {
        let version = sandbox.document["envdVersion"]?.string ?? ""
        self.init(
            id: sandbox.id, token: sandbox.accessToken, domain: sandbox.domain ?? domain,
            at: endpoint, wantsUser: version.hasPrefix("0.") && Self.minor(of: version) < 4)
    }

    package init?(
        id: String, token: String?, domain: String?, at endpoint: ProviderEndpoint,
        wantsUser: Bool = false
    ) {
        guard !id.isEmpty, id.utf8.allSatisfy(Self.isLabelOctet) else { return nil }
        isShared = endpoint.dataPlane != nil
        if let url = endpoint.dataPlane {
            self.url = url
        } else {
            guard let domain = domain ?? endpoint.domain,
                let url = UpstreamURL("https://\(Self.port)-\(id).\(domain)")
            else { return nil }
            self.url = url
        }
        self.id = id
        self.token = token
        self.wantsUser = wantsUser
    }

    private static func minor(of version: String) -> Int {
        let parts = version.split(separator: ".")
        return parts.count > 1 ? Int(parts[1]) ?? Int.max : Int.max
    }

    private static func isLabelOctet(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }

    /// Of a command.
    func fields(within limit: Duration) -> [HTTPClient.Field] {
        [
            HTTPClient.Field("Content-Type", "application/connect+json"),
            HTTPClient.Field("Connect-Protocol-Version", "1"),
            HTTPClient.Field("Connect-Timeout-Ms", "\(max(limit.milliseconds, 1))"),
        ] + identity
    }

    var identity: [HTTPClient.Field] {
        var fields = [
            HTTPClient.Field("User-Agent", "breakwater"),
            HTTPClient.Field("E2b-Sandbox-Id", id),
            HTTPClient.Field("E2b-Sandbox-Port", "\(Self.port)"),
        ]
        if let token { fields.append(HTTPClient.Field("X-Access-Token", token)) }
        // "user:"
        if wantsUser { fields.append(HTTPClient.Field("Authorization", "Basic dXNlcjo=")) }
        return fields
    }
}

/// Runs commands in sandboxes as the stock SDK does: envd's `process.Process/Start` over Connect.
struct DataPlane: Sendable {
    /// Octets of an answer, whole; what a command prints past it is a failure.
    private static let maxBytes = 262_144
    /// Octets of an error that are read.
    private static let maxError = 2_000

    enum Fault: Error, Hashable, Sendable {
        /// No answer, or one that broke off.
        case transport(HTTPClient.Failure)
        /// An answer that is no stream: the edge's, or envd's refusal.
        case refused(status: Int, message: String)
        /// The stream's own error.
        case stream(code: String, message: String)
        /// The stream ended and never said how the command did.
        case noEnd
        case malformed(String)
    }

    let http: HTTPClient

    /// Runs a line of the shell and waits for its end.
    ///
    /// - Parameter isFresh: not on a kept connection, which may have died unseen.
    func run(
        _ line: String, at place: DataPlaneAddress, within limit: Duration, isFresh: Bool = false
    ) async throws(Fault) -> CommandResult {
        guard let url = place.url.appending("/process.Process/Start") else {
            throw .malformed("the address is no URL")
        }
        var request = HTTPClient.Request(
            "POST", url, fields: place.fields(within: limit), body: Self.start(line),
            deadline: limit)
        request.maxBodyBytes = Self.maxBytes
        request.needsFreshConnection = isFresh
        let result: Result<CommandResult, Fault>
        do throws(HTTPClient.Failure) {
            result = try await Self.result(of: http.open(request), isKept: place.isShared)
        } catch {
            throw .transport(error)
        }
        return try result.get()
    }

    /// Asks envd whether it is there: a plain read. Throws where the answer is not 204.
    func look(at place: DataPlaneAddress, within limit: Duration) async throws(Fault) {
        guard let url = place.url.appending("/health") else {
            throw .malformed("the address is no URL")
        }
        var request = HTTPClient.Request(
            "GET", url, fields: place.identity, deadline: limit)
        request.maxBodyBytes = Self.maxBytes
        let answer: HTTPClient.Response
        do throws(HTTPClient.Failure) { answer = try await http.send(request) } catch {
            throw .transport(error)
        }
        guard answer.status != 204 else { return }
        throw Self.refusal(answer.status, Array(answer.body.prefix(Self.maxError)))
    }

    /// - Parameter isKept: the connection is of use for other sandboxes.
    private static func result(
        of answer: HTTPClient.BodyStream, isKept: Bool
    ) async throws(HTTPClient.Failure) -> Result<CommandResult, Fault> {
        let type = answer.head.value("Content-Type") ?? ""
        guard answer.head.status == 200, type.hasPrefix("application/connect+json") else {
            var body: [UInt8] = []
            while body.count < maxError, let piece = try await answer.next() { body += piece }
            return .failure(refusal(answer.head.status, Array(body.prefix(maxError))))
        }
        var stream = ConnectStream()
        var result = CommandResult()
        while let piece = try await answer.next() {
            let events: [ConnectStream.Event]
            do throws(ConnectStream.Malformed) { events = try stream.feed(piece) } catch {
                return .failure(.malformed(error.reason))
            }
            for event in events {
                switch event {
                case .output(let octets): result.output += octets
                case .errors(let octets): result.errors += octets
                case .end(let code):
                    result.exitCode = code
                    if isKept { await answer.leave() }
                    return .success(result)
                case .over(let code?, let message):
                    return .failure(.stream(code: code, message: message))
                case .over(nil, _): return .failure(.noEnd)
                }
            }
        }
        return .failure(.noEnd)
    }

    private static func refusal(_ status: Int, _ body: [UInt8]) -> Fault {
        let message =
            JSONValue(bytes: body)?["message"]?.string ?? String(decoding: body, as: UTF8.self)
        return .refused(status: status, message: message)
    }

    /// The one message of the request in its envelope.
    private static func start(_ line: String) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { json in
            json.object("process") { json in
                json.member("cmd", "/bin/bash")
                json.array("args") { json in
                    for word in ["-l", "-c", line] { json.value(word) }
                }
            }
            json.member("stdin", false)
        }
        let length = UInt32(writer.bytes.count)
        let octets: [UInt8] = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) }
        return [0] + octets + writer.bytes
    }
}
