import ArgumentParser
import Glibc
import JSON

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check settings, folders, ports, database and clock; say what to do.",
        discussion: """
            Reads only, before the first start and while an instance runs. A line for each check: \
            ok, warning or problem, what was found, what to do. Exit code: 0 without a problem \
            (there may be warnings), 1 with one, 64 for wrong usage. No part of it waits for \
            longer than 20 s.
            """)

    @OptionGroup var options: SettingsOptions

    @Flag(
        name: .long,
        help:
            "One JSON document: {\"ok\", \"checks\": [{\"check\", \"level\", \"found\", \"advice\"}]}."
    )
    var json = false

    func run() async throws {
        _ = signal(SIGPIPE, SIG_IGN)
        let (settings, errors) = try options.checked()
        let file = options.file
        var all: [Finding] = []
        let parts: [(String, @Sendable () -> [Finding])] = [
            ("settings", { SettingsChecks(settings: settings, errors: errors, file: file).run() }),
            ("data", { FolderChecks(settings: settings).run() }),
            ("listen", { PortChecks(settings: settings).run() }),
            ("database", { DatabaseChecks(settings: settings).run() }),
        ]
        for (name, body) in parts {
            let findings = await findings(of: name, within: .seconds(20), body)
            if !json { for finding in findings { print(finding.line, to: .standardOutput) } }
            all += findings
        }
        let isWell = all.allSatisfy { $0.level != .problem }
        if json {
            var writer = JSONWriter()
            writer.object { writer in
                writer.member("ok", isWell)
                writer.array("checks") { writer in for finding in all { writer.value(finding) } }
            }
            print(String(decoding: writer.bytes, as: UTF8.self), to: .standardOutput)
        }
        if !isWell { throw ExitCode(1) }
    }
}

/// Runs checks on a thread of their own. That they do not come to an end is a finding as well: the
/// thread is left behind, and ends with the process.
private func findings(
    of name: String, within limit: Duration, _ body: @escaping @Sendable () -> [Finding]
) async -> [Finding] {
    let (stream, continuation) = AsyncStream<[Finding]>.makeStream()
    startThread { continuation.yield(body()) }
    startThread {
        usleep(UInt32(limit.components.seconds) * 1_000_000)
        continuation.yield([
            .problem(
                name, "no answer within \(limit.components.seconds) s",
                "Something neither answers nor refuses: look at the disk and the network"
            )
        ])
    }
    for await findings in stream { return findings }
    return []
}
