import API
import ControlPlane
import Foundation
import HTTP
import IO
import Postgres
import ServiceSupport
import TestSupport
import Testing

/// What `openapi/breakwater.yaml` and `docs/problems.md` say may go wrong is what does: each operation
/// is called wrongly in every way, over a socket, and the answers are held against both.
@Suite(.proves("H2")) struct `Every documented error` {
    @Test func `is what some call gets, and no call gets another`() async throws {
        let calls = WrongCalls(try Contract.operations())
        try await Served.with { served in
            try await calls.byContent(served)
            try await calls.byState(served)
            try await calls.underLimits(served.plane)
        }
        try await calls.withoutDatabase()

        let documented = calls.operations.reduce(into: Set<WrongCalls.Outcome>()) {
            all, operation in
            for (status, problems) in operation.problems {
                for problem in problems where operation.mayAnswer(problem) {
                    all.insert(WrongCalls.Outcome(operation.id, status, problem))
                }
            }
        }
        let got = calls.outcomes
        #expect(documented.subtracting(got) == [], "in the contract, but no call gets it")
        let known = got.filter { $0.operation != WrongCalls.noOperation }
        #expect(known.subtracting(documented) == [], "what a call gets, but not in the contract")

        let (types, reserved) = try Self.page()
        #expect(
            types
                == Dictionary(
                    uniqueKeysWithValues: ProblemType.all.map { ($0.name, Int($0.status.code)) }))
        #expect(Set(got.map(\.problem)) == Set(types.keys).subtracting(reserved))
        for outcome in got { #expect(outcome.status == types[outcome.problem], "\(outcome)") }
    }

    /// The types that `docs/problems.md` describes, with their status, and those among them that it
    /// says are not in use.
    private static func page() throws -> (types: [String: Int], reserved: Set<String>) {
        let text = try String(
            contentsOf: Contract.root.appending(path: "docs/problems.md"), encoding: .utf8)
        var types: [String: Int] = [:]
        var reserved: Set<String> = []
        for section in text.split(separator: "\n## ").dropFirst() {
            let lines = section.split(separator: "\n")
            let name = String(lines[0])
            types[name] = Int(lines[1].prefix(3))
            if lines[1].contains("Reserved:") { reserved.insert(name) }
        }
        return (types, reserved)
    }
}

extension ContractOperation {
    /// A key with any scope may call some: there only a suspended tenant's is forbidden.
    fileprivate func mayAnswer(_ problem: String) -> Bool {
        problem != "forbidden" || scopes != ["record", "sandbox", "read", "admin", "operator"]
    }
}
