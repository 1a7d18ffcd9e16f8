import Glibc
import IO
import Synchronization
import TestSupport
import Testing

/// Counts on its loop; says whether each step ran there.
private actor Counter: LoopBound {
    nonisolated let loop: EventLoop
    private(set) var count = 0

    init(on loop: EventLoop) { self.loop = loop }

    func increment() -> Bool {
        count += 1
        return loop.isCurrent
    }

    func sleepAndIncrement(_ duration: Duration) async -> Bool {
        let before = loop.isCurrent
        try? await loop.sleep(for: duration)
        count += 1
        return before && loop.isCurrent
    }

    /// Calls a neighbour on the same loop many times; answers how often another thread was involved.
    func call(_ neighbour: Counter, times: Int) async -> Int {
        let before = loop.foreignWakeups
        for _ in 0..<times { _ = await neighbour.increment() }
        return loop.foreignWakeups - before
    }
}

@Suite struct `An event loop` {
    @Test func `runs its actors on its own thread`() async throws {
        let loop = try EventLoop.start(name: "test")
        let counter = Counter(on: loop)
        #expect(await counter.increment())
        #expect(await counter.sleepAndIncrement(.milliseconds(2)))
        #expect(await counter.count == 2)
        #expect(!loop.isCurrent)
        loop.stop()
    }

    @Test func `writes to nobody else's descriptor when it is stopped`() throws {
        let loop = try EventLoop.start(name: "test")
        loop.stop()
        // These have its numbers now, unless another test was sooner.
        var ends: [Int32] = []
        for _ in 0..<8 {
            var pair: [Int32] = [0, 0]
            let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
            let code = unsafe socketpair(AF_UNIX, kind, 0, &pair)
            try #require(code == 0)
            ends += pair
        }
        defer { for end in ends { close(end) } }
        loop.execute {}
        var octet: UInt8 = 0
        for end in ends {
            let count = unsafe recv(end, &octet, 1, 0)
            #expect(count == -1, "\(octet)")
        }
    }

    @Test func `lets two actors call each other without waking another thread`() async throws {
        let loop = try EventLoop.start(name: "test")
        let (first, second) = (Counter(on: loop), Counter(on: loop))
        let wakeups = await withTaskGroup(of: Int.self) { group in
            group.addTask(executorPreference: loop) { await first.call(second, times: 10_000) }
            return await group.next() ?? -1
        }
        #expect(wakeups == 0)
        #expect(await second.count == 10_000)
        loop.stop()
    }

    @Test func `runs what it gives itself after that, in order, and at once`() async throws {
        let loop = try EventLoop.start(name: "test")
        let before = loop.foreignWakeups
        let seen: [String] = await withCheckedContinuation { done in
            loop.execute {
                let seen = Mutex<[String]>([])
                loop.execute { seen.withLock { $0.append("first") } }
                loop.atEndOfTurn { seen.withLock { $0.append("hook") } }
                loop.execute {
                    seen.withLock { $0.append("second") }
                    loop.execute {
                        seen.withLock { $0.append("third") }
                        loop.execute { done.resume(returning: seen.withLock { $0 + ["last"] }) }
                    }
                }
                seen.withLock { $0.append("itself") }
            }
        }
        #expect(seen == ["itself", "first", "second", "third", "last"])
        #expect(loop.foreignWakeups - before <= 1)
        loop.stop()
    }

    @Test func `ends a sleep early when its task is cancelled`() async throws {
        let loop = try EventLoop.start(name: "test")
        let counter = Counter(on: loop)
        let begin = MonotonicInstant.now
        await withTaskGroup(of: Void.self) { group in
            group.addTask { _ = await counter.sleepAndIncrement(.seconds(60)) }
            group.cancelAll()
        }
        #expect(begin.duration(to: .now) < .seconds(50))
        loop.stop()
    }

    @Test func `fires timers in order and forgets those that moved away`() async throws {
        let loop = try EventLoop.start(name: "test")
        let fired = Mutex<[String]>([])
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            loop.execute {
                let moved = LoopTimer { fired.withLock { $0.append("moved") } }
                let now = MonotonicInstant.now
                for (name, delay) in [("c", 9), ("a", 1), ("b", 5)] {
                    let timer = LoopTimer { fired.withLock { $0.append(name) } }
                    timer.set(now.advanced(by: .milliseconds(delay)), on: loop)
                }
                moved.set(now.advanced(by: .milliseconds(2)), on: loop)
                moved.set(now.advanced(by: .seconds(60)), on: loop)
                let last = LoopTimer { done.resume() }
                last.set(now.advanced(by: .milliseconds(20)), on: loop)
            }
        }
        #expect(fired.withLock { $0 } == ["a", "b", "c"])
        loop.stop()
    }

    @Test func `runs end-of-turn hooks after the jobs of the turn`() async throws {
        let loop = try EventLoop.start(name: "test")
        let order = Mutex<[Int]>([])
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            loop.execute {
                loop.atEndOfTurn {
                    order.withLock { $0.append(2) }
                    done.resume()
                }
                order.withLock { $0.append(1) }
            }
        }
        #expect(order.withLock { $0 } == [1, 2])
        loop.stop()
    }
}

