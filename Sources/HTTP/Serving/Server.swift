package import IO

/// Accepts connections on one loop and serves them.
package actor Server: LoopBound {
    package nonisolated let loop: EventLoop
    /// A socket that `Listener.open` made; the server owns it from then on.
    package typealias Endpoint = (descriptor: Int32, address: Address)

    private let state: ServerState
    private let endpoints: [Endpoint]
    private var doors: [Door] = []
    private var openDoors = 0
    private var connections: [ObjectIdentifier: Connection] = [:]
    private var countByAddress: [IPAddress: Int] = [:]
    /// Connections that need a task: new ones, and parked ones to whom something happened.
    private var due: [Connection] = []
    /// For the next of them, or for the end.
    private let work = Waiter<Void>()
    private var deadline: LoopTimer?
    private var isCut = false
    private var failure: IOError?

    /// One listener and where its accepting task waits for a place under the connection cap.
    private final class Door {
        let listener: Listener
        let room = Waiter<Void>()

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
    /// Those of them that have a task; the others are parked.
    package private(set) var taskCount = 0

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
        openDoors = doors.count
        let doors = doors.indices
        await withDiscardingTaskGroup { group in
            for door in doors {
                group.addTask(executorPreference: self.loop) { await self.accept(at: door) }
            }
            while let connections = await nextDue() {
                for connection in connections {
                    group.addTask(executorPreference: self.loop) { await self.serve(connection) }
                }
            }
            group.cancelAll()
        }
        if let failure { throw failure }
    }

    /// Accepts until the door is closed.
    private func accept(at index: Int) async {
        let door = doors[index]
        do throws(IOError) {
            while true {
                try await waitForRoom(door)
                let (socket, peer) = try await door.listener.accept()
                if let connection = admit(socket, peer) { start(connection) }
            }
        } catch {
            if error != .closed { failure = failure ?? error }
        }
        door.listener.close()
        openDoors -= 1
        look()
    }

    /// Connections that need a task; nil when no door is open and no connection left, or left to finish.
    private func nextDue() async -> [Connection]? {
        while due.isEmpty {
            if openDoors == 0, connections.isEmpty || isCut { return nil }
            await work.wait()
        }
        defer { due.removeAll(keepingCapacity: true) }
        return due
    }

    /// Has `nextDue` look again.
    private func look() {
        if work.isWaiting { work.resume(()) }
    }

    private func start(_ connection: Connection) {
        due.append(connection)
        look()
    }

    private func serve(_ connection: Connection) async {
        taskCount += 1
        let isParked = await connection.serve { [self] in assumeIsolated { $0.start(connection) } }
        taskCount -= 1
        if !isParked { ended(connection) }
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
        state.observer?.opened(peer: peer)
        return connection
    }

    /// Says 503 if the kernel takes it at once, and closes.
    private func turnAway(_ socket: Socket, _ peer: IPAddress) {
        let id = state.makeID()
        let response = Response(
            Problem(refusal: .overloaded, detail: "too many connections", retryAfter: .seconds(1)),
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

    private func ended(_ connection: Connection) {
        connections[ObjectIdentifier(connection)] = nil
        if let peer = connection.peer, let count = countByAddress[peer] {
            countByAddress[peer] = count == 1 ? nil : count - 1
        }
        for door in doors where door.room.isWaiting { door.room.resume(()) }
        look()
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
        isCut = true
        look()
    }
}
