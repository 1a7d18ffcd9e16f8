import API
import ControlPlane
import Foundation
import HTTP
import ServiceSupport
import TestSupport
import Testing
import Yams

/// `openapi/breakwater.yaml` and the code say the same, both ways.
@Suite(.proves("H2")) struct `The contract` {
    private struct Operation: Hashable, CustomStringConvertible {
        let method: String
        let path: String
        let id: String
        var description: String { "\(method) \(path) [\(id)]" }
    }

    private static func document() throws -> [String: Any] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(
            contentsOf: root.appending(path: "openapi/breakwater.yaml"), encoding: .utf8)
        return try #require(try Yams.load(yaml: text) as? [String: Any])
    }

    @Test func `names every route, and no other`() async throws {
        let paths = try #require(try Self.document()["paths"] as? [String: [String: Any]])
        var written: Set<Operation> = []
        for (path, item) in paths {
            for (method, operation) in item {
                guard let operation = operation as? [String: Any],
                    let id = operation["operationId"] as? String
                else { continue }
                written.insert(Operation(method: method.uppercased(), path: path, id: id))
            }
        }
        let served = try await Plane.with { plane in
            let services = Services(
                keys: plane.keys, ledger: plane.ledger, breakers: plane.breakers,
                attempts: plane.attempts, regions: plane.regions, budget: plane.budget,
                sandboxes: plane.sandboxes,
                pipeline: plane.reads, jobs: [],
                readiness: Readiness(), metricsPage: { "" }, tell: { _ in })
            return Set(
                apiRoutes(services).map {
                    Operation(
                        method: "\($0.method)", path: $0.pattern.text, id: $0.operationID)
                })
        }
        #expect(written.subtracting(served) == [], "in the contract alone")
        #expect(served.subtracting(written) == [], "in the code alone")
        #expect(!served.isEmpty)
    }

    @Test func `lists every problem type, and no other`() throws {
        let document = try Self.document()
        var found: Set<String> = []
        Self.collect(document, into: &found)
        #expect(found == Set(ProblemType.all.map(\.urn)))
    }

    /// Every `urn:breakwater:problem:` that stands anywhere as a value of its own.
    private static func collect(_ value: Any, into found: inout Set<String>) {
        switch value {
        case let text as String where text.hasPrefix("urn:breakwater:problem:"): found.insert(text)
        case let list as [Any]: for element in list { collect(element, into: &found) }
        case let object as [String: Any]:
            for element in object.values { collect(element, into: &found) }
        default: break
        }
    }
}
