internal import CCurl
package import IO

/// HTTP to others, on one event loop: libcurl's multi interface, its sockets watched by our epoll and
/// its one timer among ours. No call has a thread, and none holds the loop up; names are looked up by
/// libcurl's threads, one for each look-up that is not in its memory for a minute.
///
/// TLS is always verified, connections are kept and bounded, redirects are an answer like others,
/// nothing is stored or unpacked. Every call ends by its deadline, with an answer or with a `Failure`
/// that says whether the other side may have acted.
@safe package actor HTTPClient: LoopBound {
    package nonisolated let loop: EventLoop
    let settings: Settings
    private let stack: Stack
    var multi: UnsafeMutableRawPointer { unsafe stack.multi }
    var transfers: [Int: Transfer] = [:]
    /// By the address of the handle, which is another call's once it was freed.
    var ids: [Int: Int] = [:]
    /// Those whose body is read in pieces, for as long as their reader keeps them.
    private var streams: [Int: Transfer] = [:]
    private var lastID = 0
    var watches: [Int32: Watch] = [:]
    var tally = Counters()
    private var isClosed = false
    lazy var curlTimer = LoopTimer { [weak self] in
        self?.assumeIsolated { $0.drive(CURL_SOCKET_TIMEOUT, 0) }
    }
    private lazy var deadlineTimer = LoopTimer { [weak self] in
        self?.assumeIsolated { $0.endOverdue() }
    }

    /// - Throws: `outOfMemory` when libcurl has nothing for us.
    package init(on loop: EventLoop, _ settings: Settings = Settings()) throws(Failure) {
        self.loop = loop
        self.settings = settings
        guard Self.isCurlReady, let multi = unsafe curl_multi_init() else {
            throw Failure(.waiting, .outOfMemory, "libcurl does not start")
        }
        stack = unsafe Stack(multi)
        for (option, value) in [
            (CURLMOPT_MAX_HOST_CONNECTIONS, settings.connectionsPerHost),
            (CURLMOPT_MAX_TOTAL_CONNECTIONS, settings.connections),
            (CURLMOPT_MAXCONNECTS, settings.connections),
            (CURLMOPT_PIPELINING, Int(CURLPIPE_MULTIPLEX)),
        ] { _ = unsafe bw_curl_multi_set_number(multi, option, value) }
        let context = unsafe Unmanaged.passUnretained(self).toOpaque()
        _ = unsafe bw_curl_multi_set_socket_watch(
            multi,
            { _, descriptor, what, context, _ in
                unsafe HTTPClient.at(context) { $0.watch(descriptor, what) }
            }, context)
        _ = unsafe bw_curl_multi_set_timer(
            multi,
            { _, milliseconds, context in
                unsafe HTTPClient.at(context) { $0.setTimer(milliseconds) }
            }, context)
    }

    /// libcurl's connections and timers. Goes with the client; nothing is in hand then, since who
    /// calls holds the client.
    @safe private final class Stack {
        let multi: UnsafeMutableRawPointer

        init(_ multi: UnsafeMutableRawPointer) { unsafe self.multi = unsafe multi }

        deinit {
            _ = unsafe bw_curl_multi_set_socket_watch(multi, nil, nil)
            _ = unsafe bw_curl_multi_set_timer(multi, nil, nil)
            unsafe curl_multi_cleanup(multi)
        }
    }

    /// Once for the process, before any thread uses libcurl.
    private static let isCurlReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    package var counters: Counters {
        var counters = tally
        counters.inFlight = transfers.count
        return counters
    }

    /// Ends what is in hand, as cancelled, and takes no more. Kept connections go with the client.
    package func close() {
        isClosed = true
        for id in transfers.keys.sorted() { cancel(id) }
    }
}

// MARK: Calls

extension HTTPClient {
    /// The whole answer. Ends with the caller's task.
    package func send(_ request: Request) async throws(Failure) -> Response {
        let transfer = try begin(request, .whole(limit: request.maxBodyBytes ?? settings.bodyBytes))
        while transfer.outcome == nil { await change(of: transfer) }
        try transfer.outcome?.get()
        guard let head = transfer.head else {
            throw Failure(.head, .protocol, "the answer has no head")
        }
        return Response(head: head, body: transfer.takeBody())
    }

