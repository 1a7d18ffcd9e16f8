public import Glibc
import Synchronization

/// The resolver of this test process: `getaddrinfo` as libcurl's threads call it. The linker prefers
/// this symbol to the C library's, for libcurl too. All names but these go on to the real one.
///
/// - `stuck.test`: no answer until the gate opens.
/// - `rebind.test`: another answer each time, `rebindAnswers` in order, the last one for ever.
enum Names {
    static let stuck = Gate()
    static let rebindAnswers = Mutex<[String]>(["127.0.0.1"])
    static let lookUps = Mutex<[String: Int]>([:])

    fileprivate static func nextRebindAnswer() -> String {
        rebindAnswers.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] }
    }
}

private typealias Resolver =
    @convention(c) (
        UnsafePointer<CChar>?, UnsafePointer<CChar>?, UnsafePointer<addrinfo>?,
        UnsafeMutablePointer<UnsafeMutablePointer<addrinfo>?>?
    ) -> Int32

@_cdecl("getaddrinfo")
public func testGetaddrinfo(
    _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?,
    _ hints: UnsafePointer<addrinfo>?,
    _ result: UnsafeMutablePointer<UnsafeMutablePointer<addrinfo>?>?
) -> Int32 {
    // RTLD_NEXT
    guard let symbol = unsafe dlsym(UnsafeMutableRawPointer(bitPattern: -1), "getaddrinfo") else {
        return EAI_FAIL
    }
    let real = unsafe unsafeBitCast(symbol, to: Resolver.self)
    guard let node = unsafe node else { return unsafe real(nil, service, hints, result) }
    let name = unsafe String(cString: node)
    if name.hasSuffix(".test") { Names.lookUps.withLock { $0[name, default: 0] += 1 } }
    switch name {
    case "stuck.test":
        Names.stuck.wait()
        return EAI_FAIL
    case "rebind.test":
        return unsafe real(Names.nextRebindAnswer(), service, hints, result)
    default:
        return unsafe real(node, service, hints, result)
    }
}
