import CLinux

/// What epoll said of a descriptor.
package struct Events: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let readable = Events(rawValue: EPOLLIN.rawValue)
    package static let writable = Events(rawValue: EPOLLOUT.rawValue)
    /// The peer closed its sending side.
    package static let readHangup = Events(rawValue: EPOLLRDHUP.rawValue)
    package static let hangup = Events(rawValue: EPOLLHUP.rawValue)
    package static let error = Events(rawValue: EPOLLERR.rawValue)
}

/// Something with a descriptor that a loop watches. Belongs to that loop's thread.
///
/// `ready` may be called without cause: a descriptor's number is reused, and an event that was
/// already fetched for its former owner then reaches the new one.
package protocol Source: AnyObject {
    func ready(_ events: Events)
}
