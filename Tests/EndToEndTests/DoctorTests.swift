import ControlPlane
import Foundation
import Glibc
import IO
import JSON
import Postgres
import TestSupport
import Testing

@Suite(.proves("H8"), .timeLimit(.minutes(3))) struct `The doctor` {
    @Test func `finds nothing wrong before the first start, and leaves no trace`() async throws {
        try await Scratch.with { scratch in
            let report = try await scratch.doctor()
            #expect(report.bad.isEmpty)
            #expect(report.found("database").contains("breakwater serve"))
            #expect(!scratch.exists("data"))
        }
    }

    @Test func `finds nothing wrong with an instance at work, and changes nothing`() async throws {
        try await Scratch.with { scratch in
            let instance = try await scratch.serve()
            // Its jobs may write; its tables' definitions may not change.
            let objects = """
                SELECT count(*) || ' ' || max(oid) FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relname !~ '_20'
                """
            let before = try await scratch.sql(objects)
            let report = try await scratch.doctor(["--listen", "127.0.0.1:\(instance.port)"])
            #expect(report.bad.isEmpty)
            #expect(report.found("listen").contains("Breakwater"))
            #expect(report.checks.count > 20)
            #expect(try await scratch.sql(objects) == before)
            try await instance.stop()
        }
    }

    @Test func `says a line for each check, and exits with 64 for wrong usage`() async throws {
        try await Scratch.with { scratch in
            let lines = try await scratch.run(["doctor", "--data", scratch("data")])
            for line in lines.output.split(separator: "\n") {
                #expect(line.wholeMatch(of: /(ok|warning|problem) +[a-zA-Z.]+: .+/) != nil)
            }
            for flags in [["--nonsense"], ["--set", "drainS"]] {
                #expect(try await scratch.run(["doctor"] + flags).end == .exited(64))
            }
        }
    }

    @Test func `finds settings that cannot be read, all of them`() async throws {
        try await Scratch.with { scratch in
            try scratch.write("BREAKWATER_DRAIN_S=soon\nnonsense\n", to: "conf")
            let report = try await scratch.doctor(
                ["--config", scratch("conf"), "--set", "loops=0"],
                environment: [
                    "BREAKWATER_TYPO": "1", "DATABASE_URL_FILE": scratch("nowhere"),
                    "BREAKWATER_OPERATOR_KEY": "e2b_short",
                ])
            let found = report.found("settings")
            for words in ["drainS", "line 2", "BREAKWATER_TYPO", "DATABASE_URL_FILE", "loops"] {
                #expect(found.contains(words), "\(words)")
            }
            #expect(report.level("settings.operatorKey") == "problem")
        }
    }

    @Test(arguments: [(0o600, "ok"), (0o644, "warning"), (0o666, "problem")])
    func `looks who may read and write files with secrets`(
        _ mode: Int, _ level: String
    ) async throws {
        try await Scratch.with { scratch in
            try scratch.write(Instance.operatorKey, to: "data/operator.key")
            try scratch.write("", to: "conf")
            for file in ["data/operator.key", "conf"] {
                try scratch.give(file, mode: mode_t(mode))
                for other in ["data/operator.key", "conf"] where other != file {
                    try scratch.give(other, mode: 0o600)
                }
                let report = try await scratch.doctor(["--config", scratch("conf")])
                #expect(report.level("settings.file") == level, "\(file)")
            }
        }
    }

    @Test func `looks whether others may write into the data folder`() async throws {
        try await Scratch.with { scratch in
            try scratch.write("", to: "data/file")
            #expect(try await scratch.doctor().level("data.folder") == "ok")
            try scratch.give("data", mode: 0o777)
            #expect(try await scratch.doctor().level("data.folder") == "problem")
            try scratch.write("", to: "file")
            let none = try await scratch.doctor(["--data", scratch("file")])
            #expect(none.level("data.folder") == "problem")
        }
    }

    @Test(.enabled(if: isRoot, "only root may mount a disk"))
    func `finds a disk that is nearly full, of octets or of files`() async throws {
        try await Scratch.with { scratch in
            for (options, check) in [
                ("size=64m", "data.space"), ("size=9g,nr_inodes=300", "data.inodes"),
            ] {
                try scratch.write("", to: "disk/.keep")
                let mount = try scratch.start(
                    ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", scratch("disk")],
                    environment: [:])
                // Where a container may not mount, there is nothing to find.
                guard try await mount.ended() == .exited(0) else { return }
                let report = try await scratch.doctor(["--data", scratch("disk/data")])
                let unmount = try scratch.start(
                    ["/bin/umount", scratch("disk")], environment: [:])
                #expect(try await unmount.ended() == .exited(0))
                #expect(report.level(check) == "problem", "\(options)")
                #expect(report.bad.count == 1)
            }
        }
    }

    @Test func `finds a port that others have, and by whom`() async throws {
        try await Scratch.with { scratch in
            let taken = try Listener.open(.tcp(host: "127.0.0.1", port: 0))
            defer { close(taken.descriptor) }
            let report = try await scratch.doctor(["--listen", "\(taken.address)"])
            #expect(report.level("listen") == "problem")
            #expect(report.found("listen").contains("process \(getpid())"))
            let away = try await scratch.doctor(["--listen", "192.0.2.1:80"])
            #expect(away.level("listen") == "problem")
            #expect(away.found("listen").contains("no address of this machine"))
            let socket = try Listener.open(.unix(path: scratch("socket")))
            defer { close(socket.descriptor) }
            let busy = try await scratch.doctor(["--listen", "unix:" + scratch("socket")])
            #expect(busy.level("listen") == "problem")
        }
    }

    @Test func `holds the limit of open files against the connections`() async throws {
        try await Scratch.with { scratch in
            for (limit, level) in [(200, "problem"), (300, "warning"), (4_000, "ok")] {
                let report = try await scratch.doctor(
                    ["--set", "loops=1", "--set", "http.connections=3000"],
                    prefix: ["/bin/sh", "-c", "ulimit -n \(limit); exec \"$@\"", "sh"])
                #expect(report.level("system.files") == level)
            }
        }
    }

    @Test func `counts what an instance takes, which is all that it may`() async throws {
        try await Scratch.with { scratch in
            let shell = ["/bin/sh", "-c", "ulimit -Sn 300; exec \"$@\"", "sh"]
            let report = try await scratch.doctor(prefix: shell)
            #expect(report.level("system.files") == "ok")
            let instance = try await scratch.serve(prefix: shell)
            let limits = try String(
                contentsOfFile: "/proc/\(instance.child.pid)/limits", encoding: .utf8)
            let files = try #require(limits.firstMatch(of: /Max open files +(\d+) +(\d+)/))
            #expect(files.1 == files.2)
            try await instance.stop()
        }
    }

    @Test func `finds a database that is away, and one that says nothing, in time`() async throws {
        try await Scratch.with { scratch in
            let away = try await scratch.doctor(
                environment: ["DATABASE_URL": "postgresql://127.0.0.1:1/x"])
            #expect(away.level("database") == "problem")
            // Takes connections and never speaks.
            let mute = try Listener.open(.tcp(host: "127.0.0.1", port: 0))
            defer { close(mute.descriptor) }
            let start = MonotonicInstant.now
            let silent = try await scratch.doctor(
                environment: ["DATABASE_URL": "postgresql://\(mute.address)/x"])
            #expect(silent.level("database") == "problem")
            #expect(start.duration(to: .now) < .seconds(30))
        }
    }

    /// A login's answer that does not come: the table's lock is another's, for good.
    @Test func `does not wait for a lock that is held`() async throws {
        try await Database.with { url, scratch in
            let lock = try await HeldLock.take(url, table: "job", mode: "ACCESS EXCLUSIVE")
            let start = MonotonicInstant.now
            let report = try await scratch.doctor(environment: ["DATABASE_URL": url])
            #expect(report.level("database") == "problem")
            #expect(start.duration(to: .now) < .seconds(30))
            try await lock.release()
        }
    }
}
