import ControlPlane
import Foundation
import JSON
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(3))) struct `What was built` {
    private static let names = [
        "version", "commit", "configuration", "swift", "libpq", "libcurl", "migrations",
    ]

    /// `--version`: the version alone on the first line, then a name and its value a line.
    private func facts(_ scratch: Scratch) async throws -> [String: String] {
        let outcome = try await scratch.run(["--version"])
        #expect(outcome.end == .exited(0))
        let lines = outcome.output.split(separator: "\n").map(String.init)
        var facts = ["version": try #require(lines.first)]
        for line in lines.dropFirst() {
            let words = line.split(separator: " ", maxSplits: 1).map(String.init)
            facts[words[0]] = words.last
        }
        return facts
    }

    @Test(.proves("H9")) func `is said by --version, the log and the metrics alike`() async throws {
        try await Database.with { url, scratch in
            let facts = try await facts(scratch)
            #expect(Set(facts.keys) == Set(Self.names))
            #expect(facts["version"]?.wholeMatch(of: /\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?/) != nil)
            #expect(facts["commit"]?.wholeMatch(of: /unknown|[0-9a-f]{12}(-changed)?/) != nil)
            #expect(["debug", "release"].contains(facts["configuration"] ?? ""))
            #expect(facts["swift"]?.wholeMatch(of: /unknown|\d+\.\d+(\.\d+)?/) != nil)
            #expect(facts["libpq"]?.wholeMatch(of: /\d+\.\d+/) != nil)
            #expect(facts["libcurl"]?.wholeMatch(of: /\d+\.\d+\.\d+\S*/) != nil)
            #expect(facts["migrations"] == "\(Schema.migrations.count)")

            let instance = try await scratch.serve(database: url)
            let entry = try #require(try instance.logged("service_starting").first)
            for name in Self.names { #expect(entry[name]?.text == facts[name], "\(name)") }
            let metrics = try await instance.call("GET", "/metrics").text
            let labels = Self.names.map { "\($0)=\"\(facts[$0] ?? "")\"" }.joined(separator: ",")
            #expect(metrics.contains("breakwater_build_info{\(labels)} 1\n"))
            try await instance.stop()
        }
    }

    /// The file that `make` leaves, if it did, is what the binary says.
    @Test func `names the commit that was stamped`() async throws {
        let root = (#filePath as NSString).deletingLastPathComponent + "/../.."
        let stamped = try? String(contentsOfFile: root + "/.build-info/commit", encoding: .utf8)
        try await Scratch.with { scratch in
            let commit = try await facts(scratch)["commit"]
            // One that was built before the stamp says so.
            #expect(commit == stamped || commit == "unknown" || stamped == nil)
        }
    }

    /// The script alone: it writes what it found, and nothing when nothing changed.
    @Test func `is stamped once for each change`() async throws {
        let root = (#filePath as NSString).deletingLastPathComponent + "/../.."
        try await Scratch.with { scratch in
            let script = try String(contentsOfFile: root + "/Scripts/stamp", encoding: .utf8)
            try scratch.write(script, to: "tree/Scripts/stamp")
            func stamp(_ commit: String) async throws -> (text: String, at: Date?) {
                let child = try scratch.start(
                    ["/bin/bash", scratch("tree/Scripts/stamp")],
                    environment: Program.environment(["COMMIT": commit]))
                #expect(try await child.ended() == .exited(0))
                let file = scratch("tree/.build-info/commit")
                let status = try FileManager.default.attributesOfItem(atPath: file)
                return (
                    try scratch.read("tree/.build-info/commit"),
                    status[.modificationDate] as? Date
                )
            }
            let first = try await stamp("0123456789ab")
            let same = try await stamp("0123456789ab")
            let other = try await stamp("ba9876543210")
            #expect(first.text == "0123456789ab")
            #expect(same.at == first.at)
            #expect(other.text == "ba9876543210")
        }
    }
}

@Suite(.proves("H8"), .timeLimit(.minutes(3))) struct `A shell's completions` {
    /// As `breakwater --generate-completion-script SHELL` prints them.
    private func script(_ shell: String, _ scratch: Scratch) async throws -> String {
        let outcome = try await scratch.run(["--generate-completion-script", shell])
        #expect(outcome.end == .exited(0))
        return outcome.output
    }

    @Test func `are valid for bash and know the subcommands`() async throws {
        try await Scratch.with { scratch in
            try scratch.write(try await script("bash", scratch), to: "breakwater.bash")
            let check = try scratch.start(
                ["/bin/bash", "-n", scratch("breakwater.bash")], environment: [:])
            #expect(try await check.ended() == .exited(0))
            // What bash would offer after `breakwater ` and after `breakwater key `.
            for (line, wanted) in [
                ("breakwater ", ["serve", "migrate", "tenant", "key", "doctor", "backup"]),
                ("breakwater key ", ["create", "list", "rotate", "revoke", "generate"]),
            ] {
                let words = line.split(separator: " ").map { "'\($0)'" }.joined(separator: " ")
                let count = line.split(separator: " ").count
                let asked = try scratch.start(
                    [
                        "/bin/bash", "-c",
                        """
                        source \(scratch("breakwater.bash")); COMP_WORDS=(\(words) ''); \
                        COMP_CWORD=\(count); COMP_LINE='\(line)'; COMP_POINT=${#COMP_LINE}; \
                        _breakwater breakwater '' ''; printf '%s\\n' "${COMPREPLY[@]}"
                        """,
                    ], environment: Program.environment([:]))
                #expect(try await asked.ended() == .exited(0))
                let offered = try String(contentsOfFile: asked.output, encoding: .utf8)
                    .split(separator: "\n").map { String($0.filter { !$0.isWhitespace }) }
                for name in wanted { #expect(offered.contains(name), "\(line)→ \(offered)") }
            }
        }
    }

    @Test(arguments: ["zsh", "fish"]) func `exist for`(_ shell: String) async throws {
        try await Scratch.with { scratch in
            let script = try await script(shell, scratch)
            for name in ["serve", "migrate", "tenant", "doctor"] {
                #expect(script.contains(name))
            }
        }
    }
}