    /// The head of an answer whose body comes in pieces, as they are asked for. Over HTTP/1.1 on a
    /// connection of its own: on a shared one a slow reader would hold up its neighbours.
    package func open(_ request: Request) async throws(Failure) -> BodyStream {
        let transfer = try begin(
            request,
            .pieces(
                limit: request.maxBodyBytes ?? settings.bodyBytes,
                buffer: settings.streamBufferBytes))
        while transfer.head == nil, transfer.outcome == nil { await change(of: transfer) }
        if transfer.head == nil { try transfer.outcome?.get() }
        guard let head = transfer.head else {
            throw Failure(.head, .protocol, "the answer has no head")
        }
        streams[transfer.id] = transfer
        return BodyStream(head: head, client: self, id: transfer.id)
    }

    /// What has come of a stream, at least one octet; nil at its sound end.
    func piece(of id: Int) async throws(Failure) -> [UInt8]? {
        guard let transfer = streams[id] else { return nil }
        while true {
            let piece = transfer.takeBody()
            if !piece.isEmpty { return piece }
            if let outcome = transfer.outcome {
                try outcome.get()
                return nil
            }
            if transfer.isPaused {
                resume(transfer)
            } else {
                await change(of: transfer)
            }
        }
    }

    private func begin(
        _ request: Request, _ delivery: Transfer.Delivery
    ) throws(Failure) -> Transfer {
        do throws(Failure) {
            if let fault = request.fault { throw Failure(.waiting, .invalid, fault) }
            if isClosed || Task.isCancelled {
                throw Failure(.waiting, .cancelled, isClosed ? "the client is closed" : "not begun")
            }
            if transfers.count >= settings.maxCalls {
                throw Failure(.waiting, .overloaded, "\(transfers.count) calls are in hand")
            }
            lastID += 1
            let deadline = MonotonicInstant.now.advanced(by: request.deadline ?? settings.deadline)
            let transfer = try Transfer(
                id: lastID, request, delivery, deadline: deadline, settings)
            guard unsafe curl_multi_add_handle(multi, transfer.handle) == CURLM_OK else {
                throw Failure(.waiting, .outOfMemory, "libcurl takes no more calls")
            }
            transfers[transfer.id] = transfer
            ids[transfer.address] = transfer.id
            if deadline < deadlineTimer.deadline { deadlineTimer.set(deadline, on: loop) }
            return transfer
        } catch {
            count(error)
            throw error
        }
    }

    /// Waits for news of it; a cancelled task ends it.
    private func change(of transfer: Transfer) async {
        let id = transfer.id
        await withTaskCancellationHandler {
            // Naming the loop makes the closure this actor's. One that does not would run elsewhere.
            loop.checkIsolated()
            await transfer.change()
        } onCancel: {
            loop.execute { [weak self] in self?.assumeIsolated { $0.cancel(id) } }
        }
    }

    /// Nobody reads that stream any more.
    func drop(_ id: Int) {
        streams[id] = nil
        if transfers[id]?.isLeft != true { cancel(id) }
    }

    /// Nor this one, whose rest may come.
    func leave(_ id: Int) {
        streams[id] = nil
        guard let transfer = transfers[id] else { return }
        transfer.leave(until: .now.advanced(by: .milliseconds(250)))
        if transfer.deadline < deadlineTimer.deadline {
            deadlineTimer.set(transfer.deadline, on: loop)
        }
        if transfer.isPaused { resume(transfer) }
    }

    /// Ends a call that is still in hand.
    func cancel(_ id: Int) {
        guard let transfer = transfers[id] else { return }
        finish(transfer, transfer.failure(.cancelled, "cancelled by the caller"))
    }

    private func endOverdue() {
        let now = MonotonicInstant.now
        for transfer in transfers.values.filter({ $0.deadline <= now }) {
            finish(
                transfer,
                transfer.isLeft
                    ? transfer.failure(.cancelled, "left by its reader")
                    : transfer.failure(.timedOut, "the call's deadline passed"))
        }
        if let next = transfers.values.map(\.deadline).min() { deadlineTimer.set(next, on: loop) }
    }
}
