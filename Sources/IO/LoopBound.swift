/// An actor on one event loop. Two on the same loop call each other without leaving the thread.
///
/// Start its work in a task that also prefers the loop (`addTask(executorPreference: loop)`):
/// without it each resume bounces over the global pool and back, which no test of behaviour shows
/// and which doubled the CPU per request (measured).
package protocol LoopBound: Actor {
    nonisolated var loop: EventLoop { get }
}

extension LoopBound {
    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe loop.asUnownedSerialExecutor()
    }
}
