import CLinux
import Glibc
import Synchronization

/// One thread, one epoll: runs the jobs of the actors and tasks that live on it, and wakes them when
/// their descriptors are ready or their timers due.
///
/// It is serial and task executor at once. A turn is: run jobs and own actions until none is left, run the hooks of
/// the turn's end (batches leave there), wait for events, deliver them, fire timers. Jobs from other
/// threads come through the inbox, the loop's only lock.
@safe package final class EventLoop: SerialExecutor, TaskExecutor, @unchecked Sendable {
    /// How often this loop's thread was woken by another thread. A request and its answer from the
    /// database stay on one thread, so in steady state this stands still (a test holds it to that).
    package var foreignWakeups: Int { inbox.withLock { $0.wakeups } }

    private struct Inbox {
        var jobs: [UnownedJob] = []
        var actions: [@Sendable () -> Void] = []
        var isArmed = false
        var wakeups = 0
        var isStopping = false
        /// The descriptors are closed, and their numbers may be others' by now.
        var isClosed = false
    }

    private let inbox = Mutex(Inbox())
    private let name: String
    private let epoll: Int32
    private let wakeup: Int32
    /// The loop's own thread. Written once, before the loop can be known to anyone.
    private nonisolated(unsafe) var thread = pthread_t()

    // The rest belongs to the loop's thread.
    /// Read, swapped and stored whole, as `firstDue`: then accesses need no check at run time.
    private nonisolated(unsafe) var jobs: [UnownedJob] = []
    private nonisolated(unsafe) var spareJobs: [UnownedJob] = []
    private nonisolated(unsafe) var sources: [(any Source)?] = []
    private nonisolated(unsafe) var timers = TimerHeap()
    /// When the first timer is due.
    private nonisolated(unsafe) var firstDue = MonotonicInstant.distantFuture
    private nonisolated(unsafe) var endOfTurn: [() -> Void] = []
    /// Put here by the loop itself, which is awake: they need neither the inbox nor a wake-up.
    private nonisolated(unsafe) var ownActions: [@Sendable () -> Void] = []

    /// Starts a loop on a thread of its own.
    ///
    /// - Throws: `IOError.system` when the kernel has no descriptor or thread left.
    package static func start(name: String) throws(IOError) -> EventLoop {
        let loop = try EventLoop(name: name)
        try loop.startThread()
        return loop
    }

    private init(name: String) throws(IOError) {
        self.name = name
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw .last("epoll_create1") }
        wakeup = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        guard wakeup >= 0 else { throw .last("eventfd") }
        var event = unsafe epoll_event()
        unsafe event.events = EPOLLIN.rawValue
        unsafe event.data.fd = wakeup
        guard unsafe epoll_ctl(epoll, EPOLL_CTL_ADD, wakeup, &event) == 0 else {
            throw .last("epoll_ctl")
        }
    }

    private nonisolated func startThread() throws(IOError) {
        // The thread waits for `thread` to be written before it runs anything.
        let gate = unsafe Unmanaged.passRetained(self)
        let code = inbox.withLock { _ in
            var created = pthread_t()
            defer { unsafe thread = created }
            return unsafe pthread_create(
                &created, nil,
                { context in
                    guard let context = unsafe context else { return nil }
                    let loop = unsafe Unmanaged<EventLoop>.fromOpaque(context).takeRetainedValue()
                    loop.inbox.withLock { _ in }
                    nameThread(loop.name)
                    loop.run()
                    return nil
                }, gate.toOpaque())
        }
        guard code == 0 else {
            unsafe gate.release()
            throw .system(code, "pthread_create")
        }
    }

    /// Ends the loop once its jobs are done and joins its thread. Not from the loop itself.
    package func stop() {
        precondition(!isCurrent, "a loop cannot join itself")
        let isFirst = inbox.withLock { state in
            defer { state.isStopping = true }
            return !state.isStopping
        }
        guard isFirst else { return }
        wake()
        unsafe pthread_join(thread, nil)
        inbox.withLock { $0.isClosed = true }
        Glibc.close(epoll)
        Glibc.close(wakeup)
    }

    // MARK: Executor

    package nonisolated var isCurrent: Bool { unsafe pthread_equal(pthread_self(), thread) != 0 }

    package nonisolated func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isCurrent {
            append(job)
        } else {
            post { $0.jobs.append(job) }
        }
    }

    private nonisolated func append(_ job: UnownedJob) {
        var queue: [UnownedJob] = []
        unsafe swap(&queue, &jobs)
        queue.append(job)
        unsafe swap(&queue, &jobs)
    }

    /// Runs `action` on the loop's thread, from any thread; from the loop's own not before this returns.
    package nonisolated func execute(_ action: @escaping @Sendable () -> Void) {
        if isCurrent {
            unsafe ownActions.append(action)
        } else {
            post { $0.actions.append(action) }
        }
    }

    private nonisolated func post(_ change: (inout Inbox) -> Void) {
        inbox.withLock { state in
            change(&state)
            guard !state.isArmed, !state.isClosed else { return }
            state.isArmed = true
            state.wakeups += 1
            // In the lock: past it the loop may be stopped, and the eight octets go to whoever has the number now.
            wake()
        }
    }

    package nonisolated func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        unsafe UnownedSerialExecutor(ordinary: self)
    }

    package nonisolated func asUnownedTaskExecutor() -> UnownedTaskExecutor {
        unsafe UnownedTaskExecutor(ordinary: self)
    }

    package nonisolated func checkIsolated() {
        precondition(isCurrent, "this code belongs to the thread of loop \(name)")
    }

    package nonisolated func isIsolatingCurrentContext() -> Bool? { isCurrent }

    // MARK: Descriptors, timers, hooks: only on the loop's thread

    /// Watches a descriptor. Edge-triggered sources must read and write until "would block".
    ///
    /// - Throws: `IOError.system` when epoll refuses, e.g. at the limit of watches.
    package func register(
        _ source: any Source, descriptor: Int32, events: Events, edgeTriggered: Bool
    ) throws(IOError) {
        checkIsolated()
        let index = Int(descriptor)
        if unsafe index >= sources.count {
            unsafe sources.append(
                contentsOf: repeatElement(nil, count: index + 64 - sources.count))
        }
        try control(EPOLL_CTL_ADD, descriptor, events, edgeTriggered)
        unsafe sources[index] = source
    }

    /// Changes what a registered descriptor is watched for.
    package func modify(
        descriptor: Int32, events: Events, edgeTriggered: Bool
    ) throws(IOError) {
        try control(EPOLL_CTL_MOD, descriptor, events, edgeTriggered)
    }

    /// Stops watching. Call it before the descriptor is closed.
    package func deregister(descriptor: Int32) {
        checkIsolated()
        let index = Int(descriptor)
        guard unsafe index < sources.count, unsafe sources[index] != nil else { return }
        unsafe sources[index] = nil
        var event = unsafe epoll_event()
        _ = unsafe epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event)
    }

    private func control(
        _ operation: Int32, _ descriptor: Int32, _ events: Events, _ edgeTriggered: Bool
    ) throws(IOError) {
        var event = unsafe epoll_event()
        unsafe event.events = events.rawValue | (edgeTriggered ? EPOLLET.rawValue : 0)
        unsafe event.data.fd = descriptor
        guard unsafe epoll_ctl(epoll, operation, descriptor, &event) == 0 else {
            throw .last("epoll_ctl")
        }
    }

    func enqueue(_ timer: LoopTimer) {
        checkIsolated()
        unsafe timers.insert(timer)
        noteFirstTimer()
    }

    /// Runs `action` once, when this turn's jobs are done and before the loop waits.
    package func atEndOfTurn(_ action: @escaping () -> Void) {
        checkIsolated()
        unsafe endOfTurn.append(action)
    }

    // MARK: The turn

    private func run() {
        let capacity = 256
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: capacity)
        defer { unsafe events.deallocate() }
        while true {
            let isStopping = takeInbox()
            runJobs()
            if isStopping, unsafe jobs.isEmpty, unsafe ownActions.isEmpty,
                unsafe endOfTurn.isEmpty
            { return }
            let ready = unsafe epoll_wait(epoll, events, Int32(capacity), waitMilliseconds())
            if ready > 0 {
                for index in 0..<Int(ready) { unsafe deliver(events[index]) }
            }
            fireTimers()
        }
    }

    private func takeInbox() -> Bool {
        let (isStopping, actions) = inbox.withLock { state in
            state.isArmed = false
            if !state.jobs.isEmpty {
                for job in state.jobs { append(job) }
                state.jobs.removeAll(keepingCapacity: true)
            }
            return (state.isStopping, Self.takeActions(&state))
        }
        for action in actions { action() }
        return isStopping
    }

    private static func takeActions(_ state: inout Inbox) -> [@Sendable () -> Void] {
        if state.actions.isEmpty { return [] }
        defer { state.actions = [] }
        return state.actions
    }

    /// Runs what is queued and what the loop gave itself, then the hooks, until none leaves anything to do, or until tasks that
    /// only feed each other have had their share: descriptors must not starve.
    private func runJobs() {
        let serial = unsafe asUnownedSerialExecutor()
        let task = unsafe asUnownedTaskExecutor()
        var batch: [UnownedJob] = []
        // Both arrays keep their room from turn to turn.
        unsafe swap(&batch, &spareJobs)
        defer { unsafe swap(&batch, &spareJobs) }
        for _ in 0..<64 {
            unsafe swap(&batch, &jobs)
            for job in batch {
                unsafe job.runSynchronously(isolatedTo: serial, taskExecutor: task)
            }
            batch.removeAll(keepingCapacity: true)
            let actions = takeOwnActions()
            for action in actions { action() }
            if unsafe !jobs.isEmpty || !ownActions.isEmpty { continue }
            if unsafe endOfTurn.isEmpty { return }
            let hooks = unsafe endOfTurn
            unsafe endOfTurn.removeAll(keepingCapacity: true)
            for hook in hooks { hook() }
        }
    }

    private func takeOwnActions() -> [@Sendable () -> Void] {
        if unsafe ownActions.isEmpty { return [] }
        defer { unsafe ownActions = [] }
        return unsafe ownActions
    }

    private func waitMilliseconds() -> Int32 {
        if unsafe !jobs.isEmpty || !ownActions.isEmpty || !endOfTurn.isEmpty { return 0 }
        let due = unsafe firstDue
        if due == .distantFuture { return -1 }
        let wait = due.nanoseconds &- MonotonicInstant.now.nanoseconds
        if wait <= 0 { return 0 }
        return Int32(min((wait + 999_999) / 1_000_000, 60_000))
    }

    private func deliver(_ event: epoll_event) {
        let descriptor = unsafe event.data.fd
        if descriptor == wakeup {
            var count: UInt64 = 0
            _ = unsafe Glibc.read(wakeup, &count, MemoryLayout<UInt64>.size)
            return
        }
        let index = Int(descriptor)
        guard unsafe index < sources.count, let source = unsafe sources[index] else { return }
        unsafe source.ready(Events(rawValue: event.events))
    }

    private func fireTimers() {
        let due = unsafe firstDue
        if due == .distantFuture { return }
        let now = MonotonicInstant.now
        guard due <= now else { return }
        let timers = unsafe timers.popDue(at: now)
        noteFirstTimer()
        for timer in timers { timer.action() }
    }

    private func noteFirstTimer() { unsafe firstDue = timers.first ?? .distantFuture }

    private nonisolated func wake() {
        var one: UInt64 = 1
        _ = unsafe Glibc.write(wakeup, &one, MemoryLayout<UInt64>.size)
    }
}

/// Names the calling thread, for `top -H` and debuggers.
private func nameThread(_ name: String) {
    _ = unsafe name.withCString { unsafe clinux_set_thread_name($0) }
}
