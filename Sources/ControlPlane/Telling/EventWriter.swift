package import IO
package import Postgres

/// Brings the events of an instance to the table, all that have come together, a few times a second.
///
/// A batch whose answer is lost is sent again under the same number, and stored once. What is still in
/// memory when the process dies is lost: at most the events of `flush`, or of the time that the database was
/// away.
package actor EventWriter: LoopBound {
    package struct Settings: Hashable, Sendable {
        /// How long an event waits for others at most.
        package var flush: Duration = .milliseconds(200)
        /// Events of one statement.
        package var batch = 500
        /// Events that wait while the database is away; past it the oldest give way.
        package var capacity = 10_000

        package init() {}
    }

    package struct Counters: Hashable, Sendable {
        package var stored = 0
        package var batches = 0
        /// Events that the database did not take.
        package var failed = 0

        package init() {}
    }

    package nonisolated let loop: EventLoop
    private let settings: Settings
    private let store: EventStore
    private let buffer: EventBuffer
    private let onStored: @Sendable () -> Void
    private let id = UUID.v7()
    /// The number of the batch that is sent next, or again.
    private var number: Int64 = 1
    /// Taken from the buffer and not known to be stored.
    private var taken: [EventBuffer.Timed] = []
    private var isFlushing = false
    package private(set) var counters = Counters()

    /// - Parameter onStored: called on the loop after each batch.
    package init(
        on loop: EventLoop, pipeline: Pipeline, buffer: EventBuffer,
        settings: Settings = Settings(), onStored: @escaping @Sendable () -> Void = {}
    ) {
        self.loop = loop
        self.settings = settings
        self.buffer = buffer
        self.onStored = onStored
        store = EventStore(pipeline)
    }

    /// Works until cancelled.
    package func run() async {
        while !Task.isCancelled {
            do throws(IOError) { try await loop.sleep(for: settings.flush) } catch { return }
            await flush()
        }
    }

    /// Stores what is left; what the database does not take now is lost.
    package func finish() async {
        while isFlushing { try? await loop.sleep(for: .milliseconds(10)) }
        await flush()
    }

    /// Stores what is there; what cannot be stored now stays for the next time.
    package func flush() async {
        guard !isFlushing else { return }
        isFlushing = true
        defer { isFlushing = false }
        while true {
            if taken.isEmpty { taken = buffer.take(settings.batch) }
            guard !taken.isEmpty else { return }
            do throws(PostgresError) {
                try await store(taken)
            } catch {
                if error.isTransient { return }
                await storeOneByOne()
            }
            taken = []
            onStored()
        }
    }

    private func store(_ events: [EventBuffer.Timed]) async throws(PostgresError) {
        _ = try await store.write(events, by: id, batch: number)
        number += 1
        counters.stored += events.count
        counters.batches += 1
    }

    /// One of them is not what the table takes: the others are stored all the same.
    private func storeOneByOne() async {
        for event in taken {
            do throws(PostgresError) { try await store([event]) } catch { counters.failed += 1 }
        }
    }
}
