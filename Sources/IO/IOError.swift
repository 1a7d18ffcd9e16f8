import Glibc

/// Why a socket or loop could not do what was asked.
package enum IOError: Error, Hashable, Sendable {
    /// The deadline that was given with the call passed.
    case timedOut
    /// `interrupt()` woke the waiter, or its task was cancelled: the loop is draining.
    case interrupted
    /// The descriptor was closed on this side.
    case closed
    /// A system call failed: `errno` and the name of the call.
    case system(Int32, String)

    /// Reads `errno`; call it before anything else can change it.
    package static func last(_ call: String) -> IOError { .system(errno, call) }
}

extension IOError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .timedOut: "timed out"
        case .interrupted: "interrupted"
        case .closed: "closed"
        case .system(let code, let call): unsafe "\(call): \(String(cString: strerror(code)))"
        }
    }

    /// The peer is gone; nothing of ours is wrong.
    package var isDisconnect: Bool {
        switch self {
        case .system(ECONNRESET, _), .system(EPIPE, _), .closed: true
        default: false
        }
    }
}
