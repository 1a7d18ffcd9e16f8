import ControlPlane
import Foundation
import Glibc
import JSON
import Postgres
import TestSupport
import Testing

/// `breakwater serve` as a process, on a port that was free.
struct Instance: Sendable {
    let child: Child
    let port: UInt16

    var url: String { "http://127.0.0.1:\(port)" }

    /// The operator's key of all instances that are given a database.
    static let operatorKey: String = {
        var random = SystemRandomNumberGenerator()
        return APIKeySecret(using: &random).text
    }()

    /// One request on a connection of its own.
    func call(
        _ method: String, _ path: String, _ body: String? = nil, key: String? = nil,
        fields: [String: String] = [:]
    ) async throws -> Answer {
        try await connect().call(method, path, body, key: key, fields: fields)
    }

    func connect() throws -> Wire { try Wire(port: port) }

    func asOperator(_ method: String, _ path: String, _ body: String? = nil) async throws -> Answer
    {
        try await call(method, path, body, key: Self.operatorKey)
    }

    /// A new tenant's id, with a key of it.
    func tenant(_ name: String = "acme") async throws -> (id: String, keyID: String, key: String) {
        let tenant = try await asOperator("POST", "/v1/admin/tenants", #"{"name":"\#(name)"}"#)
        let id = try #require(tenant.json?["id"]?.text, "\(tenant.text)")
        let made = try await asOperator(
            "POST", "/v1/admin/tenants/\(id)/keys", #"{"scopes":["record","read"]}"#)
        return (
            id, try #require(made.json?["id"]?.text), try #require(made.json?["key"]?.text)
        )
    }

    /// The log so far, a line an entry.
    var lines: [String] {
        get throws {
            try String(contentsOfFile: child.output, encoding: .utf8)
                .split(separator: "\n").map(String.init)
        }
    }

    /// Entries of that name, in order.
    func logged(_ message: String) throws -> [JSONValue] {
        try lines.compactMap { JSONValue($0) }.filter { $0["message"]?.text == message }
    }

    /// Asks it to stop; it must end with 0.
    func stop(within limit: Duration = .seconds(60)) async throws {
        child.signal(SIGTERM)
        #expect(try await child.ended(within: limit) == .exited(0))
    }
}

extension Scratch {
    /// Starts an instance and waits until it is ready.
    ///
    /// - Parameters:
    ///   - database: its DATABASE_URL; nil for a private PostgreSQL in `data` of this folder.
    ///   - isPooled: that database is reached through a pooler.
    func serve(
        database: String? = nil, isPooled: Bool = TestDatabase.isPooled, data: String = "data",
        set: [String: String] = [:],
        environment: [String: String] = [:], prefix: [String] = [], path: String? = nil
    ) async throws -> Instance {
        var variables = environment
        variables["DATABASE_URL"] = database
        if let database, isPooled {
            variables["DATABASE_URL"] = TestDatabase.serving(database)
            variables["DATABASE_MIGRATION_URL"] = try await onThread {
                try TestDatabase.direct(database)
            }
            variables["BREAKWATER_POSTGRES_PREPARED_STATEMENTS"] = "false"
        }
        if variables["BREAKWATER_OPERATOR_KEY"] == nil {
            variables["BREAKWATER_OPERATOR_KEY"] = Instance.operatorKey
        }
        let child = try breakwater(
            serving(data, set: set), environment: variables, prefix: prefix, path: path)
        return try await ready(child)
    }

    /// The arguments for an instance on a free port.
    func serving(_ data: String = "data", set: [String: String] = [:]) -> [String] {
        ["serve", "--listen", "127.0.0.1:0", "--data", self(data)]
            + set.sorted { $0.key < $1.key }.flatMap { ["--set", "\($0.key)=\($0.value)"] }
    }

    /// Waits until what was started serves.
    func ready(_ child: Child) async throws -> Instance {
        let port = try await eventually("it listens") { () throws -> UInt16? in
            let instance = Instance(child: child, port: 0)
            if let entry = try instance.logged("service_ready").first,
                let address = entry["addresses"]?[0]?.text
            {
                return address.split(separator: ":").last.flatMap { UInt16($0) }
            }
            if let end = child.state {
                let errors = try String(contentsOfFile: child.errors, encoding: .utf8)
                throw Failure("it did not start, \(end): \(errors)")
            }
            return nil
        }
        let instance = Instance(child: child, port: port)
        try await eventually("it is ready") {
            try await instance.call("GET", "/readyz").status == 200
        }
        return instance
    }
}

extension JSONValue {
    var text: String? { if case .string(let text) = self { text } else { nil } }
    var integer: Int? { if case .number(let number) = self { number.int } else { nil } }
    var flag: Bool? { if case .bool(let flag) = self { flag } else { nil } }

    var items: [JSONValue] { if case .array(let elements) = self { elements } else { [] } }

    subscript(index: Int) -> JSONValue? { items.indices.contains(index) ? items[index] : nil }
}
