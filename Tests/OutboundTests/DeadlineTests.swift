import IO
import Outbound
import Synchronization
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(3)), .serialized) struct `A call's deadline` {
    /// The call ends by its deadline, never before, and soon after it: a second is what a loaded
    /// machine may take, and far less than what each of these would otherwise wait for.
    private func expectEnd(
        _ deadline: Duration, _ call: () async throws -> HTTPClient.Failure
    ) async throws -> HTTPClient.Failure {
        let begin = MonotonicInstant.now
        let failure = try await call()
        let took = begin.duration(to: .now)
        #expect(took >= deadline)
        #expect(took < deadline + .seconds(1))
        #expect(failure.kind == .timedOut)
        return failure
    }

    @Test(arguments: [
        ("", HTTPClient.Phase.awaitingHead), ("HTTP/1.1 200 OK\r\n", .head),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", .body),
    ])
    func `ends one whose server hangs`(_ text: String, _ phase: HTTPClient.Phase) async throws {
        let server = try RawServer { peer, _ in
            if peer.request() != nil {
                peer.send(text)
                _ = peer.waitForEnd()
            }
        }
        defer { server.stop() }
        try await withClient { client in
            let failure = try await expectEnd(.milliseconds(200)) {
                try await client.failure(of: .post(server.url, deadline: .milliseconds(200)))
            }
            #expect(failure.phase == phase)
            #expect(failure.mayHaveBeenApplied)
        }
    }

    @Test func `ends one whose answer drips`() async throws {
        let server = try RawServer { peer, _ in
            guard peer.request() != nil else { return }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while peer.send("x") { usleepUntilRead(5) }
        }
        defer { server.stop() }
        try await withClient { client in
            let failure = try await expectEnd(.milliseconds(300)) {
                try await client.failure(of: .post(server.url, deadline: .milliseconds(300)))
            }
            #expect(failure.phase == .body)
        }
    }

    @Test func `ends one that waits for a free connection, which was not sent`() async throws {
        let server = try RawServer { peer, _ in
            if peer.request() != nil { _ = peer.waitForEnd() }
        }
        defer { server.stop() }
        try await withClient {
            $0.connectionsPerHost = 1
        } _: { client in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    let first = try await client.failure(
                        of: .post(server.url, deadline: .milliseconds(1500)))
                    #expect(first.phase == .awaitingHead)
                }
                try await eventually { !server.requests.isEmpty }
                let failure = try await expectEnd(.milliseconds(200)) {
                    try await client.failure(of: .post(server.url, deadline: .milliseconds(200)))
                }
                #expect(failure.phase == .waiting)
                #expect(!failure.mayHaveBeenApplied)
                group.cancelAll()
            }
        }
        #expect(server.requests.count == 1)
    }

    @Test func `of connecting does not count for one that waits for a free connection`()
        async throws
    {
        let server = try RawServer { peer, _ in
            while peer.request() != nil {
                usleepUntilRead(700)
                peer.answer()
            }
        }
        defer { server.stop() }
        try await withClient {
            $0.connectionsPerHost = 1
            $0.connectTimeout = .milliseconds(300)
        } _: { client in
            let request = try HTTPClient.Request.post(server.url)
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<3 { group.addTask { try await client.send(request).status } }
                for try await status in group { #expect(status == 200) }
            }
        }
        #expect(server.connections == 1)
    }

    @Test func `ends one whose name is being looked up, without waiting for that`() async throws {
        try await withClient { client in
            let other = try RawServer { peer, _ in while peer.request() != nil { peer.answer() } }
            defer { other.stop() }
            let failure = try await expectEnd(.milliseconds(200)) {
                try await client.failure(
                    of: .post("http://stuck.test/", deadline: .milliseconds(200)))
            }
            #expect(failure.phase == .resolve)
            #expect(!failure.mayHaveBeenApplied)
            // The loop goes on: the look-up has its thread yet.
            #expect(try await client.status("GET", other.url) == 200)
            let cancelled = try await withThrowingTaskGroup(of: HTTPClient.Failure.self) { group in
                group.addTask { try await client.failure(of: .post("http://stuck.test/")) }
                try await eventually { await client.counters.inFlight > 0 }
                group.cancelAll()
                return try await group.next()
            }
            #expect(cancelled?.kind == .cancelled)
            #expect(cancelled?.phase == .resolve)
            // And ends well when the answer comes too late.
            Names.stuck.open()
            #expect(try await client.status("GET", other.url) == 200)
        }
    }

    @Test func `of a connection is its own, shorter one`() async throws {
        // A backlog of none that is full: SYNs get no answer.
        try await withClient {
            $0.connectTimeout = .milliseconds(300)
        } _: { client in
            let deaf = try DeafPort()
            defer { deaf.close() }
            let begin = MonotonicInstant.now
            let failure = try await client.failure(of: .post("http://127.0.0.1:\(deaf.port)/"))
            let took = begin.duration(to: .now)
            #expect(failure.kind == .timedOut)
            #expect(failure.phase == .connect)
            #expect(took >= .milliseconds(299) && took < .milliseconds(1400))
            #expect(!failure.mayHaveBeenApplied)
        }
    }
}

