package import IO
package import Postgres
internal import Synchronization

/// Tells other instances that a breaker has moved, and hears it from them: NOTIFY, on a connection of its
/// own, after the commit and for moves alone. (In each commit it takes a lock of the whole server and cut
/// throughput to a third, measured.)
///
/// A hint, which may be lost: what moved is asked of the table, as it is each `pollInterval` anyway.
package actor BreakerHints: LoopBound {
    private static let channel = "bw_breaker"

    package nonisolated let loop: EventLoop
    private nonisolated let hearers: Hearers
    private let pipeline: Pipeline
    private let due = Waiter<Void>()

    /// - Parameter settings: of a connection that no pooler in transaction mode stands before.
    package init(on loop: EventLoop, _ settings: Pipeline.Settings) {
        self.loop = loop
        var settings = settings
        settings.channel = Self.channel
        let hearers = Hearers()
        self.hearers = hearers
        pipeline = Pipeline(
            on: loop, settings, onChange: { isReady in if isReady { hearers.tell() } },
            onNotify: { hearers.tell() })
    }

    /// Serves until cancelled.
    package func run() async {
        await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group in
                group.addTask(executorPreference: loop) { await self.pipeline.run() }
                while true {
                    await due.wait()
                    if Task.isCancelled { break }
                    _ = try? await pipeline.execute(.notify)
                }
                group.cancelAll()
            }
        } onCancel: {
            send()
        }
    }

    /// Makes `breakers` ask the table whenever a hint comes.
    package nonisolated func tell(_ breakers: Breakers) {
        hearers.all.withLock { $0.append(breakers) }
    }

    /// From any thread. Moves that come while one hint is on its way share the next.
    nonisolated func send() { loop.execute { self.assumeIsolated { $0.due.resume(()) } } }

    private final class Hearers: Sendable {
        let all = Mutex<[Breakers]>([])

        func tell() {
            for breakers in all.withLock({ $0 }) {
                breakers.loop.execute { breakers.assumeIsolated { $0.pollSoon() } }
            }
        }
    }
}

extension Statement {
    fileprivate static let notify = Statement("", "NOTIFY bw_breaker")
}
