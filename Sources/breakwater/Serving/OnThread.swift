import Glibc

/// Runs blocking work on a thread of its own: name look-ups, starting PostgreSQL, migrating.
func onThread<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        let isStarted = startThread { continuation.resume(with: Result(catching: body)) }
        if !isStarted { continuation.resume(throwing: SettingsError("no thread left")) }
    }
}

/// Starts a detached thread; false if the system has none left.
@discardableResult
func startThread(_ body: @escaping @Sendable () -> Void) -> Bool {
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
    guard code == 0 else {
        unsafe context.release()
        return false
    }
    pthread_detach(thread)
    return true
}
