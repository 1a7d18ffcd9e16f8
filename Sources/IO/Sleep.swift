extension EventLoop {
    /// Waits on this loop's own clock, without leaving its thread. Call it on the loop.
    ///
    /// - Throws: `IOError.interrupted` when the task is cancelled first.
    package func sleep(
        for duration: Duration, isolation: isolated (any Actor)? = #isolation
    ) async throws(IOError) {
        checkIsolated()
        let nap = Nap()
        nap.timer.set(.now.advanced(by: duration), on: self)
        let outcome = await withTaskCancellationHandler {
            // Naming it makes the closure the caller's. One that does not would wait on another thread, where it
            // can miss its end.
            _ = isolation
            checkIsolated()
            return await nap.waiter.wait()
        } onCancel: {
            execute { nap.waiter.resume(.failure(.interrupted)) }
        }
        nap.timer.clear()
        try outcome.get()
    }
}

/// One sleep. Cancelling may happen on any thread and then travels to the loop's, which alone
/// touches what is inside.
private final class Nap: @unchecked Sendable {
    let waiter = Waiter<Result<Void, IOError>>()
    let timer: LoopTimer

    init() {
        timer = LoopTimer { [waiter] in waiter.resume(.success(())) }
    }
}
