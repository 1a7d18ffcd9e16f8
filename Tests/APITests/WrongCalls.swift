import API
import ControlPlane
import HTTP
import IO
import JSON
import Postgres
import ServiceSupport
import Synchronization
import TestSupport

/// Calls the operations of the contract in every wrong way, and keeps what they are answered.
final class WrongCalls: Sendable {
    struct Outcome: Hashable, CustomStringConvertible {
        let operation: String
        let status: Int
        let problem: String

        init(_ operation: String, _ status: Int, _ problem: String) {
            self.operation = operation
            self.status = status
            self.problem = problem
        }

        var description: String { "\(operation) \(status) \(problem)" }
    }

    /// For what is refused before an operation is found.
    static let noOperation = "-"

    let operations: [ContractOperation]
    private let seen = Mutex<Set<Outcome>>([])
    var outcomes: Set<Outcome> { seen.withLock { $0 } }

    init(_ operations: [ContractOperation]) { self.operations = operations }

    /// Sends `request`, whole or not, and keeps the problem that it is answered with, if it is one.
    @discardableResult func send(
        _ operation: String, _ request: String, to address: Address
    ) async throws -> JSONValue? {
        let (status, text) = try await onThread {
            let client = try RawClient(address)
            try client.send(request)
            let response = try client.response()
            return (response.status, response.text)
        }
        let json = JSONValue(text)
        if status >= 400, let type = json?["type"]?.text {
            let name = type.dropFirst("urn:breakwater:problem:".count)
            _ = seen.withLock { $0.insert(Outcome(operation, status, String(name))) }
        }
        return json
    }

    /// One request's bytes.
    static func request(
        _ method: String, _ target: String, key: String? = nil, body: String? = nil,
        _ fields: [String] = [], type: String = "application/json"
    ) -> String {
        var lines = ["\(method) \(target) HTTP/1.1", "Host: a", "Connection: close"] + fields
        if let key { lines.append("X-API-Key: \(key)") }
        if let body { lines += ["Content-Type: \(type)", "Content-Length: \(body.utf8.count)"] }
        return lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")
    }
}

// MARK: What a request says

extension WrongCalls {
    /// A tenant with a key of each scope, and one that is suspended.
    private struct Keys {
        let tenant: Tenant.ID
        var byScope: [(scope: String, key: String)] = []
        let suspended: String
        let fleet: String

        init(_ served: Served) async throws {
            let (suspendedTenant, suspendedClient) = try await served.tenant()
            _ = try await served.asOperator.post(
                "/v1/admin/tenants/\(suspendedTenant)/suspend", "{}")
            suspended = suspendedClient.key ?? ""
            fleet = served.operatorKey
            tenant = try await served.plane.makeTenant()
            for scope in ["admin", "record", "read", "sandbox"] {
                let (_, secret) = try await served.plane.directory.createKey(
                    for: tenant, name: scope, scopes: Scopes(scope) ?? [], expiresAt: nil,
                    by: .system)
                byScope.append((scope, secret?.text ?? ""))
            }
        }

        func right(for operation: ContractOperation) -> String? {
            if operation.scopes.isEmpty { return nil }
            return byScope.first { operation.scopes.contains($0.scope) }?.key ?? fleet
        }

        func wrong(for operation: ContractOperation) -> String? {
            (byScope + [("operator", fleet)]).first { !operation.scopes.contains($0.0) }?.1
        }
    }

    /// What is wrong with the bytes, the key, the path, the query or the body.
    func byContent(_ served: Served) async throws {
        let address = Address.tcp(host: "127.0.0.1", port: served.client.port)
        let keys = try await Keys(served)
        for operation in operations {
            let target = operation.target(["tenantId": keys.tenant.description])
            let key = keys.right(for: operation)
            func call(
                _ target: String, key: String? = nil, body: String? = nil, _ fields: [String] = [],
                type: String = "application/json"
            ) async throws {
                let request = Self.request(
                    operation.method, target, key: key, body: body, fields, type: type)
                try await send(operation.id, request, to: address)
            }
            try await call(target, key: key, ["no colon"])
            try await call(target, key: key, ["Content-Length: 99999999"])
            try await call(target, key: key, ["Expect: the best"])
            try await call(target, key: key, [String](repeating: "A: b", count: 101))
            try await call(target + "?" + String(repeating: "a", count: 9000), key: key)
            guard !operation.scopes.isEmpty else { continue }
            try await call(target, body: operation.body)
            try await call(target, key: keys.suspended, body: operation.body)
            if let wrong = keys.wrong(for: operation) {
                try await call(target, key: wrong, body: operation.body)
            }
            // A stream that has nothing wrong goes on.
            if !operation.isEndless {
                try await call(operation.targetOfNothing, key: key, body: operation.body)
            }
            if operation.body != nil {
                try await call(target, key: key, body: "{}", type: "text/plain")
                try await call(target, key: key, body: "{")
                try await call(target, key: key, body: #"{"noSuchMember":1}"#)
            } else {
                let query = operation.target(
                    ["tenantId": keys.tenant.description], query: "noSuchItem=1")
                try await call(query, key: key)
            }
        }
        for line in ["GET /no/such", "PATCH /livez", "BREW /livez"] {
            try await send(
                Self.noOperation, "\(line) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                to: address)
        }
        try await send(Self.noOperation, "GET /livez HTTP/2.0\r\nHost: a\r\n\r\n", to: address)
    }
}
