import API
import ControlPlane
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

/// One request as the JavaScript SDK makes it: read from its public source, packages/js-sdk of e2b-dev/E2B
/// at version 2.45.0 (August 2026), and `/v2` of creating and connecting as from 2.51 on.
private struct Shape: Sendable {
    let name: String
    let method: String
    /// `ID` is a sandbox's id.
    let path: String
    var body: String?
    let status: Int
    /// What arrives at the provider; nil: nothing does.
    var upstream: String?
    /// Members of the answer that the SDK reads.
    var members: [String] = []
    var fields: [String: String] = [:]
}

private let sandbox = ["sandboxID", "templateID", "clientID", "envdVersion", "envdAccessToken", "domain"]
private let detail = [
    "sandboxID", "templateID", "metadata", "envdVersion", "startedAt", "endAt", "state", "cpuCount", "memoryMB",
]

/// `Sandbox.create` with nothing said, and with everything; `undefined` members are not sent.
private let plain = #"{"templateID":"base","timeout":300,"secure":true,"allow_internet_access":true}"#
private let whole = """
    {"templateID":"base","metadata":{"user":"b c","framework":"nextjs"},"mcp":{"browserbase":{"apiKey":"x"}},\
    "envVars":{"A":"1"},"timeout":600,"secure":true,"allow_internet_access":false,\
    "network":{"allowOut":["1.1.1.1/32"],"denyOut":["0.0.0.0/0"],"allowPublicTraffic":false},\
    "autoPause":true,"autoPauseMemory":true,"autoResume":{"enabled":true},\
    "volumeMounts":[{"name":"data","path":"/mnt"}]}
    """

