import ControlPlane
import Foundation
import Glibc
import JSON
import TestSupport
import Testing

@Suite(.proves("H5"), .timeLimit(.minutes(3))) struct `A private PostgreSQL` {
    /// Records one unit; answers how many there are.
    private func record(at instance: Instance, _ key: String) async throws -> Int? {
        let answer = try await instance.call(
            "POST", "/v1/requests", #"{"operation":"op"}"#, key: key)
        #expect(answer.status == 201)
        return answer.json?["count"]?.integer
    }

    /// Its own words about itself: process, data folder, start, port, socket folder.
    private func pidFile(_ scratch: Scratch, _ data: String = "data") throws -> [String] {
        try scratch.read(data + "/postgres/data/postmaster.pid").split(separator: "\n")
            .map(String.init)
    }

    private func owner(of path: String) throws -> UInt32 {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { throw Failure("stat \(path): \(errno)") }
        return status.st_uid
    }

    @Test func `is made, stopped with the service, and there again with what it held`() async throws
    {
        try await Scratch.with { scratch in
            let first = try await scratch.serve()
            #expect(try first.logged("cluster_started").first?["adopted"]?.flag == false)
            let key = try await first.tenant().key
            #expect(try await record(at: first, key) == 1)
            let server = try #require(pid_t(try pidFile(scratch)[0]))
            // PostgreSQL refuses to be root, and so should we.
            let user = try owner(of: "/proc/\(server)")
            #expect(user != 0)
            #expect(try owner(of: scratch("data/postgres/data")) == user)
            try await first.stop()
            #expect(scratch.servers.isEmpty)
            #expect(!scratch.exists("data/postgres/data/postmaster.pid"))

            let second = try await scratch.serve()
            #expect(try second.logged("cluster_started").first?["adopted"]?.flag == false)
            #expect(try await record(at: second, key) == 2)
            try await second.stop()
        }
    }

    @Test(.proves("H1"))
    func `has a key for secrets beside it, the owner's alone, which is kept`() async throws {
        try await Scratch.with { scratch in
            let first = try await scratch.serve()
            let text = try scratch.read("data/secret.key").trimmingCharacters(in: .newlines)
            let key = try #require(SecretKey(text))
            var status = stat()
            #expect(unsafe lstat(scratch("data/secret.key"), &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
            #expect(try first.logged("secret_key_made").first?["keyId"]?.text == key.id)
            #expect(try !first.lines.joined().contains(text))
            try await first.stop()

            let second = try await scratch.serve()
            #expect(try second.logged("secret_key_made").isEmpty)
            #expect(try scratch.read("data/secret.key").contains(text))
            try await second.stop()
        }
        // A given database may be another instance's too: no key is made for it.
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(database: url)
            #expect(!scratch.exists("data/secret.key"))
            try await instance.stop()
        }
    }

    @Test func `outlives a service that is killed, and the next one takes it over`() async throws {
        try await Scratch.with { scratch in
            let first = try await scratch.serve()
            let key = try await first.tenant().key
            #expect(try await record(at: first, key) == 1)
            let server = try pidFile(scratch)[0]
            first.child.signal(SIGKILL)
            #expect(try await first.child.ended() == .killed(by: SIGKILL))
            #expect(isRunning(try #require(pid_t(server))))

            let second = try await scratch.serve()
            #expect(try second.logged("cluster_started").first?["adopted"]?.flag == true)
            #expect(try pidFile(scratch)[0] == server)
            #expect(try await record(at: second, key) == 2)
            try await second.stop()
            #expect(scratch.servers.isEmpty)
        }
    }

    /// A Unix address holds 107 octets.
    @Test func `works on a path that no socket's address holds`() async throws {
        try await Scratch.with { scratch in
            let data = "data" + String(repeating: "-and-more", count: 20)
            let first = try await scratch.serve(data: data)
            let folder = try pidFile(scratch, data)[4]
            #expect(folder.utf8.count < 90 && !folder.hasPrefix(scratch.path))
            first.child.signal(SIGKILL)
            #expect(try await first.child.ended() == .killed(by: SIGKILL))
            let second = try await scratch.serve(data: data)
            #expect(try second.logged("cluster_started").first?["adopted"]?.flag == true)
            try await second.stop()
            #expect(unsafe access(folder, F_OK) != 0)
        }
    }

    @Test(.enabled(if: isRoot, "only root has folders that PostgreSQL's user cannot pass"))
    func `finds a place where its user may pass`() async throws {
        try await Scratch.with { scratch in
            try scratch.write("", to: "closed/file")
            try scratch.give("closed", mode: 0o700)
            let first = try await scratch.serve(data: "closed/data")
            let home = try FileManager.default.destinationOfSymbolicLink(
                atPath: scratch("closed/data/postgres"))
            #expect(home.hasPrefix("/var/lib/breakwater/"))
            let key = try await first.tenant().key
            #expect(try await record(at: first, key) == 1)
            try await first.stop()
            let second = try await scratch.serve(data: "closed/data")
            #expect(try await record(at: second, key) == 2)
            try await second.stop()
        }
    }

    @Test(.enabled(if: isRoot, "only root can be somebody else"))
    func `runs for an ordinary user as that user`() async throws {
        try await Scratch.with { scratch in
            // The checkout may be where that user cannot read.
            let copy = try scratch.start(
                ["/bin/cp", Program.path, scratch("breakwater")], environment: [:])
            #expect(try await copy.ended() == .exited(0))
            let nobody: uid_t = 65_534
            try scratch.write("", to: "own/file")
            try scratch.give("own", mode: 0o700, to: nobody)
            let instance = try await scratch.serve(
                data: "own/data",
                prefix: [
                    "/usr/bin/setpriv", "--reuid=\(nobody)", "--regid=\(nobody)", "--clear-groups",
                ], path: scratch("breakwater"))
            let server = try #require(pid_t(try pidFile(scratch, "own/data")[0]))
            #expect(try owner(of: "/proc/\(instance.child.pid)") == nobody)
            #expect(try owner(of: "/proc/\(server)") == nobody)
            #expect(try await record(at: instance, try await instance.tenant().key) == 1)
            try await instance.stop()
            #expect(scratch.servers.isEmpty)
        }
    }

    @Test(.enabled(if: isRoot, "only root can be somebody else"))
    func `runs for root as the user that is asked for`() async throws {
        try await Scratch.with { scratch in
            let instance = try await scratch.serve(set: ["postgres.user": "nobody"])
            let server = try #require(pid_t(try pidFile(scratch)[0]))
            #expect(try owner(of: "/proc/\(server)") == 65_534)
            try await instance.stop()
        }
    }

    @Test func `belongs to one service, and serves others through its socket`() async throws {
        try await Scratch.with { scratch in
            let first = try await scratch.serve()
            for command in [scratch.serving(), ["migrate", "--data", scratch("data")]] {
                let outcome = try await scratch.run(command)
                #expect(outcome.end == .exited(1))
                #expect(
                    outcome.errors == """
                        breakwater: another service works on \(scratch("data/postgres.lock")): stop \
                        it, or choose another data folder

                        """)
            }
            let socket = try pidFile(scratch)[4]
            let second = try await scratch.serve(
                database: "postgresql:///breakwater?host=\(socket)&user=breakwater",
                isPooled: false,
                data: "other")
            let key = try await first.tenant().key
            #expect(try await record(at: first, key) == 1)
            #expect(try await record(at: second, key) == 2)
            try await second.stop()
            #expect(try await record(at: first, key) == 3)
            try await first.stop()
        }
    }
}
