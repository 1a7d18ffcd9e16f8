import API
import ControlPlane
import HTTP
import ServiceSupport
import TestSupport
import Testing

/// `openapi/breakwater.yaml` and the code say the same, both ways.
@Suite(.proves("H2")) struct `The contract` {
    private struct Operation: Hashable, CustomStringConvertible {
        let method: String
        let path: String
        let id: String
        var description: String { "\(method) \(path) [\(id)]" }
    }

    @Test func `names every route, and no other`() async throws {
        let written = Set(
            try Contract.operations().map {
                Operation(method: $0.method, path: $0.pattern, id: $0.id)
            })
        let served = try await Plane.with { plane in
            let services = Services(
                keys: plane.keys, ledger: plane.ledger, breakers: plane.breakers,
                attempts: plane.attempts, regions: plane.regions, budget: plane.budget,
                sandboxes: plane.sandboxes, events: plane.events,
                alertSender: plane.alertSender,
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
        #expect(Contract.problems(in: try Contract.document()) == Set(ProblemType.all.map(\.urn)))
    }
}
