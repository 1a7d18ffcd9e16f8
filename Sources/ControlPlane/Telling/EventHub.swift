package import IO
package import Postgres

/// Hands the events of the table to those who follow it: one question to the table each `poll` for all of
/// them, and none while nobody listens.
///
/// Whoever follows has a queue of `queue` events. Who does not take them in time is let go, and may come
/// back for the rest.
package actor EventHub: LoopBound {
    package struct Settings: Hashable, Sendable {
        /// How often new events are asked for: how late those of other instances come.
        package var poll: Duration = .milliseconds(500)
        /// Events that wait for one listener.
        package var queue = 1_000
        /// Listeners of an instance; past it further ones are refused.
        package var maxListeners = 1_000
        /// Those of one tenant; of operators together.
        package var maxListenersPerTenant = 250
        /// Events of one answer of the table.
        package static let page = 500
        /// The least time between two questions, however many hints come.
        static let hintSpacing: Duration = .milliseconds(20)

        package init() {}
    }

    package struct Counters: Hashable, Sendable {
        package var listeners = 0
        package var polls = 0
        package var delivered = 0
        /// Listeners that were let go since they did not keep up.
        package var tooSlow = 0

        package init() {}
    }

    /// Who follows, as the hub knows it. Belongs to the hub's loop.
    package final class Listener: @unchecked Sendable {
        // Unchecked: all but the filter is touched on the hub's loop alone.
        let filter: EventFilter
        /// Up to where it has all that it wants.
        fileprivate var after: Timestamp
        fileprivate var waiting: [StoredEvent] = []
        fileprivate var isTooSlow = false
        fileprivate var wakeAt = MonotonicInstant.distantFuture
        fileprivate let wake = Waiter<Void>()

        fileprivate init(_ filter: EventFilter, after: Timestamp) {
            self.filter = filter
            self.after = after
        }
    }

    package struct Delivery: Sendable {
        package var events: [StoredEvent] = []
        /// All up to here has been handed out.
        package var place: Timestamp
        /// No more comes: the listener did not keep up.
        package var isTooSlow = false
    }

    package nonisolated let loop: EventLoop
    package nonisolated let settings: Settings
    package nonisolated let places: ListenerPlaces
    private let store: EventStore
    private var listeners: [ObjectIdentifier: Listener] = [:]
    /// Up to where the table has been read.
    private var place = Timestamp.distantPast
    private let hinted = Waiter<Void>()
    private lazy var pollTimer = LoopTimer { [weak self] in
        self?.assumeIsolated { $0.pollSoon() }
    }
    private var counted = Counters()

    package init(on loop: EventLoop, pipeline: Pipeline, settings: Settings = Settings()) {
        self.loop = loop
        self.settings = settings
        places = ListenerPlaces(
            settings.maxListeners, perTenant: settings.maxListenersPerTenant)
        store = EventStore(pipeline)
    }

    package var counters: Counters {
        var counters = counted
        counters.listeners = listeners.count
        return counters
    }

    // MARK: Listening

    /// Begins to hand out what is stored after `after`, or after this moment.
    ///
    /// - Returns: the listener, and up to where its events are not handed out but are the caller's to read
    ///   from the table first; nil: there are none.
    /// - Throws: what the database says; it is asked where the table ends.
    package func listen(
        _ filter: EventFilter, after wanted: Timestamp?
    ) async throws(PostgresError) -> (listener: Listener, place: Timestamp, readTo: Timestamp?) {
        let head = try await store.head()
        if listeners.isEmpty { place = max(place, head) }
        // Of a table that was restored from a backup: what comes next is what there is.
        let start = min(wanted ?? head, head)
        let listener = Listener(filter, after: max(start, place))
        listeners[ObjectIdentifier(listener)] = listener
        hinted.resume(())
        return (listener, start, start < place ? place : nil)
    }

    package func leave(_ listener: Listener) {
        listeners[ObjectIdentifier(listener)] = nil
    }

    /// What has come for it, at the latest after `limit`: then perhaps nothing. Ends early when the task is
    /// cancelled.
    package func next(for listener: Listener, within limit: Duration) async -> Delivery {
        if listener.waiting.isEmpty, !listener.isTooSlow {
            listener.wake.reset()
            listener.wakeAt = .now.advanced(by: limit)
            await withTaskCancellationHandler {
                // Naming the loop makes the closure this actor's. One that does not would wait elsewhere.
                loop.checkIsolated()
                await listener.wake.wait()
            } onCancel: {
                loop.execute { listener.wake.resume(()) }
            }
            listener.wakeAt = .distantFuture
        }
        var delivery = Delivery(place: listener.after)
        delivery.events = listener.waiting
        delivery.isTooSlow = listener.isTooSlow
        listener.waiting = []
        return delivery
    }

    // MARK: Reading

    /// Works until cancelled.
    package func run() async {
        await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group in
                group.addTask(executorPreference: loop) { await self.wakeInTime() }
                while !Task.isCancelled {
                    if !listeners.isEmpty {
                        await poll()
                        pollTimer.set(.now.advanced(by: settings.poll), on: loop)
                    }
                    do throws(IOError) { try await loop.sleep(for: Settings.hintSpacing) } catch {
                        break
                    }
                    await hinted.wait()
                }
                group.cancelAll()
            }
        } onCancel: {
            loop.execute { self.assumeIsolated { $0.pollSoon() } }
        }
    }

    /// There is something new, or so it seems. On the loop.
    package func pollSoon() { hinted.resume(()) }

    /// The same from any thread; nothing where nobody listens.
    package nonisolated func hint() {
        loop.execute { self.assumeIsolated { if !$0.listeners.isEmpty { $0.pollSoon() } } }
    }

    /// Reads what is new and hands it out. While the database is away nothing is lost: it is read later.
    func poll() async {
        // One page alone is never too much for a queue that is empty.
        let limit = min(Settings.page, settings.queue)
        while true {
            counted.polls += 1
            guard let events = try? await store.after(place, limit: limit) else { return }
            for event in events { handOut(event) }
            place = max(place, events.last?.at ?? place)
            for listener in listeners.values where listener.after < place {
                listener.after = place
            }
            if events.count < limit { return }
        }
    }

    private func handOut(_ event: StoredEvent) {
        for listener in listeners.values
        where event.at > listener.after && !listener.isTooSlow && listener.filter.matches(event) {
            if listener.waiting.count >= settings.queue {
                listener.isTooSlow = true
                listener.waiting = []
                counted.tooSlow += 1
            } else {
                listener.waiting.append(event)
                counted.delivered += 1
            }
            listener.wake.resume(())
        }
    }

    /// Wakes those who have waited for as long as they wanted to.
    private func wakeInTime() async {
        while !Task.isCancelled {
            do throws(IOError) { try await loop.sleep(for: .milliseconds(250)) } catch { return }
            let now = MonotonicInstant.now
            for listener in listeners.values where listener.wakeAt <= now {
                listener.wake.resume(())
            }
        }
    }
}