private let shapes = [
    Shape(
        name: "create", method: "POST", path: "/sandboxes", body: plain, status: 201,
        upstream: "POST /v2/sandboxes", members: sandbox),
    Shape(
        name: "create with all options", method: "POST", path: "/sandboxes", body: whole, status: 201,
        upstream: "POST /v2/sandboxes", members: sandbox),
    Shape(
        name: "create by the newer API", method: "POST", path: "/v2/sandboxes", body: plain, status: 201,
        upstream: "POST /v2/sandboxes", members: sandbox, fields: ["Idempotency-Key": "a-1"]),
    Shape(
        name: "connect", method: "POST", path: "/sandboxes/ID/connect", body: #"{"timeout":300}"#, status: 200,
        upstream: "POST /sandboxes/ID/connect", members: sandbox),
    Shape(
        name: "connect by the newer API", method: "POST", path: "/v2/sandboxes/ID/connect",
        body: #"{"timeout":300}"#, status: 200, upstream: "POST /v2/sandboxes/ID/connect", members: sandbox),
    Shape(
        name: "getInfo", method: "GET", path: "/sandboxes/ID", status: 200, upstream: "GET /sandboxes/ID",
        members: detail),
    Shape(
        name: "list", method: "GET",
        path: "/v2/sandboxes?metadata=user%3Db%252520c&state=running,paused&limit=100", status: 200,
        upstream: "GET /v2/sandboxes"),
    Shape(
        name: "getMetrics", method: "GET", path: "/sandboxes/ID/metrics?start=1760000000&end=1960000000", status: 200,
        upstream: "GET /sandboxes/ID/metrics"),
    Shape(
        name: "setTimeout", method: "POST", path: "/sandboxes/ID/timeout", body: #"{"timeout":900}"#, status: 204,
        upstream: "POST /sandboxes/ID/timeout"),
    Shape(
        name: "pause", method: "POST", path: "/sandboxes/ID/pause", body: #"{"memory":true}"#, status: 204,
        upstream: "POST /sandboxes/ID/pause"),
    Shape(
        name: "kill", method: "DELETE", path: "/sandboxes/ID", status: 204, upstream: "DELETE /sandboxes/ID"),
    // What the simulator does not have it answers as the provider does, with 404: passed on is passed on.
    Shape(
        name: "updateNetwork", method: "PUT", path: "/sandboxes/ID/network",
        body: #"{"allowOut":[],"denyOut":["0.0.0.0/0"]}"#, status: 204, upstream: "PUT /sandboxes/ID/network"),
    Shape(
        name: "createSnapshot", method: "POST", path: "/sandboxes/ID/snapshots", body: #"{"name":"s"}"#, status: 404,
        upstream: "POST /sandboxes/ID/snapshots", members: ["code", "message"]),
    Shape(
        name: "listSnapshots", method: "GET", path: "/snapshots?sandboxID=ID&limit=10", status: 200,
        upstream: "GET /snapshots"),
    Shape(
        name: "deleteSnapshot", method: "DELETE", path: "/templates/snap", status: 404,
        upstream: "DELETE /templates/snap", members: ["code", "message"]),
    Shape(
        name: "a template's alias", method: "GET", path: "/templates/aliases/base", status: 200,
        upstream: "GET /templates/aliases/base"),
    // Not carried, since a fork would have its parent's identity: typed, and no call in vain.
    Shape(
        name: "fork", method: "POST", path: "/sandboxes/ID/fork", body: #"{"timeout":300,"count":2}"#, status: 501,
        members: ["code", "message"]),
    Shape(
        name: "getInfo of one that is not there", method: "GET", path: "/sandboxes/i0000000000000000000",
        status: 404, members: ["code", "message"]),
    Shape(
        name: "create without a template", method: "POST", path: "/sandboxes", body: #"{"timeout":300}"#,
        status: 400, members: ["code", "message"]),
]

@Suite struct `The JavaScript SDK's requests` {
    /// Beside the key, on each call: what the SDK sets, and what Node's fetch adds.
    private static let fields = [
        "browser": "unknown", "lang": "js", "lang_version": "20.20.2", "package_version": "2.45.0",
        "publisher": "e2b", "sdk_runtime": "node", "system": "Linux", "User-Agent": "e2b-js-sdk/2.45.0",
        "Accept": "*/*", "Accept-Language": "*", "Accept-Encoding": "gzip, deflate", "Sec-Fetch-Mode": "cors",
    ]

    @Test(.proves("D5"), arguments: ["/e2b", ""])
    func `are answered as it reads them`(root: String) async throws {
        try await Fleet.with { fleet in
            try await Served.with(fleet.plane) { served in
                let draft = Regions.Draft(
                    account: "one", apiURL: "http://\(fleet.address)", domain: "us.example",
                    apiKey: Fleet.key)
                _ = try await Regions(fleet.plane.reads, fleet.plane.secrets).put(
                    "us", draft, of: fleet.tenant, if: .none, by: .system)
                let (_, secret) = try await fleet.plane.directory.createKey(
                    for: fleet.tenant, name: "js", scopes: [.sandbox], expiresAt: nil, by: .system)
                let key = try #require(secret?.text)
                // The SDK looks at its key's shape first: ^e2b_[0-9a-f]+$.
                #expect(key.wholeMatch(of: /e2b_[0-9a-f]+/) != nil)
                var fields = Self.fields
                fields["X-API-KEY"] = key
                for shape in shapes { try await Self.hold(shape, root, fields, fleet, served) }
            }
        }
    }

    private static func hold(
        _ shape: Shape, _ root: String, _ fields: [String: String], _ fleet: Fleet, _ served: Served
    ) async throws {
        let made = try await served.client.post("\(root)/sandboxes", plain, fields)
        let id = try #require(made.json?["sandboxID"]?.text, "\(made.text)")
        let before = try await book(fleet).count
        let answer = try await served.client.send(
            shape.method, root + shape.path.naming(id), shape.body,
            fields.merging(shape.fields) { $1 })
        #expect(answer.status == shape.status, "\(shape.name): \(answer.text)")
        // Whatever is not JSON, the SDK shows as an error of its parser's.
        #expect(answer.text.isEmpty || answer.json != nil, "\(shape.name): \(answer.text)")
        for member in shape.members {
            #expect(answer.json?[member] != nil, "\(shape.name): no \(member) in \(answer.text)")
        }
        if answer.status >= 400 {
            #expect(answer.json?["code"]?.integer == answer.status, "\(shape.name)")
            #expect(answer.fields["should-retry"] == "false", "\(shape.name)")
        }
        let seen = try await book(fleet).dropFirst(before).map {
            "\($0["method"]?.text ?? "") \($0["path"]?.text ?? "")"
        }
        if let wanted = shape.upstream?.naming(id) {
            #expect(seen.contains(wanted), "\(shape.name): \(seen)")
        } else {
            #expect(seen.isEmpty, "\(shape.name): \(seen)")
        }
    }

    @Test(.proves("D5", "F6")) func `reach the provider in the caller's trace`() async throws {
        try await Fleet.with { fleet in
            try await Served.with(fleet.plane) { served in
                let draft = Regions.Draft(
                    account: "one", apiURL: "http://\(fleet.address)", domain: "us.example",
                    apiKey: Fleet.key)
                _ = try await Regions(fleet.plane.reads, fleet.plane.secrets).put(
                    "us", draft, of: fleet.tenant, if: .none, by: .system)
                let (_, secret) = try await fleet.plane.directory.createKey(
                    for: fleet.tenant, name: "js", scopes: [.sandbox], expiresAt: nil, by: .system)
                let client = served.client.with(key: secret?.text)
                for (number, path, body) in [
                    (1, "/e2b/sandboxes", plain), (2, "/v1/sandboxes", #"{"template":"base"}"#),
                    (3, "/e2b/templates/aliases/base", nil),
                ] as [(Int, String, String?)] {
                    let trace = "0af7651916cd43dd8448eb211c80319\(number)"
                    let parent = "00-\(trace)-b7ad6b7169203331-01"
                    _ = try await client.send(
                        body == nil ? "GET" : "POST", path, body, ["traceparent": parent])
                    let told = try await Self.book(fleet).compactMap { $0["traceparent"]?.text }
                    let ours = try #require(told.first { $0.contains(trace) }, "\(path): \(told)")
                    // The same trace and its flag, with a span of our own.
                    #expect(ours.hasPrefix("00-\(trace)-") && ours.hasSuffix("-01"), "\(ours)")
                    #expect(ours != parent)
                }
            }
        }
    }

    private static func book(_ fleet: Fleet) async throws -> [JSONValue] {
        guard case .array(let calls)? = try await fleet.ask("GET", "/_sim/book?limit=5000")["calls"] else {
            return []
        }
        return calls
    }
}

extension String {
    /// With a sandbox's id for each `ID` that stands alone.
    fileprivate func naming(_ id: String) -> String {
        replacing(/([\/=])ID\b/) { "\($0.output.1)\(id)" }
    }
}
