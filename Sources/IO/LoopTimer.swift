/// An alarm on a loop, made once and set many times. Belongs to the loop's thread.
///
/// Moving the deadline later costs one store: the heap keeps the old entry and puts it back when it
/// comes up early. A connection moves its deadline with each request, so this is the case to be fast.
package final class LoopTimer {
    let action: () -> Void
    /// When to act; `distantFuture` while it is not set.
    package var deadline: MonotonicInstant { due }
    /// Private, so that the compiler sees each access and leaves out the checks at run time.
    private var due = MonotonicInstant.distantFuture
    /// The deadline that the heap holds for this timer, or `distantFuture` if it holds none.
    var queued = MonotonicInstant.distantFuture

    package init(_ action: @escaping () -> Void) { self.action = action }

    /// Sets or moves the alarm. Only on `loop`'s thread.
    package func set(_ deadline: MonotonicInstant, on loop: EventLoop) {
        due = deadline
        if deadline < queued { loop.enqueue(self) }
    }

    package func clear() { due = .distantFuture }
}

/// A binary heap of timers by the deadline that each had when it was put in.
struct TimerHeap {
    private var entries: [(deadline: MonotonicInstant, timer: LoopTimer)] = []

    var first: MonotonicInstant? { entries.first?.deadline }
    var count: Int { entries.count }

    mutating func insert(_ timer: LoopTimer) {
        timer.queued = timer.deadline
        entries.append((timer.deadline, timer))
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child].deadline < entries[parent].deadline else { break }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    /// Takes out the timers whose time has come, puts back those that were moved later meanwhile.
    mutating func popDue(at now: MonotonicInstant) -> [LoopTimer] {
        var due: [LoopTimer] = []
        while let (deadline, timer) = entries.first, deadline <= now {
            removeFirst()
            guard timer.queued == deadline else { continue }  // an older entry of a timer moved earlier
            timer.queued = .distantFuture
            if timer.deadline <= now {
                timer.clear()
                due.append(timer)
            } else if timer.deadline != .distantFuture {
                insert(timer)
            }
        }
        return due
    }

    private mutating func removeFirst() {
        let last = entries.removeLast()
        if entries.isEmpty { return }
        entries[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < entries.count && entries[child].deadline < entries[least].deadline {
                least = child
            }
            if least == parent { return }
            entries.swapAt(parent, least)
            parent = least
        }
    }
}
