package import IO

/// Accepts connections on one loop and serves them.
package actor Server: LoopBound {
    package nonisolated let loop: EventLoop
    /// A socket that `Listener.open` made; the server owns it from then on.
    package typealias Endpoint = (descriptor: Int32, address: Address)

    private let state: ServerState
    private let endpoints: [Endpoint]
    private var doors: [Door] = []
    private var connections: [ObjectIdentifier: Connection] = [:]
    private var countByAddress: [IPAddress: Int] = [:]
    private var deadline: LoopTimer?

    /// One listener and where its accepting task waits.
    private final class Door {
        let listener: Listener
        /// For a place under the connection cap.
        let room = Waiter<Void>()
        /// For its last connection, or for the drain's deadline.
        let end = Waiter<Void>()
        var count = 0

        init(_ listener: Listener) { self.listener = listener }
    }

    /// - Parameter endpoints: listening sockets of this loop alone, from `Listener.open`.
    package init(
        on loop: EventLoop, endpoints: [Endpoint], routes: Routes,
        limits: HTTPLimits = HTTPLimits(), deadlines: HTTPDeadlines = HTTPDeadlines(),
        observer: (any HTTPObserver)? = nil
    ) {
        self.loop = loop
        self.endpoints = endpoints
        state = ServerState(
            routes: routes, limits: limits, deadlines: deadlines, observer: observer)
    }

    /// Open connections.
    package var connectionCount: Int { connections.count }

    /// Serves until `drain`. Run it in a task that prefers the loop.
    ///
    /// - Throws: `IOError` when a listener cannot be watched or fails for good.
    package func run() async throws(IOError) {
        for endpoint in endpoints {
            doors.append(
                Door(
                    try Listener(
                        adopting: endpoint.descriptor, address: endpoint.address, on: loop)))
        }
        let doors = doors.indices
        let failures = await withTaskGroup(of: IOError?.self) { group in
            for door in doors {
                group.addTask(executorPreference: self.loop) { await self.keep(door) }
            }
            var failures: [IOError] = []
            for await failure in group { if let failure { failures.append(failure) } }
            return failures
        }
        if let failure = failures.first { throw failure }
    }

    /// Accepts at one door; its connections are the children of this call.
    private func keep(_ index: Int) async -> IOError? {
        let door = doors[index]
        var failure: IOError?
        await withDiscardingTaskGroup { group in
            do throws(IOError) {
                while true {
                    try await waitForRoom(door)
                    let (socket, peer) = try await door.listener.accept()
                    guard let connection = admit(socket, peer) else { continue }
                    door.count += 1
                    group.addTask(executorPreference: self.loop) {
                        await connection.serve()
                        await self.ended(connection, door: index)
                    }
                }
            } catch {
                failure = error == .closed ? nil : error
            }
            if failure != nil { door.listener.close() }
            if door.count > 0 { await door.end.wait() }
            group.cancelAll()
        }
        return failure
    }
}

extension Server {
    // MARK: Caps

    /// Waits while as many connections are open as may be; the backlog holds the others.
    private func waitForRoom(_ door: Door) async throws(IOError) {
        while connections.count >= state.limits.connections, !state.isDraining {
            await door.room.wait()
        }
        if state.isDraining { throw .closed }
    }

    /// A connection for a new client, or nil if its address has too many.
    private func admit(_ socket: sending Socket, _ peer: IPAddress?) -> Connection? {
        if let peer {
            let count = countByAddress[peer, default: 0]
            guard count < state.limits.connectionsPerAddress else {
                turnAway(socket, peer)
                return nil
            }
            countByAddress[peer] = count + 1
        }
        let connection = Connection(socket, peer: peer, server: state, on: loop)
        connections[ObjectIdentifier(connection)] = connection
        return connection
    }

    /// Says 503 if the kernel takes it at once, and closes.
    private func turnAway(_ socket: Socket, _ peer: IPAddress) {
        let id = state.makeID()
        let response = Response(
            Problem(.overloaded, detail: "too many connections", retryAfter: .seconds(1)),
            requestID: id)
        var output = ByteBuffer()
        let context = ResponseWriter.Context(
            id: id, isHTTP10: false, isHead: false, keepsAlive: false)
        ResponseWriter.writeHead(
            response, ResponseWriter.framing(of: response, context), context,
            date: state.dateBytes(at: .now), to: &output)
        if case .bytes(let bytes) = response.body { output.append(bytes) }
        _ = try? socket.write(from: &output)
        socket.closeWrite()
        socket.close()
        state.observer?.closed(peer: peer, .addressCap)
    }

    private func ended(_ connection: Connection, door index: Int) {
        connections[ObjectIdentifier(connection)] = nil
        if let peer = connection.peer, let count = countByAddress[peer] {
            countByAddress[peer] = count == 1 ? nil : count - 1
        }
        doors[index].count -= 1
        for door in doors {
            if door.room.isWaiting { door.room.resume(()) }
            if door.count == 0, door.end.isWaiting { door.end.resume(()) }
        }
    }

    // MARK: Drain

    /// Stops accepting, lets each connection finish the request that it has in hand, and closes what
    /// is left after `limit`. `run` returns when all have ended.
    package func drain(within limit: Duration) {
        guard !state.isDraining else { return }
        state.isDraining = true
        for door in doors {
            door.listener.close()
            if door.room.isWaiting { door.room.resume(()) }
        }
        for connection in connections.values { connection.assumeIsolated { $0.drain() } }
        let timer = LoopTimer { [self] in assumeIsolated { $0.cut() } }
        timer.set(.now.advanced(by: limit), on: loop)
        deadline = timer
    }

    private func cut() {
        for connection in connections.values { connection.assumeIsolated { $0.abort() } }
        for door in doors where door.end.isWaiting { door.end.resume(()) }
    }
}
