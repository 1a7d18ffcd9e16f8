import Foundation
import TestSupport
import Testing

/// What the command says of itself, held against files. After a change that is meant:
///
///     BREAKWATER_GOLDEN=write swift test --filter GoldenTests
///
/// and read the difference before it is committed.
@Suite(.timeLimit(.minutes(3))) struct `The command's own words` {
    /// A file for each, with the commands whose output stands in it.
    static let pages: [(file: String, commands: [[String]])] = [
        ("help", [["--help"]]),
        ("help-serve", [["help", "serve"]]),
        ("help-migrate", [["help", "migrate"]]),
        (
            "help-tenant",
            [["help", "tenant"]]
                + ["create", "list", "show", "suspend", "resume", "export", "delete"].map {
                    ["help", "tenant", $0]
                }
        ),
        (
            "help-key",
            [["help", "key"]]
                + ["create", "list", "rotate", "revoke", "generate"].map { ["help", "key", $0] }
        ),
        (
            "help-secrets",
            [["help", "secrets"]] + ["show", "rotate"].map { ["help", "secrets", $0] }
        ),
        ("help-health", [["help", "health"]]),
        ("help-settings", [["help", "settings"]]),
        ("help-simulate", [["help", "simulate"]]),
        ("help-bench", [["help", "bench"]]),
        ("help-doctor", [["help", "doctor"]]),
        ("help-backup", [["help", "backup"], ["help", "restore"]]),
        ("help-import", [["help", "import"]]),
        // The default is half the machine's cores.
        ("settings", [["settings", "--set", "loops=1"]]),
    ]

    @Test(.proves("H8"), arguments: pages.map(\.file))
    func `are as they were`(_ file: String) async throws {
        let page = try #require(Self.pages.first { $0.file == file })
        let text = try await Scratch.with { scratch in
            var text = ""
            for command in page.commands {
                let outcome = try await scratch.run(command)
                #expect(outcome.end == .exited(0))
                #expect(outcome.errors == "")
                text += "$ breakwater \(command.joined(separator: " "))\n\(outcome.output)"
            }
            return text
        }
        let path = (#filePath as NSString).deletingLastPathComponent + "/Golden/\(file).txt"
        if ProcessInfo.processInfo.environment["BREAKWATER_GOLDEN"] == "write" {
            try text.write(toFile: path, atomically: true, encoding: .utf8)
        }
        let golden = try? String(contentsOfFile: path, encoding: .utf8)
        #expect(text == golden, "\(path) says otherwise; is the change meant?")
    }

    @Test func `are its help when it is told nothing`() async throws {
        try await Scratch.with { scratch in
            let none = try await scratch.run([])
            let help = try await scratch.run(["--help"])
            #expect(none.output == help.output)
        }
    }
}
