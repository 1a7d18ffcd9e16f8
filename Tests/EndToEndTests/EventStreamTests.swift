import Foundation
import Glibc
import IO
import JSON
import TestSupport
import Testing

@Suite(.proves("F1", "H5"), .timeLimit(.minutes(4))) struct `A stream of events` {
    /// Two instances on one private PostgreSQL, which is killed and started again; the client goes from
    /// one to the other. What it has got is what the table has.
    @Test func `is whole through a restart of PostgreSQL, on either of two instances`() async throws
    {
        try await Scratch.with { scratch in
            let first = try await scratch.serve()
            let file = try scratch.read("data/postgres/data/postmaster.pid").split(separator: "\n")
            let second = try await scratch.serve(
                database: "postgresql:///breakwater?host=\(file[4])&user=breakwater",
                isPooled: false, data: "other")
            let both = [first, second]
            let tenant = try await first.tenant()
            let working = Working()
            var stream = try await Self.open(first, tenant.key, after: nil)
            async let told: Void = Self.work(both, tenant.key, working)
            var seen: [String] = []
            var id: String?
            for turn in 0..<12 {
                if turn > 0 { stream = try await Self.open(both[turn % 2], tenant.key, after: id) }
                for message in await stream.nextUntilBroken(8) { seen.append(message.data) }
                id = stream.lastID
                if turn % 4 == 2 { try Self.killServer(scratch) }
            }
            working.end()
            await told
            for instance in both {
                try await eventually("it is ready again") {
                    try await instance.call("GET", "/readyz").status == 200
                }
            }
            // What waits in memory comes within a moment.
            try await Task.sleep(for: .seconds(2))
            let last = try await Self.open(second, tenant.key, after: id)
            // The first stream began before any was told.
            let all = try await Self.listed(first, tenant.key)
            for message in try await last.next(all.count - seen.count) {
                seen.append(message.data)
            }
            #expect(seen == all)
            // Eight in each turn but the three whose stream the kill may have broken.
            #expect(seen.count >= 9 * 8)
            try await second.stop()
            #expect(try await last.next() == nil)
            try await first.stop()
        }
    }

    /// Asks for permits, each of which is an event, until it is over.
    private static func work(_ both: [Instance], _ key: String, _ working: Working) async {
        var turn = 0
        while working.goesOn {
            turn += 1
            _ = try? await both[turn % 2].call(
                "POST", "/v1/attempts", #"{"operation":"sandbox_create","template":"t\#(turn)"}"#,
                key: key)
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    private static func killServer(_ scratch: Scratch) throws {
        let file = try scratch.read("data/postgres/data/postmaster.pid").split(separator: "\n")
        #expect(kill(try #require(pid_t(String(file[0]))), SIGKILL) == 0)
    }

    private static func open(
        _ instance: Instance, _ key: String, after id: String?
    ) async throws -> EventStreamClient {
        try await eventually("it takes a stream", within: .seconds(60)) {
            let stream = try? await EventStreamClient.open(instance.port, key: key, after: id)
            return stream?.answer.status == 200 ? stream : nil
        }
    }

    /// All, the oldest first, as the stream has them.
    private static func listed(_ instance: Instance, _ key: String) async throws -> [String] {
        var (all, path) = ([String](), "/v1/events?limit=200")
        while true {
            let page = try await instance.call("GET", path, key: key)
            var text = Substring(page.text)
            text = text.dropFirst("{\"items\":[".count)
            let end = try #require(text.range(of: "],\"nextCursor\":", options: .backwards))
            all += text[..<end.lowerBound].split(separator: "},{").map {
                "{" + $0.trimmingCharacters(in: ["{", "}"]) + "}"
            }
            guard let cursor = page.json?["nextCursor"]?.text else { return all.reversed() }
            path = "/v1/events?limit=200&cursor=\(cursor)"
        }
    }
}

/// Whether the work goes on.
private final class Working: @unchecked Sendable {
    private let lock = NSLock()
    private var isOver = false
    var goesOn: Bool { lock.withLock { !isOver } }
    func end() { lock.withLock { isOver = true } }
}
