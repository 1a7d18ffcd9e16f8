import JSON
import Testing

/// What `doctor` said, by check.
struct DoctorReport {
    let end: Child.End
    let checks: [JSONValue]

    func level(_ check: String) -> String? {
        let levels = checks.filter { $0["check"]?.text == check }.compactMap { $0["level"]?.text }
        return ["problem", "warning", "ok"].first { levels.contains($0) }
    }

    func found(_ check: String) -> String {
        checks.filter { $0["check"]?.text == check }.compactMap { $0["found"]?.text }
            .joined(separator: "\n")
    }

    /// Those that are not ok.
    var bad: [String] {
        checks.filter { $0["level"]?.text != "ok" }.map {
            "\($0["check"]?.text ?? ""): \($0["found"]?.text ?? "")"
        }
    }
}

extension Scratch {
    func doctor(
        _ arguments: [String] = [], environment: [String: String] = [:], prefix: [String] = []
    ) async throws -> DoctorReport {
        // A port of nobody's, unless the test says one.
        let outcome = try await run(
            ["doctor", "--json", "--listen", "127.0.0.1:0", "--data", self("data")] + arguments,
            environment: environment, prefix: prefix, within: .seconds(60))
        let json = try #require(
            JSONValue(outcome.output), "\(outcome.output)\(outcome.errors)")
        let checks = json["checks"]?.items ?? []
        let isWell = checks.allSatisfy { $0["level"]?.text != "problem" }
        #expect(json["ok"]?.flag == isWell)
        #expect(outcome.end == .exited(isWell ? 0 : 1))
        // Whoever is told of a trouble is told what to do.
        #expect(checks.allSatisfy { $0["level"]?.text == "ok" || $0["advice"]?.text != nil })
        return DoctorReport(end: outcome.end, checks: checks)
    }
}
