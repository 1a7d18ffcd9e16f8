import Foundation
import Glibc
import JSON
import TestSupport
import Testing

@Suite(.proves("H5"), .timeLimit(.minutes(3))) struct `A start of a private PostgreSQL` {
    /// How far the start has come when the signal arrives.
    enum Moment: String, CaseIterable {
        case initdb = "data/postgres/data.new"
        case postmaster = "data/postgres/data/postmaster.pid"
    }

    private func start(_ scratch: Scratch, until moment: Moment) async throws -> Child {
        let child = try scratch.breakwater(scratch.serving())
        try await eventually("there is \(moment)") {
            let (folder, name) = (
                (moment.rawValue as NSString).deletingLastPathComponent,
                (moment.rawValue as NSString).lastPathComponent
            )
            let names = try? FileManager.default.contentsOfDirectory(atPath: scratch(folder))
            return names?.contains { $0.hasPrefix(name) } == true
        }
        return child
    }

    @Test(arguments: Moment.allCases)
    func `is undone when it is asked to stop`(_ moment: Moment) async throws {
        try await Scratch.with { scratch in
            let child = try await start(scratch, until: moment)
            child.signal(SIGTERM)
            #expect(try await child.ended() == .exited(0))
            #expect(scratch.servers.isEmpty)
            let instance = Instance(child: child, port: 0)
            #expect(try instance.logged("service_stopping").count == 1)
            #expect(try instance.logged("service_stopped").count == 1)
            try await scratch.serve().stop()
        }
    }

    @Test(arguments: Moment.allCases)
    func `is begun anew when it was killed`(_ moment: Moment) async throws {
        try await Scratch.with { scratch in
            let child = try await start(scratch, until: moment)
            child.signal(SIGKILL)
            #expect(try await child.ended() == .killed(by: SIGKILL))
            try await scratch.serve().stop()
            #expect(scratch.servers.isEmpty)
            // An orphan of the first may have worked beside the second.
            try await scratch.serve().stop()
            let left = try FileManager.default.contentsOfDirectory(
                atPath: scratch("data/postgres"))
            #expect(left.filter { $0.hasPrefix("data") } == ["data"])
        }
    }

    struct Folder: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// Below the data folder.
        var files: [String: String] = [:]
        var mode: mode_t = 0o700
        var isOurs = true
        let reason: String
    }

    static let folders = [
        Folder(
            testDescription: "a newer version's", files: ["data/PG_VERSION": "99\n"],
            reason: "was made by PostgreSQL 99, and "),
        Folder(
            testDescription: "without a version", files: ["data/notes.txt": "mine\n"],
            reason: "is not of PostgreSQL's making, without a PG_VERSION; move it away"),
        Folder(
            testDescription: "with a version that is none", files: ["data/PG_VERSION": "new\n"],
            reason: "is not of PostgreSQL's making, without a PG_VERSION; move it away"),
        Folder(
            testDescription: "a file", files: ["data": "mine\n"],
            reason: "is not a folder; move it away"),
        Folder(
            testDescription: "open to others", files: ["data/PG_VERSION": "15\n"], mode: 0o755,
            reason: "is open to others: chmod 0700"),
        Folder(
            testDescription: "another user's", files: ["data/PG_VERSION": "15\n"], isOurs: false,
            reason: "belongs to user 0, and PostgreSQL would run as "),
    ]

    @Test(arguments: folders)
    func `refuses a folder that it cannot use, and says why`(_ folder: Folder) async throws {
        guard folder.isOurs || isRoot else { return }  // nobody else can give it away
        try await Scratch.with { scratch in
            for (name, text) in folder.files {
                try scratch.write(text, to: "data/postgres/" + name)
            }
            let data = scratch("data/postgres/data")
            let postgres = unsafe getpwnam("postgres").map { unsafe $0.pointee.pw_uid }
            try scratch.give(
                "data/postgres/data", mode: folder.mode,
                to: isRoot && folder.isOurs ? postgres : nil)
            let outcome = try await scratch.run(scratch.serving())
            #expect(outcome.end == .exited(1))
            #expect(outcome.errors.hasPrefix("breakwater: "))
            #expect(outcome.errors.contains(data))
            #expect(outcome.errors.contains(folder.reason), "\(outcome.errors)")
            #expect(outcome.errors.split(separator: "\n").count == 1)
            for (name, text) in folder.files {
                #expect(try scratch.read("data/postgres/" + name) == text)
            }
            #expect(scratch.servers.isEmpty)
        }
    }
}
