/// Where one task, or a callback in its place, waits for one value, on one loop.
///
/// The value may come before the wait, and only the first one counts. `reset` makes it ready for the
/// next wait, so a connection needs one waiter for its life. Belongs to the loop's thread.
@safe package final class Waiter<Value> {
    private var continuation: UnsafeContinuation<Value, Never>?
    private var callback: ((Value) -> Void)?
    private var value: Value?

    package init() {}

    /// A task is suspended here now, or a callback waits.
    package var isWaiting: Bool { unsafe continuation != nil || callback != nil }

    /// Waits for the value; if it is there already, answers without suspending.
    @inline(__always) package func wait() async -> Value {
        if let value {
            self.value = nil
            return value
        }
        return unsafe await withUnsafeContinuation { unsafe continuation = $0 }
    }

    /// Has `action` called with the value, once: for who keeps no task meanwhile. Nobody may wait here,
    /// and no value be kept.
    package func call(_ action: @escaping (Value) -> Void) { callback = action }

    /// Hands the value to who waits, or keeps it for the task that will.
    package func resume(_ value: sending Value) {
        if let waiting = unsafe continuation {
            unsafe continuation = nil
            unsafe waiting.resume(returning: value)
        } else if let action = callback {
            callback = nil
            action(value)
        } else if self.value == nil {
            self.value = value
        }
    }

    /// Forgets a value that nobody took.
    package func reset() { value = nil }
}
