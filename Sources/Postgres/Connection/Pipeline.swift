package import IO

/// One connection on an event loop, shared by all who call on that loop: each call is sent at once
/// behind those on their way, and answered in order.
///
/// For short statements: a slow one holds up all behind it. Each call is a transaction of its own,
/// so one that fails does no harm to its neighbours. A call whose task is cancelled is answered
/// all the same.
package actor Pipeline: LoopBound {
    package typealias Step = (statement: Statement, parameters: [Parameter])

    package nonisolated let loop: EventLoop
    private let settings: Settings
    private let onChange: @Sendable (_ isReady: Bool) -> Void
    private let onNotify: @Sendable () -> Void

    /// Connected and set up.
    package private(set) var isReady = false
    /// Calls that were sent, each of one round trip.
    package private(set) var sent = 0
    /// Why the last connection was lost or refused, for people.
    package private(set) var lastFailure = "not connected yet"

    private var link: Link?
    private var dial: Dial?
    private var waiting = Fifo<Exchange>()
    /// An interactive transaction has the connection; others wait for its end.
    private var isHeld = false
    /// Changes with each connection, so that a transaction notices that it lost its own.
    private var generation = 0
    /// The connection's generation when the last BEGIN was answered.
    private var holder = 0
    /// Calls may wait for a connection; false once `connectWait` has passed without one.
    private var mayWait = true
    private var isClosing = false
    private var isCancelled = false
    private let ended = Waiter<PostgresError>()  // the connection's end
    private let pauseEnded: Waiter<Void>  // between two tries to connect
    private let pauseTimer: LoopTimer
    private lazy var deadlineTimer = LoopTimer { [weak self] in
        self?.assumeIsolated { $0.checkDeadlines() }
    }
    private lazy var waitTimer = LoopTimer { [weak self] in
        self?.assumeIsolated { $0.stopWaiting() }
    }

    /// - Parameters:
    ///   - onChange: called on the loop when the pipeline becomes ready or stops being so.
    ///   - onNotify: called on the loop when something came over `settings.channel`.
    package init(
        on loop: EventLoop, _ settings: Settings,
        onChange: @escaping @Sendable (_ isReady: Bool) -> Void = { _ in },
        onNotify: @escaping @Sendable () -> Void = {}
    ) {
        self.loop = loop
        self.settings = settings
        self.onChange = onChange
        self.onNotify = onNotify
        let pauseEnded = Waiter<Void>()
        self.pauseEnded = pauseEnded
        pauseTimer = LoopTimer { pauseEnded.resume(()) }
    }

    /// Calls that have no answer yet.
    package var queued: Int { waiting.count + (link?.sent.count ?? 0) }
}

// MARK: Calls

extension Pipeline {
    /// Runs one statement in a transaction of its own, and answers when that is committed.
    package func execute(
        _ statement: Statement, _ parameters: [Parameter] = []
    ) async throws(PostgresError) -> Rows {
        let rows = try await perform(.implicit([(statement, parameters)]))
        guard let first = rows.first else { throw .decode("no answer") }
        return first
    }

    /// Runs `steps` in one transaction and one round trip: all of them or none. With a tenant,
    /// row-level security sees `app.tenant_id`.
    ///
    /// Throws what the first failing step, or the commit, said.
    package func transaction(
        tenant: UUID? = nil, _ steps: [Step]
    ) async throws(PostgresError) -> [Rows] {
        try await perform(.transaction(tenant: tenant, steps))
    }

    func perform(_ work: Exchange.Work) async throws(PostgresError) -> [Rows] {
        try admit()
        let outcome = unsafe await withUnsafeContinuation { continuation in
            unsafe submit(Exchange(work, continuation: continuation))
        }
        return try outcome.get()
    }

    private func admit() throws(PostgresError) {
        if isClosing || (!isReady && !mayWait) { throw .unavailable(lastFailure) }
        if queued >= settings.maxQueued { throw .overloaded }
    }

    private func submit(_ exchange: Exchange) {
        if isReady && !isHeld && waiting.isEmpty {
            send(exchange)
        } else {
            watchDeadline(of: exchange)
            waiting.append(exchange)
        }
    }

