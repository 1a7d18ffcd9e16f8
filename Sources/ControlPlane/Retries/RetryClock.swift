package import IO

/// What the executor waits by: the loop's clock, or a test's.
package protocol RetryClock: Sendable {
    var now: MonotonicInstant { get }
    /// - Throws: when the task is cancelled first.
    func sleep(for duration: Duration) async throws(CancellationError)
}

/// The clock of an event loop; call it on the loop.
package struct LoopClock: RetryClock {
    private let loop: EventLoop

    package init(_ loop: EventLoop) { self.loop = loop }

    package var now: MonotonicInstant { .now }

    package func sleep(for duration: Duration) async throws(CancellationError) {
        do throws(IOError) {
            try await loop.sleep(for: duration)
        } catch {
            throw CancellationError()
        }
    }
}
