import Synchronization

/// Whether this instance should get traffic: every loop has its database connections, and nobody
/// asked it to stop.
package final class Readiness: Sendable {
    private struct State {
        var isDraining = false
        var down: [String: String] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    /// Notes that a part is up or, with the reason, down. From any thread.
    package func set(_ part: String, down reason: String?) {
        state.withLock { $0.down[part] = reason }
    }

    /// From now on not ready, whatever the parts say.
    package func drain() { state.withLock { $0.isDraining = true } }

    package var isDraining: Bool { state.withLock { $0.isDraining } }

    /// Why it is not ready; nil if it is.
    package var reason: String? {
        state.withLock { state in
            if state.isDraining { return "stopping" }
            return state.down.isEmpty
                ? nil : state.down.keys.sorted().map { "\($0) unavailable" }.joined(separator: ", ")
        }
    }
}
