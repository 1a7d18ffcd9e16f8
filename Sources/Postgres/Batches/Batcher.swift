package import IO

/// Turns calls that come one by one into batches, without a timer: what arrives while a batch is
/// out forms the next, so batches grow with load, and a lone call leaves at the end of the loop's
/// turn. Calls that nobody waits for may linger, to be fewer batches.
///
/// All on one loop: a call costs an append and the suspension of its task.
@safe package actor Batcher<Call: Sendable, Answer: Sendable>: LoopBound {
    package typealias Outcome = Result<Answer, PostgresError>

    package struct Statistics: Hashable, Sendable {
        package var batches = 0
        package var calls = 0
        /// The most calls that one batch held.
        package var largest = 0
        /// Calls refused because the queue was full.
        package var refused = 0
    }

    package nonisolated let loop: EventLoop
    package private(set) var statistics = Statistics()

    private let maxBatch: Int
    private let maxQueued: Int
    private let maxInFlight: Int
    private let linger: Duration
    private let perform: @Sendable ([Call]) async -> [Outcome]

    private typealias Caller = UnsafeContinuation<Outcome, Never>
    // Side by side, so that the calls go to `perform` as they stand.
    private var calls: [Call] = []
    private var callers: [Caller] = unsafe []
    private var idle: [UnsafeContinuation<Void, Never>] = unsafe []
    private var isHookSet = false
    private var isClosing = false

    /// - Parameters:
    ///   - maxBatch: the most calls that one `perform` is given.
    ///   - maxQueued: calls that may wait for their batch; past it `.overloaded`.
    ///   - maxInFlight: batches out at a time. One, unless they go to different backends.
    ///   - linger: how long a batch waits for more calls once it could leave.
    ///   - perform: answers each call, in the order given. It runs on the loop.
    package init(
        on loop: EventLoop, maxBatch: Int = 1_000, maxQueued: Int = 16_384, maxInFlight: Int = 1,
        linger: Duration = .zero,
        perform: @escaping @Sendable (_ calls: [Call]) async -> [Outcome]
    ) {
        precondition(maxBatch > 0 && maxQueued > 0 && maxInFlight > 0)
        self.loop = loop
        self.maxBatch = maxBatch
        self.maxQueued = maxQueued
        self.maxInFlight = maxInFlight
        self.linger = linger
        self.perform = perform
    }

    /// Calls that wait for their batch.
    package var queued: Int { calls.count }
    /// Calls in batches that are out.
    private var out = 0
    /// Every call was answered.
    package var isIdle: Bool { calls.isEmpty && out == 0 }

    /// Answers when the batch of this call is back. A caller that is cancelled is answered all the
    /// same: its call may be out already.
    ///
    /// - Throws: `.overloaded` when the queue is full, `.unavailable` once closed, and what
    ///   `perform` says of this call.
    package func callAsFunction(_ call: Call) async throws(PostgresError) -> Answer {
        if isClosing { throw .unavailable("closing") }
        if calls.count >= maxQueued {
            statistics.refused += 1
            throw .overloaded
        }
        let outcome = unsafe await withUnsafeContinuation { (caller: Caller) in
            calls.append(call)
            unsafe callers.append(caller)
            wakeAtEndOfTurn()
        }
        return try outcome.get()
    }

    /// Sends batches until `close` or cancellation. Start it in a task that prefers the loop.
    package func run() async {
        await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group in
                for _ in 0..<maxInFlight {
                    group.addTask(executorPreference: loop) { await self.work() }
                }
            }
        } onCancel: {
            loop.execute { self.assumeIsolated { $0.cancel() } }
        }
    }

    /// Takes no more calls; `run` returns when those it has are answered.
    package func close() {
        isClosing = true
        wakeAll()
    }
}

extension Batcher {
    private func work() async {
        while true {
            if calls.isEmpty {
                if isClosing { return }
                unsafe await withUnsafeContinuation { unsafe idle.append($0) }
                continue
            }
            if linger > .zero, !isClosing {
                // Cancelled, it leaves those that wait to `cancel`, which is on its way.
                do throws(IOError) { try await loop.sleep(for: linger) } catch { return }
                if calls.isEmpty { continue }
            }
            let (calls, callers) = unsafe takeBatch()
            out += calls.count
            let answers = await perform(calls)
            out -= calls.count
            for index in calls.indices {
                let answer =
                    index < answers.count
                    ? answers[index] : .failure(.decode("\(answers.count) answers to a batch"))
                unsafe callers[index].resume(returning: answer)
            }
        }
    }

    private func takeBatch() -> ([Call], [Caller]) {
        statistics.batches += 1
        let size = min(calls.count, maxBatch)
        statistics.calls += size
        statistics.largest = max(statistics.largest, size)
        guard calls.count > maxBatch else {
            defer {
                calls = []
                unsafe callers = []
                calls.reserveCapacity(size)
                unsafe callers.reserveCapacity(size)
            }
            return unsafe (calls, callers)
        }
        defer {
            calls.removeFirst(size)
            unsafe callers.removeFirst(size)
        }
        return unsafe (Array(calls.prefix(size)), Array(callers.prefix(size)))
    }

    /// The first call of a turn sets the hook: those that come later in the turn share the batch.
    private func wakeAtEndOfTurn() {
        guard !isHookSet, unsafe !idle.isEmpty else { return }
        isHookSet = true
        loop.atEndOfTurn { self.assumeIsolated { $0.wakeWorkers() } }
    }

    /// As many as there are batches to send.
    private func wakeWorkers() {
        isHookSet = false
        for _ in stride(from: 0, to: calls.count, by: maxBatch) {
            guard let worker = unsafe idle.popLast() else { return }
            unsafe worker.resume()
        }
    }

    private func wakeAll() {
        while let worker = unsafe idle.popLast() { unsafe worker.resume() }
    }

    private func cancel() {
        isClosing = true
        calls = []
        unsafe callers.forEach {
            unsafe $0.resume(returning: .failure(.unavailable("cancelled")))
        }
        unsafe callers = []
        wakeAll()
    }
}
