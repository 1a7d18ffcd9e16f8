import Glibc
import Synchronization

/// A server that does what a test says, octet by octet, on blocking sockets: a thread a connection.
final class RawServer: Sendable {
    let port: UInt16
    private let listener: Int32
    private let state = Mutex(State())

    private struct State {
        var connections = 0
        var requests: [String] = []
    }

    /// Accepted so far; requests whose head was read, each as its head's text and its body's.
    var connections: Int { state.withLock { $0.connections } }
    var requests: [String] { state.withLock { $0.requests } }

    var url: String { "http://127.0.0.1:\(port)" }

    /// `script` gets each connection and its number from 1; the connection is closed after it.
    init(_ script: @escaping @Sendable (Peer, Int) -> Void) throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        port = try Self.bind(listener, backlog: 256)
        startThread { [self] in
            while true {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0 else { return }
                let number = state.withLock {
                    $0.connections += 1
                    return $0.connections
                }
                startThread { [self] in
                    let peer = Peer(descriptor) { [self] text in
                        state.withLock { $0.requests.append(text) }
                    }
                    script(peer, number)
                    peer.close()
                }
            }
        }
    }

    /// Takes no more connections; those that stand go on.
    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    /// A port of loopback where nobody listens.
    static func freePort() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        return try bind(descriptor, backlog: nil)
    }

    static func bind(_ descriptor: Int32, backlog: Int32?) throws -> UInt16 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe Glibc.bind(descriptor, pointer, size) == 0
                    && getsockname(descriptor, pointer, &size) == 0
            }
        }
        guard isBound else { throw Trouble("bind: \(errno)") }
        if let backlog, listen(descriptor, backlog) != 0 { throw Trouble("listen: \(errno)") }
        return UInt16(bigEndian: address.sin_port)
    }
}

struct Trouble: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// One connection of a `RawServer`, on its own thread. What takes over 20 s gives up.
final class Peer {
    private let descriptor: Int32
    private let note: (String) -> Void
    private var isOpen = true
    private var pending: [UInt8] = []

    init(_ descriptor: Int32, _ note: @escaping (String) -> Void) {
        self.descriptor = descriptor
        self.note = note
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    }

    /// The next request's head and body (by Content-Length) as text; nil at the end.
    func request() -> String? {
        let end = Array("\r\n\r\n".utf8)
        while true {
            if let head = (0..<max(0, pending.count - 3)).first(where: {
                pending[$0..<$0 + 4].elementsEqual(end)
            }) {
                let text = String(decoding: pending[..<head], as: UTF8.self)
                let length = text.lowercased().split(separator: "\r\n")
                    .first { $0.hasPrefix("content-length:") }
                    .flatMap { Int($0.dropFirst(15).drop { $0 == " " }) }
                let total = head + 4 + (length ?? 0)
                while pending.count < total { if !fill() { return nil } }
                let whole = String(decoding: pending[..<total], as: UTF8.self)
                pending.removeFirst(total)
                note(whole)
                return whole
            }
            if !fill() { return nil }
        }
    }

    /// Reads one octet, and leaves what came with it.
    func readSome() {
        var room: UInt8 = 0
        _ = unsafe recv(descriptor, &room, 1, 0)
    }

    /// Reads up to the end of a head, and as little behind it as the kernel allows.
    func readHead() {
        var room = [UInt8](repeating: 0, count: 1)
        var last: [UInt8] = []
        while last != Array("\r\n\r\n".utf8) {
            guard unsafe recv(descriptor, &room, 1, 0) == 1 else { return }
            last = last.suffix(3) + room
        }
    }

    /// Reads whatever comes; false at the end.
    private func fill() -> Bool {
        var room = [UInt8](repeating: 0, count: 65_536)
        let count = unsafe recv(descriptor, &room, room.count, 0)
        guard count > 0 else { return false }
        pending += room[..<count]
        return true
    }

    /// Waits until the other side closes; false if it does not.
    func waitForEnd() -> Bool {
        var room = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe recv(descriptor, &room, room.count, 0)
            if count == 0 || count < 0 && errno == ECONNRESET { return true }
            if count < 0 { return false }
        }
    }

    /// False if the other side takes no more.
    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// How many octets the kernels on both sides take while nobody reads: until it blocks for `ms`.
    func sendUntilStuck(_ piece: [UInt8], stuckFor ms: Int) -> Int {
        var limit = timeval(tv_sec: 0, tv_usec: ms * 1000)
        unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var total = 0
        while true {
            let count = unsafe Glibc.send(descriptor, piece, piece.count, Int32(MSG_NOSIGNAL))
            if count <= 0 { return total }
            total += count
        }
    }

    func unsetTimeout() {
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    func answer(_ body: String = "ok", status: String = "200 OK", fields: String = "") {
        send("HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)")
    }

    /// Ends the connection with RST.
    func reset() {
        var option = linger(l_onoff: 1, l_linger: 0)
        unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    func close() {
        if isOpen { Glibc.close(descriptor) }
        isOpen = false
    }
}

/// Lets the other side read what was sent before a reset throws it away; on a thread of a server.
func usleepUntilRead(_ milliseconds: UInt32 = 50) { usleep(milliseconds * 1000) }

/// A port whose backlog is full, so that connecting to it gets no answer.
struct DeafPort {
    let port: UInt16
    private let descriptors: [Int32]

    init() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        port = try RawServer.bind(listener, backlog: 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        address.sin_port = port.bigEndian
        var descriptors = [listener]
        for _ in 0..<4 {
            let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
            let descriptor = socket(AF_INET, kind, 0)
            _ = unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            descriptors.append(descriptor)
        }
        self.descriptors = descriptors
    }

    func close() { for descriptor in descriptors { Glibc.close(descriptor) } }
}

/// A gate that a test opens once.
final class Gate: Sendable {
    private let isOpen = Mutex(false)
    func open() { isOpen.withLock { $0 = true } }
    /// Blocks the calling thread, at most 20 s.
    func wait() {
        for _ in 0..<1000 where !isOpen.withLock({ $0 }) { usleep(20_000) }
    }
}

/// Starts a thread that nobody joins.
func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let context = unsafe Unmanaged.passRetained(Work(body))
    var thread = pthread_t()
    let code = unsafe pthread_create(
        &thread, nil,
        { context in
            guard let context = unsafe context else { return nil }
            unsafe Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body()
            return nil
        }, context.toOpaque())
    precondition(code == 0, "no thread left")
    pthread_detach(thread)
}