    private func send(_ exchange: Exchange) {
        guard let link else { return exchange.finish(throwing: .unavailable(lastFailure)) }
        if case .begin = exchange.work { isHeld = true }
        if case .end = exchange.work { isHeld = false }
        watchDeadline(of: exchange)
        sent += 1
        if !link.send(exchange) { lose(link, .connectionLost(.unknown)) }
    }

    private func sendWaiting() {
        while isReady, !isHeld, let exchange = waiting.popFirst() { send(exchange) }
    }
}

// MARK: Held transactions

extension Pipeline {
    /// Takes the connection for itself; the answer is the generation to which `executeInside`
    /// and `end` belong.
    func begin(tenant: UUID?) async throws(PostgresError) -> Int {
        _ = try await perform(.begin(tenant: tenant))
        return holder
    }

    func executeInside(
        _ step: Step, generation: Int
    ) async throws(PostgresError) -> Rows {
        let rows = try await performInside(.implicit([step]), generation)
        guard let first = rows.first else { throw .decode("no answer") }
        return first
    }

    func end(commit: Bool, generation: Int) async throws(PostgresError) {
        _ = try await performInside(.end(commit: commit), generation)
    }

    private func performInside(
        _ work: Exchange.Work, _ generation: Int
    ) async throws(PostgresError) -> [Rows] {
        // Its connection went, and the server rolled back.
        guard generation == self.generation, isReady else { throw .connectionLost(.notApplied) }
        let outcome = unsafe await withUnsafeContinuation { continuation in
            send(unsafe Exchange(work, isInside: true, continuation: continuation))
            sendWaiting()
        }
        return try outcome.get()
    }
}

// MARK: Answers, losses, deadlines

extension Pipeline {
    /// The link's descriptor is ready.
    func advance() {
        guard let link else { return }
        let isSound = link.receive { finish($0, of: link) }
        if link.takeNotifications() { onNotify() }
        if !isSound, link === self.link { lose(link, .connectionLost(.unknown)) }
    }

    private func finish(_ exchange: Exchange, of link: Link) {
        if let error = exchange.error {
            if mayResend(exchange, after: error, on: link) { return }
            exchange.finish()
            if error.endsConnection { return lose(link, error) }
            if case .begin = exchange.work { abandonBegun() }
        } else {
            if case .begin = exchange.work { holder = generation }
            exchange.finish()
        }
        if isClosing { closeIfDone() }
    }

    /// BEGIN, or the tenant's SET LOCAL, failed: nobody will end what may have begun.
    private func abandonBegun() {
        send(Exchange(unattended: .end(commit: false)))
        sendWaiting()
    }

    /// A statement that the session does not know, or knows by an outdated plan, was not run, and
    /// its transaction is undone: it may be sent again.
    private func mayResend(
        _ exchange: Exchange, after error: PostgresError, on link: Link
    ) -> Bool {
        guard !exchange.isInside, exchange.resends < 2 else { return false }
        switch error {
        case .stalePlan: link.forgetStatements(of: exchange, isStale: true)
        case .undefinedStatement where exchange.resends == 0:
            link.forgetStatements(of: exchange, isStale: false)
        case .undefinedStatement, .duplicateStatement: link.stopPreparing()
        default: return false
        }
        exchange.resends += 1
        if !link.send(exchange) { lose(link, .connectionLost(.unknown)) }
        return true
    }

    /// Gives the connection up. What was sent has no answer; what waits may still have one.
    private func lose(_ link: Link, _ error: PostgresError) {
        guard link === self.link else { return }
        lastFailure = isClosing ? "closed" : oneLine(link.lastMessage)
        link.close()
        self.link = nil
        generation += 1
        isHeld = false
        setReady(false)
        for exchange in link.takeUnanswered() {
            // A step that failed has rolled its transaction back whatever became of the rest.
            exchange.finish(throwing: exchange.error ?? .connectionLost(.unknown))
        }
        ended.resume(error)
    }

