internal import Glibc

/// C functions that the linked libraries may have or not, looked up once by name.
enum LateSymbols {
    typealias Pending = @convention(c) (UnsafeMutableRawPointer) -> Int32

    /// OpenSSL's `SSL_pending`: octets decrypted and not yet read. libpq links OpenSSL, we do not.
    static let sslPending: Pending? = {
        guard let symbol = unsafe dlsym(nil, "SSL_pending") else { return nil }
        return unsafe unsafeBitCast(symbol, to: Pending.self)
    }()
}
