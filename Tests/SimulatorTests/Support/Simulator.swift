import HTTP
import IO
import JSON
import Simulator
import TestSupport
import Testing

/// The key of the first region of `script`.
let key = "e2b_0123456789abcdef"

/// Reads a script; `faults` and `more` members are given as JSON.
func script(
    faults: String = "[]", limits: String = "{}", templates: String = "null", more: String = ""
) throws -> Script {
    let templates = templates == "null" ? "" : "\"templates\": \(templates),"
    return try read(
        """
        {"seed": 7, "faults": \(faults), "regions": [
          {"name": "us", "listen": ["127.0.0.1:0"], "domain": "us.example", \(templates)
           "keys": {"one": "\(key)", "two": "e2b_22"}, "limits": \(limits),
           "latency": {"createMs": 0, "otherMs": 0, "commandMs": 0}}\(more)]}
        """)
}

func read(_ text: String) throws -> Script {
    try JSONReader.decode(Script.self, from: Array(text.utf8))
}

/// Serves a script on a loop of its own while `body` runs.
func withSimulator(
    _ script: Script, _ body: ([Address], SimulatorServer) async throws -> Void
) async throws {
    let loop = try EventLoop.start(name: "sim-test")
    let server = try SimulatorServer(
        on: loop, script, text: Array("{}".utf8),
        defaultAddress: .tcp(host: "127.0.0.1", port: 0))
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask(executorPreference: loop) { try await server.run() }
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await body(server.addresses.map { $0.addresses[0] }, server))
        } catch {
            outcome = .failure(error)
        }
        await server.drain(within: .milliseconds(200))
        try await group.waitForAll()
        try outcome.get()
    }
    loop.stop()
}

func withSimulator(
    faults: String = "[]", limits: String = "{}", templates: String = "null",
    _ body: (Caller) async throws -> Void
) async throws {
    let script = try script(faults: faults, limits: limits, templates: templates)
    try await withSimulator(script) { addresses, _ in
        try await body(Caller(address: addresses[0]))
    }
}

/// Calls a region, each call on a connection of its own.
struct Caller: Sendable {
    let address: Address
    var key: String? = SimulatorTests.key

    func callAsFunction(
        _ method: String, _ path: String, _ body: String? = nil, _ fields: [String: String] = [:],
        keyed: Bool = true
    ) async throws -> RawResponse {
        let request = text(method, path, body, fields, keyed: keyed)
        return try await onThread {
            let client = try RawClient(address)
            try client.send(request)
            return try client.response()
        }
    }

    func text(
        _ method: String, _ path: String, _ body: String? = nil, _ fields: [String: String] = [:],
        keyed: Bool = true
    ) -> String {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: sim\r\n"
        if keyed, let key { head += "X-API-Key: \(key)\r\n" }
        for (name, value) in fields { head += "\(name): \(value)\r\n" }
        let hasType = fields.keys.contains("Content-Type")
        if let body {
            if !hasType { head += "Content-Type: application/json\r\n" }
            head += "Content-Length: \(body.utf8.count)\r\n"
        }
        return head + "\r\n" + (body ?? "")
    }

    /// Creates by the second API; answers the sandbox's id.
    func create(
        _ body: String = #"{"templateID":"base"}"#, _ fields: [String: String] = [:]
    ) async throws -> String {
        let answer = try await self("POST", "/v2/sandboxes", body, fields)
        #expect(answer.status == 201, "\(answer.text)")
        return try #require(answer.json["sandboxID"]?.string)
    }

    /// Moves the simulator's clock.
    func advance(seconds: Int) async throws {
        let answer = try await self("POST", "/_sim/clock", #"{"advanceMs":\#(seconds * 1000)}"#)
        #expect(answer.status == 200)
    }

    /// Runs a line in a sandbox; answers what came.
    func run(_ line: String, in id: String, token: String?) async throws -> RawResponse {
        let request =
            #"{"process":{"cmd":"/bin/bash","args":["-l","-c","\#(line)"]},"stdin":false}"#
        var fields = ["E2b-Sandbox-Id": id, "Content-Type": "application/connect+json"]
        if let token { fields["X-Access-Token"] = token }
        let body = String(decoding: Envelope.wrap(Array(request.utf8)), as: UTF8.self)
        return try await self("POST", "/process.Process/Start", body, fields, keyed: false)
    }
}

extension RawResponse {
    var json: JSONValue { (try? JSONReader.decode(JSONValue.self, from: body)) ?? .null }

    /// The envelopes of a stream: flags and message.
    var envelopes: [(flags: UInt8, text: String)] {
        var found: [(flags: UInt8, text: String)] = []
        var rest = body[...]
        while rest.count >= 5 {
            let length = rest.dropFirst().prefix(4).reduce(0) { $0 << 8 | Int($1) }
            let flags = rest[rest.startIndex]
            rest = rest.dropFirst(5)
            found.append((flags, String(decoding: rest.prefix(length), as: UTF8.self)))
            rest = rest.dropFirst(length)
        }
        return found
    }
}

extension JSONValue {
    var string: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    var int: Int? {
        guard case .number(let number) = self else { return nil }
        return number.int
    }

    var array: [JSONValue] {
        guard case .array(let elements) = self else { return [] }
        return elements
    }
}
