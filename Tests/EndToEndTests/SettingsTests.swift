import Foundation
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(3))) struct `Settings` {
    private func value(
        of name: String, _ arguments: [String] = [], _ environment: [String: String] = [:]
    ) async throws -> String? {
        try await Scratch.with { scratch in
            let outcome = try await scratch.run(["settings"] + arguments, environment: environment)
            #expect(outcome.end == .exited(0), "\(outcome.errors)")
            return outcome.output.split(separator: "\n").first { $0.hasPrefix(name + "=") }
                .map { String($0.dropFirst(name.count + 1)) }
        }
    }

    @Test(.proves("H8"))
    func `come from the file, over it the environment, over both the flags`() async throws {
        let file = "/tmp/bw-e2e-settings-\(ProcessInfo.processInfo.processIdentifier)"
        defer { try? FileManager.default.removeItem(atPath: file) }
        try "# ours\nBREAKWATER_DRAIN_S=11\nkeys.pollMs = \"111\"\n".write(
            toFile: file, atomically: true, encoding: .utf8)
        let environment = ["BREAKWATER_DRAIN_S": "12"]
        let config = ["--config", file]
        #expect(try await value(of: "drainS") == "25")
        #expect(try await value(of: "drainS", config) == "11")
        #expect(try await value(of: "keys.pollMs", config) == "111")
        #expect(try await value(of: "drainS", config, environment) == "12")
        #expect(
            try await value(of: "drainS", config + ["--set", "drainS=13"], environment) == "13")
        #expect(
            try await value(of: "drainS", [], ["BREAKWATER_CONFIG": file]) == "11")
    }

    @Test func `keep secrets to themselves`() async throws {
        try await Scratch.with { scratch in
            try scratch.write("postgresql://u:hush@db/x\n", to: "url")
            let outcome = try await scratch.run(
                ["settings"],
                environment: [
                    "DATABASE_URL_FILE": scratch("url"),
                    "BREAKWATER_OPERATOR_KEY": Instance.operatorKey,
                ])
            #expect(outcome.end == .exited(0))
            #expect(outcome.output.contains("databaseURL=<redacted>\n"))
            #expect(outcome.output.contains("operatorKey=<redacted>\n"))
            #expect(!outcome.output.contains("hush"))
            #expect(!outcome.output.contains(Instance.operatorKey))
        }
    }

    @Test(arguments: [
        "BREAKWATER_URL", "BREAKWATER_BIN", "BREAKWATER_TEST_DATABASE_URL", "BREAKWATER_GOLDEN",
    ])
    func `leave variables of the scripts and tests alone`(_ name: String) async throws {
        #expect(try await value(of: "drainS", [], [name: "whatever"]) == "25")
    }

    @Test(arguments: [("recommended", "10"), ("original", "3")])
    func `are taken from the files in deploy`(_ file: String, attempts: String) async throws {
        let path = (#filePath as NSString).deletingLastPathComponent + "/../../deploy/\(file).conf"
        #expect(try await value(of: "retry.maxAttempts", ["--config", path]) == attempts)
    }
}
