import Glibc
import IO

/// Where a load goes: a host and port, or a Unix socket. Plain HTTP alone.
struct Target: Sendable {
    /// For the Host field.
    let host: String
    private let port: String
    private let path: String?
    /// To be looked up.
    private let name: String

    /// Longest wait for a connection, in seconds.
    private static let patience = 5

    /// Reads `http://host[:port]` or `unix:/path`. Nil for anything else.
    init?(_ url: String) {
        if url.hasPrefix("unix:") {
            (host, port, name) = ("localhost", "", "")
            path = String(url.dropFirst("unix:".count))
            return
        }
        let authority = url.hasPrefix("http://") ? url.dropFirst("http://".count) : url[...]
        guard !authority.isEmpty, !authority.contains("/"), !authority.contains("@") else {
            return nil
        }
        let colon = authority.hasSuffix("]") ? nil : authority.lastIndex(of: ":")
        var name = colon.map { authority[..<$0] } ?? authority
        if name.hasPrefix("["), name.hasSuffix("]") { name = name.dropFirst().dropLast() }
        host = String(authority)
        port = colon.map { String(authority[authority.index(after: $0)...]) } ?? "80"
        path = nil
        self.name = String(name)
        guard UInt16(port) != nil, !name.isEmpty else { return nil }
    }

    /// A connected descriptor that does not block. Blocks itself, so not on a loop.
    func connect() throws(IOError) -> Int32 {
        if let path {
            guard let address = unixAddress(path) else { throw .system(ENAMETOOLONG, "connect") }
            var copy = address
            return unsafe try withUnsafePointer(to: &copy) { pointer throws(IOError) in
                try unsafe open(
                    AF_UNIX, UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self),
                    socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard unsafe getaddrinfo(name, port, &hints, &list) == 0 else {
            throw .system(EHOSTUNREACH, "look up \(name)")
        }
        defer { unsafe freeaddrinfo(list) }
        var failure = IOError.system(EHOSTUNREACH, "connect")
        var entry = unsafe list
        while let candidate = unsafe entry?.pointee {
            do throws(IOError) {
                return try unsafe open(
                    candidate.ai_family, candidate.ai_addr, candidate.ai_addrlen)
            } catch { failure = error }
            unsafe entry = candidate.ai_next
        }
        throw failure
    }

    private func open(
        _ family: Int32, _ address: UnsafePointer<sockaddr>?, _ length: socklen_t
    ) throws(IOError) -> Int32 {
        let descriptor = socket(
            family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .last("socket") }
        var wait = timeval(tv_sec: Self.patience, tv_usec: 0)
        _ = unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        guard unsafe Glibc.connect(descriptor, address, length) == 0 else {
            let failure = IOError.last("connect")
            close(descriptor)
            throw failure
        }
        var one: Int32 = 1
        _ = unsafe setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one,
            socklen_t(MemoryLayout<Int32>.size))
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        return descriptor
    }

    private func unixAddress(_ path: String) -> sockaddr_un? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard path.utf8.count < room else { return nil }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { bytes in
            for (index, byte) in path.utf8.enumerated() { unsafe bytes[index] = byte }
        }
        return address
    }
}