@Suite(.timeLimit(.minutes(3)), .serialized) struct `A cancelled task` {
    @Test func `ends its call and the connection`() async throws {
        let hasEnded = Mutex(false)
        let server = try RawServer { peer, _ in
            if peer.request() != nil { hasEnded.withLock { $0 = true } }
            if !peer.waitForEnd() { hasEnded.withLock { $0 = false } }
        }
        defer { server.stop() }
        try await withClient { client in
            let failure = try await withThrowingTaskGroup(of: HTTPClient.Failure.self) { group in
                group.addTask { try await client.failure(of: .post(server.url)) }
                try await eventually { !server.requests.isEmpty }
                group.cancelAll()
                return try await group.next()
            }
            #expect(failure?.kind == .cancelled)
            #expect(failure?.phase == .awaitingHead)
            #expect(failure?.mayHaveBeenApplied == true)
            #expect(await client.counters.inFlight == 0)
        }
        #expect(hasEnded.withLock { $0 })
    }

    @Test func `that was cancelled before connects to nobody`() async throws {
        let server = try RawServer { peer, _ in _ = peer.waitForEnd() }
        defer { server.stop() }
        try await withClient { client in
            let failure = try await withThrowingTaskGroup(of: HTTPClient.Failure.self) { group in
                group.cancelAll()
                group.addTask { try await client.failure(of: .post(server.url)) }
                return try await group.next()
            }
            #expect(failure?.kind == .cancelled)
            #expect(failure?.phase == .waiting)
        }
        #expect(server.connections == 0)
    }
}

@Suite(.timeLimit(.minutes(3)), .serialized) struct `Two hundred calls at once` {
    @Test func `do not hold their loop up`() async throws {
        let gate = Gate()
        let server = try RawServer { peer, _ in
            while peer.request() != nil {
                gate.wait()
                peer.answer(String(repeating: "x", count: 10_000))
            }
        }
        defer { server.stop() }
        try await withClient {
            $0.connectionsPerHost = 200
        } _: { client in
            let ticker = Ticker(on: client.loop)
            let request = try HTTPClient.Request.post(server.url)
            let answers = try await withThrowingTaskGroup(of: Int.self) { group in
                group.addTask(executorPreference: client.loop) {
                    await ticker.run()
                    return 0
                }
                for _ in 0..<200 {
                    group.addTask(executorPreference: client.loop) {
                        try await client.send(request).body.count == 10_000 ? 1 : 0
                    }
                }
                try await eventually { server.requests.count == 200 }
                #expect(await client.counters.inFlight == 200)
                let before = await ticker.ticks
                try await eventually { await ticker.ticks >= before + 20 }
                gate.open()
                var answers = 0
                while answers < 200, let count = try await group.next() { answers += count }
                await ticker.stop()
                return answers
            }
            #expect(answers == 200)
            // What a call takes of the loop at a time: 200 handshakes, requests and answers went by.
            #expect(await ticker.mostWork < .milliseconds(100))
            #expect(await ticker.longest < .seconds(2))
            #expect(await client.counters.connections == 200)
        }
        #expect(server.requests.count == 200)
    }
}

/// Sleeps for a millisecond again and again. Between two ticks it notes the longest time, which a busy
/// machine makes longer, and the most that the loop's thread worked.
private actor Ticker: LoopBound {
    nonisolated let loop: EventLoop
    private(set) var ticks = 0
    private(set) var longest: Duration = .zero
    private(set) var mostWork: Duration = .zero
    private var isRunning = true

    init(on loop: EventLoop) { self.loop = loop }

    func run() async {
        var (last, worked) = (MonotonicInstant.now, threadTime())
        while isRunning {
            try? await loop.sleep(for: .milliseconds(1))
            let (now, work) = (MonotonicInstant.now, threadTime())
            longest = max(longest, last.duration(to: now))
            mostWork = max(mostWork, work - worked)
            (last, worked) = (now, work)
            ticks += 1
        }
    }

    func stop() { isRunning = false }
}
