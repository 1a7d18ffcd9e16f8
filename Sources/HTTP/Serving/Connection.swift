package import IO

/// Serves one client: reads requests one after the other and answers them in order.
///
/// Nothing is read from the socket while an answer is unwritten, so a client that does not read
/// cannot make us hold more than one buffer of its pipelined requests.
package actor Connection: LoopBound {
    package nonisolated let loop: EventLoop
    /// As the protocol has it, but without its way to `loop`: each request asks three times.
    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe loop.asUnownedSerialExecutor()
    }
    let socket: Socket
    let server: ServerState
    let peer: IPAddress?

    /// Answers that wait while a handler works, and chunks of a stream on their way.
    var pending = ByteBuffer()
    /// The request whose body could not be read.
    var unanswered: Request?
    var stream = StreamState.none
    /// Until when the client may be silent, once the connection was parked in this silence.
    var idleEnd: MonotonicInstant?

    init(_ socket: sending Socket, peer: IPAddress?, server: ServerState, on loop: EventLoop) {
        self.loop = loop
        self.socket = socket
        self.peer = peer
        self.server = server
    }

    /// Serves until the client leaves or misbehaves, or the server drains; then closes and answers
    /// false. Or until the client has been silent for `park`: then it answers true, and `wake` is called
    /// once, when it is to be called again.
    func serve(_ wake: @escaping @Sendable () -> Void) async -> Bool {
        var wire = Wire()
        let end: ConnectionEnd
        do throws(Interruption) {
            while try await serveRequest(&wire) {}
            end = server.isDraining ? .drained : .finished
        } catch {
            if case .idle = error, park(wake) { return true }
            end = await close(&wire, after: error)
        }
        socket.close()
        wire.discard(in: server.pool)
        server.observer?.closed(peer: peer, end)
        return false
    }

    /// Waits for the rest of `idle` without a task; false if nothing is left of it.
    private func park(_ wake: @escaping @Sendable () -> Void) -> Bool {
        let left = server.deadlines.idle - server.deadlines.park
        guard idleEnd == nil, left > .zero, !server.isDraining else { return false }
        let end = MonotonicInstant.now.advanced(by: left)
        idleEnd = end
        socket.whenReadable(deadline: end, wake)
        return true
    }

    /// Reads one request and answers it; false when the connection is at its end.
    @inline(__always) private func serveRequest(
        _ wire: inout Wire
    ) async throws(Interruption) -> Bool {
        var request = try await readRequest(&wire)
        let match = server.routes.match(&request)
        var body = BodyDecoder(request.head.framing, limits: server.limits)
        let response: Response
        if let refusal = await refusal(of: request, match) {
            response = refusal
        } else {
            if !body.isComplete { try await readBody(&body, of: &request, match, &wire) }
            response = await answer(request, match, &wire)
        }
        let keepsAlive = canKeepAlive(request, body, response)
        let context = ResponseWriter.Context(request, keepsAlive: keepsAlive)
        let sent = try await write(response, context, &wire)
        if server.observer != nil { report(request, match, response.status, sent) }
        if body.isComplete && keepsAlive { return true }
        return try await endOfRequest(&body, keepsAlive, &wire)
    }

    /// The answer to a request that is refused before its body is read; nil if it is not.
    @inline(__always) private func refusal(
        of request: Request, _ match: Routes.Match
    ) async -> Response? {
        if let answer = refusalOfHead(request, match) { return answer }
        guard case .route(let index) = match, let gate = server.routes.all[index].gate else {
            return nil
        }
        return await refusal(of: request, at: gate)
    }

    /// For the rare a call: inlined, the room that it needs would be part of every connection's memory.
    @inline(never) private func refusalOfHead(
        _ request: Request, _ match: Routes.Match
    ) -> Response? {
        guard let problem = problem(with: request, match) else { return nil }
        return server.routes.answer(request, refusedBy: problem)
    }

    private func problem(with request: Request, _ match: Routes.Match) -> Problem? {
        guard case .route = match else { return server.routes.problem(match) }
        if request.head.expectation == .unknown {
            return Problem(refusal: .expectationFailed, detail: "only 100-continue is known here")
        }
        if case .length(let length) = request.head.framing, length > bodyLimit(match) {
            return Problem(refusal: .bodyTooLarge, detail: "this takes \(bodyLimit(match)) bytes")
        }
        return nil
    }

    /// Not inlined either.
    @inline(never) private func refusal(of request: Request, at gate: Gate) async -> Response? {
        do throws(Problem) {
            try await gate(request)
            return nil
        } catch {
            return server.routes.answer(request, refusedBy: error)
        }
    }

    /// Octets of a body that the route takes.
    func bodyLimit(_ match: Routes.Match) -> Int {
        if case .route(let index) = match, let limit = server.routes.all[index].maxBodyBytes {
            return limit
        }
        return server.limits.bodyBytes
    }

    /// Runs the handler. Answers gathered before it leave at the end of this turn of the loop, if the
    /// handler has not returned by then.
    @inline(__always) private func answer(
        _ request: Request, _ match: Routes.Match, _ wire: inout Wire
    ) async -> Response {
        let hasGathered = !wire.output.isEmpty
        if hasGathered {
            swap(&pending, &wire.output)
            loop.atEndOfTurn { [self] in assumeIsolated { $0.sendPending() } }
        }
        let response =
            watchesClient(match)
            ? await answerWatching(request, match) : await server.routes.answer(request, match)
        if hasGathered { swap(&pending, &wire.output) }
        return response
    }

    @inline(__always) private func watchesClient(_ match: Routes.Match) -> Bool {
        guard case .route(let index) = match else { return false }
        return server.routes.all[index].watchesClient
    }

    /// Runs the handler beside a watch on the client, whose leaving cancels it.
    @inline(never) private func answerWatching(
        _ request: Request, _ match: Routes.Match
    ) async -> Response {
        await withTaskGroup(of: Response?.self) { group in
            group.addTask(executorPreference: loop) {
                await self.routed(request, match)
            }
            group.addTask(executorPreference: loop) {
                await self.clientHangsUp()
                return nil
            }
            var answer: Response?
            while let ended = await group.next() {
                if let ended { answer = ended }
                group.cancelAll()
            }
            return answer ?? Response(body: .abandoned(byReset: false))
        }
    }

    private func routed(_ request: Request, _ match: Routes.Match) async -> Response {
        await server.routes.answer(request, match)
    }

    /// Returns when the client has left, or the task is cancelled.
    private func clientHangsUp() async {
        let watch = HangupWatch()
        socket.whenHungUp { watch.waiter.resume(()) }
        await withTaskCancellationHandler {
            // Through the actor: the closure by itself is not the actor's, and would wait elsewhere.
            await self.wait(for: watch)
        } onCancel: { [loop] in
            loop.execute { watch.waiter.resume(()) }
        }
        socket.whenHungUp(nil)
    }

    private func wait(for watch: HangupWatch) async { await watch.waiter.wait() }

    /// Sends what the kernel takes; what it refuses, and any error, is left for the next flush.
    private func sendPending() {
        if !pending.isEmpty { _ = try? socket.write(from: &pending) }
    }

    /// RFC 9112 section 9.3; and a refused request's body must be read or the connection closed,
    /// since a request could be hidden in it. Who expects 100 may or may not send it then.
    private func canKeepAlive(
        _ request: Request, _ body: BodyDecoder, _ response: Response
    ) -> Bool {
        guard request.head.keepsAlive, !server.isDraining else { return false }
        if case .stream = response.body { return false }
        if body.isComplete { return true }
        guard case .length(let length) = request.head.framing else { return false }
        return length <= server.limits.discardedBodyBytes && request.head.expectation == .none
    }

    /// Reads a refused body away, or prepares the end of the connection.
    private func endOfRequest(
        _ body: inout BodyDecoder, _ keepsAlive: Bool, _ wire: inout Wire
    ) async throws(Interruption) -> Bool {
        try await flush(&wire)
        if keepsAlive {
            try await discardBody(&body, &wire)
        } else if !body.isComplete || !wire.input.isEmpty {
            await linger(&wire)
        }
        return keepsAlive
    }

    /// Asked to end: an idle client at once, a stream soundly, others after their answer.
    func drain() {
        if stream == .open { stream = .ended(.draining) }
        socket.interrupt()
    }

    /// Closes at once, whatever is in hand.
    func abort() { socket.close() }
}

/// The body that is being streamed, if any.
enum StreamState: Hashable {
    case none
    case open
    case ended(StreamEnded)
}

/// Cancelling may happen on any thread and then travels to the loop's, which alone touches what is inside.
private final class HangupWatch: @unchecked Sendable {
    let waiter = Waiter<Void>()
}
