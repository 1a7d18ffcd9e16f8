import CLinux
import Glibc

/// A listening socket on one loop. On TCP each loop has its own (SO_REUSEPORT), and the kernel
/// spreads new connections over them.
package final class Listener: Source {
    package let loop: EventLoop
    /// Where it really listens: port 0 is replaced by the one that the kernel chose.
    package let address: Address
    private var descriptor: Int32
    private let waiter = Waiter<IOError?>()
    private let pause: LoopTimer

    /// Opens and binds; `adopt` watches it. Blocks only for the file system, so call it before serving.
    ///
    /// - Throws: `IOError.system`, e.g. when the address is in use.
    package static func open(
        _ address: Address, backlog: Int32 = 1024, reusePort: Bool = true
    ) throws(IOError) -> (descriptor: Int32, address: Address) {
        let family: Int32
        switch address {
        case .unix: family = AF_UNIX
        case .tcp(let host, _): family = host.contains(":") ? AF_INET6 : AF_INET
        }
        let descriptor = socket(
            family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw .last("socket") }
        do throws(IOError) {
            try bind(descriptor, to: address, reusePort: reusePort)
            guard listen(descriptor, backlog) == 0 else { throw .last("listen") }
            return (descriptor, try boundAddress(of: descriptor, asked: address))
        } catch {
            Glibc.close(descriptor)
            throw error
        }
    }

    /// Whether `open` would find the address free, without listening there: binds a TCP address
    /// for a moment, and of a Unix socket only asks who answers.
    ///
    /// - Throws: `IOError.system`, e.g. when the address is in use.
    package static func probe(_ address: Address) throws(IOError) {
        guard case .tcp(let host, _) = address else {
            if case .unix(let path) = address, unsafe access(path, F_OK) == 0, !isDeadSocket(path) {
                throw .system(EADDRINUSE, "bind")
            }
            return
        }
        let family = host.contains(":") ? AF_INET6 : AF_INET
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .last("socket") }
        defer { Glibc.close(descriptor) }
        try bind(descriptor, to: address, reusePort: false)
    }

    /// Watches a listening descriptor on this loop. Only on the loop's thread.
    package init(
        adopting descriptor: Int32, address: Address, on loop: EventLoop
    ) throws(IOError) {
        self.loop = loop
        self.address = address
        self.descriptor = descriptor
        pause = LoopTimer { [waiter] in waiter.resume(nil) }
        try loop.register(self, descriptor: descriptor, events: .readable, edgeTriggered: true)
    }

    package func ready(_ events: Events) {
        if waiter.isWaiting { waiter.resume(nil) }
    }

    /// The next connection, with the peer's address (nil on a Unix socket).
    ///
    /// Out of descriptors it waits and tries again rather than spin.
    /// - Throws: `IOError.closed` or `.interrupted` once the listener was closed.
    package func accept() async throws(IOError) -> (socket: Socket, peer: IPAddress?) {
        while true {
            if descriptor < 0 { throw .closed }
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let accepted = unsafe withUnsafeMutableBytes(of: &storage) { bytes in
                unsafe Glibc.accept(
                    descriptor, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
            }
            if accepted >= 0 {
                _ = fcntl(accepted, F_SETFL, O_NONBLOCK)
                _ = fcntl(accepted, F_SETFD, FD_CLOEXEC)
                var one: Int32 = 1
                if case .tcp = address {
                    _ = unsafe setsockopt(
                        accepted, Int32(IPPROTO_TCP), TCP_NODELAY, &one,
                        socklen_t(MemoryLayout<Int32>.size))
                }
                guard let socket = try? Socket(adopting: accepted, on: loop) else { continue }
                return (socket, peer(storage))
            }
            switch errno {
            case EINTR, ECONNABORTED: continue
            case EAGAIN: break
            case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                // The backlog keeps them; a descriptor may be free soon.
                pause.set(.now.advanced(by: .milliseconds(100)), on: loop)
            default: throw .last("accept")
            }
            if let failure = await waiter.wait() { throw failure }
        }
    }

    /// Stops accepting. A Unix socket's file is removed.
    package func close() {
        guard descriptor >= 0 else { return }
        loop.deregister(descriptor: descriptor)
        Glibc.close(descriptor)
        descriptor = -1
        if case .unix(let path) = address { unsafe unlink(path) }
        if waiter.isWaiting { waiter.resume(.closed) }
    }

    private func peer(_ storage: sockaddr_storage) -> IPAddress? {
        unsafe withUnsafeBytes(of: storage) { bytes in
            switch Int32(storage.ss_family) {
            case AF_INET:
                IPAddress(
                    v4: UInt32(bigEndian: unsafe bytes.load(as: sockaddr_in.self).sin_addr.s_addr))
            case AF_INET6: IPAddress(unsafe bytes.load(as: sockaddr_in6.self).sin6_addr)
            default: nil
            }
        }
    }
}

private func bind(_ descriptor: Int32, to address: Address, reusePort: Bool) throws(IOError) {
    var one: Int32 = 1
    let size = socklen_t(MemoryLayout<Int32>.size)
    switch address {
    case .unix(let path):
        // A file left by a killed process refuses connections; one that answers is in use.
        if isDeadSocket(path) { unsafe unlink(path) }
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: name.sun_path) else {
            throw .system(ENAMETOOLONG, "bind")
        }
        unsafe withUnsafeMutableBytes(of: &name.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        try check(bind(descriptor, &name), "bind")
    case .tcp(let host, let port):
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, size)
        if reusePort { _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &one, size) }
        if host.contains(":") {
            var name = sockaddr_in6()
            name.sin6_family = sa_family_t(AF_INET6)
            name.sin6_port = port.bigEndian
            guard unsafe inet_pton(AF_INET6, host, &name.sin6_addr) == 1 else {
                throw .system(EINVAL, "bind")
            }
            try check(bind(descriptor, &name), "bind")
        } else {
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_port = port.bigEndian
            guard unsafe inet_pton(AF_INET, host, &name.sin_addr) == 1 else {
                throw .system(EINVAL, "bind")
            }
            try check(bind(descriptor, &name), "bind")
        }
    }
}

private func bind<Name>(_ descriptor: Int32, _ name: inout Name) -> Int32 {
    unsafe withUnsafeBytes(of: &name) { bytes in
        unsafe Glibc.bind(
            descriptor, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
            socklen_t(bytes.count))
    }
}

private func check(_ result: Int32, _ call: String) throws(IOError) {
    guard result == 0 else { throw .last(call) }
}

private func isDeadSocket(_ path: String) -> Bool {
    let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard probe >= 0 else { return false }
    defer { Glibc.close(probe) }
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &name.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
    let result = unsafe withUnsafeBytes(of: &name) { bytes in
        unsafe connect(
            probe, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
            socklen_t(bytes.count))
    }
    return result != 0 && errno == ECONNREFUSED
}

private func boundAddress(of descriptor: Int32, asked: Address) throws(IOError) -> Address {
    guard case .tcp(let host, 0) = asked else { return asked }
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = unsafe withUnsafeMutableBytes(of: &storage) { bytes in
        unsafe getsockname(
            descriptor, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
    }
    try check(result, "getsockname")
    // The port stands at the same place in both families.
    let port = unsafe withUnsafeBytes(of: &storage) {
        unsafe $0.load(as: sockaddr_in.self).sin_port
    }
    return .tcp(host: host, port: UInt16(bigEndian: port))
}
