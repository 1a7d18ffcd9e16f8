import ControlPlane
import Glibc
import Synchronization
import UnixSignals

/// The wish to stop. SIGTERM and SIGINT are watched from the first moment of a start, so that one
/// which is not wanted any more ends in order too; a second signal ends the process at once.
final class Stop: Sendable {
    private let wanted = Atomic<Bool>(false)
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream() }

    /// From any thread.
    var isWanted: Bool { wanted.load(ordering: .acquiring) }

    /// Returns when it is wanted, or when the task is cancelled. For one caller.
    func wait() async {
        for await _ in stream {}
    }

    /// Watches until cancelled.
    func watch(_ signals: UnixSignalsSequence, _ tell: Tell) async {
        for await signal in signals {
            if isWanted { exit(1) }
            wanted.store(true, ordering: .releasing)
            tell(.serviceStopping(reason: "\(signal)"))
            continuation.finish()
        }
    }
}