    private func watchDeadline(of exchange: Exchange) {
        let deadline = exchange.startedAt.advanced(by: settings.deadline)
        if deadlineTimer.deadline == .distantFuture { deadlineTimer.set(deadline, on: loop) }
    }

    private func checkDeadlines() {
        let now = MonotonicInstant.now
        let oldest = now.advanced(by: .zero - settings.deadline)
        if let link, let head = link.sent.first, head.startedAt <= oldest {
            lose(link, .connectionLost(.unknown))
        }
        while let head = waiting.first, head.startedAt <= oldest {
            _ = waiting.popFirst()
            head.finish(throwing: .unavailable("no turn within the deadline"))
        }
        for head in [link?.sent.first, waiting.first] {
            guard let head else { continue }
            watchDeadline(of: head)
        }
    }

    private func stopWaiting() {
        guard !isReady else { return }
        mayWait = false
        for exchange in waiting.removeAll() {
            exchange.finish(throwing: .unavailable(lastFailure))
        }
    }

    private func setReady(_ ready: Bool) {
        guard isReady != ready else { return }
        isReady = ready
        if ready {
            mayWait = true
            waitTimer.clear()
        } else {
            waitTimer.set(.now.advanced(by: settings.connectWait), on: loop)
        }
        onChange(ready)
    }
}

// MARK: Life

extension Pipeline {
    /// Connects, serves and connects anew until `close` or cancellation. Start it in a task that
    /// prefers the loop.
    package func run() async {
        waitTimer.set(.now.advanced(by: settings.connectWait), on: loop)
        await withTaskCancellationHandler {
            await keepConnected()
        } onCancel: {
            loop.execute { self.assumeIsolated { $0.cut() } }
        }
        stopWaiting()
    }

    /// Takes no more calls, answers those it has, and lets `run` return. `cut`, or cancelling the
    /// task of `run`, ends that sooner.
    package func close() {
        isClosing = true
        lastFailure = "closing"
        closeIfDone()
    }

    private func closeIfDone() {
        guard let link, isReady else {
            stopWaiting()
            dial?.abandon()
            pauseEnded.resume(())
            return
        }
        guard queued == 0, !isHeld else { return }
        lose(link, .unavailable("closed"))
    }

    /// Takes no more calls; those it has fail.
    package func cut() {
        isCancelled = true
        isClosing = true
        if let link { lose(link, .unavailable("cancelled")) }
        dial?.abandon()
        pauseEnded.resume(())
    }

    private func keepConnected() async {
        var failures = 0
        while !isClosing {
            do throws(PostgresError) {
                try await connect()
                let connectedAt = MonotonicInstant.now
                _ = await ended.wait()
                // One that is lost at once counts as a failure: no storm of log-ins.
                if connectedAt.duration(to: .now) > .seconds(1) {
                    failures = 0
                    continue
                }
            } catch {
                if !isClosing { lastFailure = error.reason }
            }
            failures += 1
            if isClosing { return }
            let pause = settings.backoff(after: failures, random: .random(in: 0...1))
            pauseTimer.set(.now.advanced(by: pause), on: loop)
            await pauseEnded.wait()
        }
    }

    private func connect() async throws(PostgresError) {
        let dial = Dial(settings.conninfo, on: loop)
        self.dial = dial
        let connected = try await dial.connect()
        self.dial = nil
        guard !isClosing else { throw .unavailable("closing") }
        ended.reset()
        let link = try Link(connected, for: self, preparedStatements: settings.ownsSession)
        self.link = link
        for setUp in settings.sessionSetUp {
            let outcome = unsafe await withUnsafeContinuation { continuation in
                send(
                    unsafe Exchange(.implicit([setUp]), isInside: true, continuation: continuation))
            }
            do { _ = try outcome.get() } catch {
                lose(link, error)
                throw error
            }
        }
        guard self.link === link else { throw .unavailable(lastFailure) }
        if isClosing {
            lose(link, .unavailable("closed"))
            throw .unavailable("closing")
        }
        setReady(true)
        sendWaiting()
    }
}
