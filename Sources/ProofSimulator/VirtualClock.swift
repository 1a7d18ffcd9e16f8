import ControlPlane
import IO
import Synchronization

/// Time that stands still while anything can run, and then jumps to where the next sleeper wakes.
///
/// All runs on one loop: at the end of its turn, when no job is left, one sleeper is woken. So nothing
/// depends on how fast the machine is, and a run can be repeated to the last bit.
final class VirtualClock: RetryClock {
    private struct Sleeper {
        let wakesAt: MonotonicInstant
        let number: Int
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var now = MonotonicInstant(nanoseconds: 0)
        var count = 0
        /// Who wakes first is the last; of the same time, who lay down first.
        var sleepers: [Sleeper] = []
        var isArmed = false

        mutating func insert(_ sleeper: Sleeper) {
            var (low, high) = (0, sleepers.count)
            while low < high {
                let middle = (low + high) / 2
                if sleepers[middle].wakesAt > sleeper.wakesAt {
                    low = middle + 1
                } else {
                    high = middle
                }
            }
            sleepers.insert(sleeper, at: low)
        }

        mutating func remove(_ number: Int) -> Sleeper? {
            sleepers.firstIndex { $0.number == number }.map { sleepers.remove(at: $0) }
        }
    }

    private let loop: EventLoop
    private let state = Mutex(State())

    init(on loop: EventLoop) { self.loop = loop }

    var now: MonotonicInstant { state.withLock { $0.now } }

    /// Since this clock began.
    var elapsed: Duration { .nanoseconds(now.nanoseconds) }

    /// Call it on the loop.
    func sleep(for duration: Duration) async throws(CancellationError) {
        let (number, end) = state.withLock { state in
            state.count += 1
            return (state.count, state.now.advanced(by: duration))
        }
        let isAwake = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled { return continuation.resume(returning: false) }
                state.withLock {
                    $0.insert(Sleeper(wakesAt: end, number: number, continuation: continuation))
                }
                arm()
            }
        } onCancel: {
            state.withLock { $0.remove(number) }?.continuation.resume(returning: false)
        }
        if !isAwake { throw CancellationError() }
    }

    private func arm() {
        let isFirst = state.withLock { state in
            defer { state.isArmed = true }
            return !state.isArmed
        }
        if isFirst { loop.atEndOfTurn { self.wakeNext() } }
    }

    private func wakeNext() {
        let sleeper = state.withLock { state in
            state.isArmed = false
            let next = state.sleepers.popLast()
            if let next { state.now = max(state.now, next.wakesAt) }
            return next
        }
        guard let sleeper else { return }
        sleeper.continuation.resume(returning: true)
        arm()
    }
}