/// Accepts one client and sends back what it reads.
private actor Echo: LoopBound {
    nonisolated let loop: EventLoop
    init(on loop: EventLoop) { self.loop = loop }

    func serve(_ descriptor: Int32, _ address: Address) async -> Int {
        var total = 0
        do {
            let listener = try Listener(adopting: descriptor, address: address, on: loop)
            let (socket, _) = try await listener.accept()
            listener.close()
            let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
            defer { unsafe room.deallocate() }
            while true {
                try await socket.readable(deadline: .now.advanced(by: .seconds(5)))
                guard let count = unsafe try socket.read(into: room) else { continue }
                if count == 0 { break }
                var sent = 0
                while sent < count {
                    let rest = unsafe UnsafeRawBufferPointer(rebasing: room[sent..<count])
                    if let taken = unsafe try socket.write(rest) {
                        sent += taken
                    } else {
                        try await socket.writable(deadline: .now.advanced(by: .seconds(5)))
                    }
                }
                total += count
            }
            socket.close()
        } catch {
            Issue.record("\(error)")
        }
        return total
    }
}

@Suite struct `A socket` {
    @Test(arguments: [true, false])
    func `carries bytes both ways until the peer ends`(unix: Bool) async throws {
        let path = "/tmp/bw-io-test-\(getpid()).sock"
        let asked = try #require(Address(unix ? "unix:\(path)" : "127.0.0.1:0"))
        let (descriptor, address) = try Listener.open(asked)
        let loop = try EventLoop.start(name: "test")
        let echo = Echo(on: loop)
        async let total = withTaskGroup(of: Int.self) { group in
            group.addTask(executorPreference: loop) { await echo.serve(descriptor, address) }
            return await group.next() ?? -1
        }
        let payload = [UInt8](repeating: 7, count: 100_000)
        let atEnd = try await onThread { try exchange(payload, with: address) }
        #expect(await total == payload.count)
        #expect(atEnd == 0)
        loop.stop()
    }

    @Test func `gives up at the deadline`() async throws {
        let (descriptor, address) = try Listener.open(.tcp(host: "127.0.0.1", port: 0))
        let client = try connect(to: address)
        let accepted = accept(descriptor, nil, nil)
        _ = fcntl(accepted, F_SETFL, O_NONBLOCK)
        let loop = try EventLoop.start(name: "test")
        let outcome = await Waiting(on: loop).wait(accepted, .milliseconds(5))
        #expect(outcome == .timedOut)
        Glibc.close(client)
        Glibc.close(descriptor)
        loop.stop()
    }

    @Test(arguments: ["127.0.0.1:8080", "[::1]:80", "unix:/run/bw.sock", "0.0.0.0:0"])
    func `address is read and written back`(text: String) {
        #expect(Address(text)?.description == text)
    }

    @Test(arguments: ["", "8080", "host:80", "127.0.0.1", "127.1:80", "127.0.0.1:70000", "unix:"])
    func `address is refused`(text: String) { #expect(Address(text) == nil) }
}

private actor Waiting: LoopBound {
    nonisolated let loop: EventLoop
    init(on loop: EventLoop) { self.loop = loop }

    func wait(_ descriptor: Int32, _ patience: Duration) async -> IOError? {
        do {
            let socket = try Socket(adopting: descriptor, on: loop)
            try await drain(socket)
            try await socket.readable(deadline: .now.advanced(by: patience))
            return nil
        } catch {
            return error
        }
    }

    private func drain(_ socket: Socket) async throws(IOError) {
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 16)
        defer { unsafe room.deallocate() }
        while unsafe try socket.read(into: room) != nil {}
    }
}

private func connect(to address: Address) throws -> Int32 {
    let descriptor: Int32
    let result: Int32
    switch address {
    case .unix(let path):
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &name.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        result = unsafe withUnsafeBytes(of: name) {
            unsafe connect(
                descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                socklen_t($0.count))
        }
    case .tcp(_, let port):
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        result = unsafe withUnsafeBytes(of: name) {
            unsafe connect(
                descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                socklen_t($0.count))
        }
    }
    try #require(result == 0)
    return descriptor
}

/// Sends the payload, reads as much back, ends its side; answers what the last read gave.
private func exchange(_ payload: [UInt8], with address: Address) throws -> Int {
    let client = try connect(to: address)
    defer { Glibc.close(client) }
    var received = 0
    var sent = 0
    var room = [UInt8](repeating: 0, count: 65536)
    while received < payload.count {
        if sent < payload.count {
            let count = unsafe payload[sent..<min(sent + 5000, payload.count)]
                .withUnsafeBytes { unsafe write(client, $0.baseAddress, $0.count) }
            sent += max(count, 0)
        }
        received += max(0, unsafe read(client, &room, room.count))
    }
    shutdown(client, Int32(SHUT_WR))
    return unsafe read(client, &room, 1)
}
