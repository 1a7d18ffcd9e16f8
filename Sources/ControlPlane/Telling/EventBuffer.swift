internal import Postgres
internal import Synchronization

/// Events between those who tell them and the table: so that telling costs no exchange with the database.
///
/// From any thread. Holds `capacity` at most; past it the oldest gives way, and is counted. What is in here
/// dies with the process.
package final class EventBuffer: Sendable {
    package struct Counters: Hashable, Sendable {
        /// By name, whether they are stored or for the log alone.
        package var told: [String: Int] = [:]
        /// Those of them that are for the table.
        package var kept = 0
        /// Those that gave way while the database was away or too slow.
        package var dropped = 0

        package init() {}
    }

    struct Timed: Sendable {
        let event: Event
        let at: Timestamp
    }

    private struct State {
        /// A ring once it is full: the oldest is at `start` then.
        var waiting: [Timed] = []
        var start = 0
        var counters = Counters()
    }

    package let capacity: Int
    private let state = Mutex(State())

    package init(capacity: Int = 10_000) { self.capacity = max(capacity, 1) }

    package func note(_ event: Event) {
        let timed = Timed(event: event, at: .now)
        state.withLock { state in
            state.counters.told[event.name, default: 0] += 1
            guard event.owner != nil else { return }
            state.counters.kept += 1
            if state.waiting.count < capacity {
                state.waiting.append(timed)
            } else {
                state.waiting[state.start] = timed
                state.start = (state.start + 1) % capacity
                state.counters.dropped += 1
            }
        }
    }

    /// The oldest, in order, at most `count` of them; they are no more in here.
    func take(_ count: Int) -> [Timed] {
        state.withLock { state in
            guard !state.waiting.isEmpty else { return [] }
            let all = Array(state.waiting[state.start...] + state.waiting[..<state.start])
            state.start = 0
            state.waiting = Array(all.dropFirst(count))
            return Array(all.prefix(count))
        }
    }

    package var counters: Counters { state.withLock { $0.counters } }
    /// How many wait to be stored.
    package var count: Int { state.withLock { $0.waiting.count } }

    /// Tells the buffer, after `tell`.
    package func after(_ tell: @escaping Tell) -> Tell {
        { event in
            tell(event)
            self.note(event)
        }
    }
}
