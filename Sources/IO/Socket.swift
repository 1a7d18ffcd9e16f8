import CLinux
import Glibc

/// A connected stream socket, non-blocking and edge-triggered. Belongs to one loop; the actor that
/// owns it lives there.
///
/// Read and write without waiting; when the kernel has nothing to give or no room, wait for
/// `readable` or `writable`. At most one task waits for each.
package final class Socket: Source {
    package let loop: EventLoop
    // Internal at most, and only read or stored whole: then the compiler proves that accesses do not
    // overlap and leaves out the checks at run time (76 instructions each, measured).
    private var descriptor: Int32
    private var mayRead = true
    private var mayWrite = true
    /// The peer has closed its sending side, or more: reads go on until they say so, and are not held
    /// back by a short read (with a hang-up pending, a short read says nothing of the end).
    private var sawHangup = false
    /// Called once when that happens.
    private var onHangup: (() -> Void)?
    private let readers: Side
    private let writers: Side

    /// One direction: who waits, and until when.
    private final class Side {
        let waiter = Waiter<IOError?>()
        let timer: LoopTimer

        init() {
            // An event of the same turn may have woken the waiter already: then it is not too late, and
            // nothing may be left for the next wait.
            timer = LoopTimer { [waiter] in if waiter.isWaiting { waiter.resume(.timedOut) } }
        }

        @inline(__always) func wait(until deadline: MonotonicInstant, on loop: EventLoop)
            async throws(IOError)
        {
            if deadline != .distantFuture { timer.set(deadline, on: loop) }
            let failure = await waiter.wait()
            timer.clear()
            if let failure { throw failure }
        }

        func call(at deadline: MonotonicInstant, on loop: EventLoop, _ action: @escaping () -> Void)
        {
            timer.set(deadline, on: loop)
            waiter.call { [timer] _ in
                timer.clear()
                action()
            }
        }
    }

    /// Takes over a connected descriptor and watches it. Only on the loop's thread.
    ///
    /// - Throws: `IOError.system` when it cannot be watched; the descriptor is closed then.
    package init(adopting descriptor: Int32, on loop: EventLoop) throws(IOError) {
        self.descriptor = descriptor
        self.loop = loop
        readers = Side()
        writers = Side()
        do {
            try loop.register(
                self, descriptor: descriptor, events: [.readable, .writable, .readHangup],
                edgeTriggered: true)
        } catch {
            Glibc.close(descriptor)
            throw error
        }
    }

    package func ready(_ events: Events) {
        if !events.isDisjoint(with: [.readHangup, .hangup, .error]) { noteHangup() }
        if sawHangup || events.contains(.readable) {
            mayRead = true
            if readers.waiter.isWaiting { readers.waiter.resume(nil) }
        }
        if !events.isDisjoint(with: [.writable, .hangup, .error]) {
            mayWrite = true
            if writers.waiter.isWaiting { writers.waiter.resume(nil) }
        }
    }

    private func noteHangup() {
        sawHangup = true
        onHangup?()
        onHangup = nil
    }

    /// Calls `action` once, at once or later, when the peer has closed its sending side or the socket is
    /// closed, whatever else may be there to be read; nil: nobody asks any more.
    package func whenHungUp(_ action: (() -> Void)?) {
        if sawHangup || descriptor < 0 { action?() } else { onHangup = action }
    }

    /// Returns when a read would give something: bytes, the end, or an error.
    ///
    /// - Throws: `IOError.timedOut` at the deadline, `.interrupted` by `interrupt()`, `.closed`.
    package func readable(deadline: MonotonicInstant) async throws(IOError) {
        if descriptor < 0 { throw .closed }
        if mayRead { return }
        try await readers.wait(until: deadline, on: loop)
    }

    /// Calls `action` once, at once or later, when `readable` would return or throw: so that who waits
    /// for long needs no task.
    package func whenReadable(deadline: MonotonicInstant, _ action: @escaping () -> Void) {
        if descriptor < 0 || mayRead { return action() }
        readers.call(at: deadline, on: loop, action)
    }

    /// Returns when a write would take something. Throws like `readable`.
    package func writable(deadline: MonotonicInstant) async throws(IOError) {
        if descriptor < 0 { throw .closed }
        if mayWrite { return }
        try await writers.wait(until: deadline, on: loop)
    }

    /// Reads what is there: the number of bytes, 0 at the end of the stream, nil if it would block.
    ///
    /// - Throws: `IOError.system` (a reset, say), `.closed`.
    package func read(into buffer: UnsafeMutableRawBufferPointer) throws(IOError) -> Int? {
        if descriptor < 0 { throw .closed }
        while true {
            let count = unsafe Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count >= 0 {
                // Less than asked for: the kernel's buffer is empty now, so spare the next try.
                if count < buffer.count && !sawHangup { mayRead = false }
                return count
            }
            if errno == EINTR { continue }
            if errno == EAGAIN {
                mayRead = false
                return nil
            }
            throw .last("read")
        }
    }

    /// Writes what the kernel takes: the number of bytes, nil if it would block.
    ///
    /// - Throws: `IOError.system` (the peer is gone, say), `.closed`.
    package func write(_ bytes: UnsafeRawBufferPointer) throws(IOError) -> Int? {
        if descriptor < 0 { throw .closed }
        while true {
            let count = unsafe send(
                descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if count >= 0 {
                if count < bytes.count { mayWrite = false }
                return count
            }
            if errno == EINTR { continue }
            if errno == EAGAIN {
                mayWrite = false
                return nil
            }
            throw .last("send")
        }
    }

    /// Wakes whoever waits here with `.interrupted`, so that a draining server need not wait for an
    /// idle client. Nothing happens if nobody waits.
    package func interrupt() {
        if readers.waiter.isWaiting { readers.waiter.resume(.interrupted) }
    }

    /// Says "no more from us" and leaves the receiving side open.
    package func closeWrite() {
        if descriptor >= 0 { shutdown(descriptor, Int32(SHUT_WR)) }
    }

    /// Closes with a reset (RST) instead of in order: what was not read or sent is lost, for the peer
    /// too. For a server that plays one that fails.
    package func reset() {
        guard descriptor >= 0 else { return }
        var option = linger(l_onoff: 1, l_linger: 0)
        _ = unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    /// Closes; who waits here gets `.closed`.
    package func close() {
        guard descriptor >= 0 else { return }
        loop.deregister(descriptor: descriptor)
        Glibc.close(descriptor)
        descriptor = -1
        if readers.waiter.isWaiting { readers.waiter.resume(.closed) }
        if writers.waiter.isWaiting { writers.waiter.resume(.closed) }
        onHangup?()
        onHangup = nil
    }

    deinit {
        if descriptor >= 0 {
            Glibc.close(descriptor)
        }
    }
}
