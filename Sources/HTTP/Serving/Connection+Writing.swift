import IO

extension Connection {
    /// Appends an answer to what is to be sent; returns its body's octets. A large or streamed one, or
    /// the connection's last, is sent at once.
    @inline(__always) func write(
        _ response: Response, _ context: ResponseWriter.Context, _ wire: inout Wire
    ) async throws(Interruption) -> Int {
        if case .abandoned(let byReset) = response.body {
            if byReset { socket.reset() }
            throw .gone
        }
        let framing = appendHead(response, context, &wire)
        var sent = 0
        if !context.isHead && !response.status.forbidsBody {
            switch response.body {
            case .empty, .abandoned: break
            case .bytes(let bytes):
                sent = bytes.count
                if sent <= BufferPool.blockSize {
                    wire.output.append(bytes)
                } else {
                    try await flush(&wire)
                    try await send(bytes)
                }
            case .stream(let produce):
                sent = try await send(produce, framing, &wire)
            }
        }
        if !context.keepsAlive || wire.output.count > server.limits.gatheredAnswerBytes {
            try await flush(&wire)
        }
        return sent
    }

    private func appendHead(
        _ response: Response, _ context: ResponseWriter.Context, _ wire: inout Wire
    ) -> ResponseWriter.Framing {
        wire.borrowOutput(from: server.pool)
        let framing = ResponseWriter.framing(of: response, context)
        ResponseWriter.writeHead(
            response, framing, context, date: server.dateBytes(at: .now), to: &wire.output)
        return framing
    }

    func report(_ request: Request, _ match: Routes.Match, _ status: Status, _ bytesOut: Int) {
        var route: Int?
        if case .route(let index) = match { route = index }
        server.observer?.finished(
            Exchange(
                route: route,
                operationID: route.map { server.routes.all[$0].operationID }, status: status,
                duration: request.receivedAt.duration(to: .now),
                bytesIn: request.headBytes.count + request.body.count, bytesOut: bytesOut))
    }

    /// Until when a reader must have made room, if it took `count` octets since `start`: it may neither
    /// stand still for `writeStall` nor stay below `writeRate` for long.
    private func writeDeadline(_ start: MonotonicInstant, _ count: Int) -> MonotonicInstant {
        let stall = server.deadlines.writeStall
        let pace = Duration.seconds(count / server.deadlines.writeRate)
        return min(MonotonicInstant.now.advanced(by: stall), start.advanced(by: stall + pace))
    }

    /// Sends all of the output.
    @inline(__always) func flush(_ wire: inout Wire) async throws(Interruption) {
        do throws(IOError) {
            // The kernel nearly always takes an answer whole.
            _ = try socket.write(from: &wire.output)
            CrashPoint.answerWritten.reached()
        } catch {
            throw .gone
        }
        if !wire.output.isEmpty { try await flushRest(&wire) }
    }

    private func flushRest(_ wire: inout Wire) async throws(Interruption) {
        let start = MonotonicInstant.now
        var count = 0
        while !wire.output.isEmpty {
            count += try await writeSome(start, count) { socket throws(IOError) in
                try socket.write(from: &wire.output)
            }
        }
    }

    private func send(_ bytes: [UInt8]) async throws(Interruption) {
        let start = MonotonicInstant.now
        var count = 0
        while count < bytes.count {
            count += try await writeSome(start, count) { socket throws(IOError) in
                try socket.write(bytes, from: count)
            }
        }
    }

    /// Writes once, and waits for room if there was none.
    func writeSome(
        _ start: MonotonicInstant, _ count: Int, _ write: (Socket) throws(IOError) -> Int?
    ) async throws(Interruption) -> Int {
        do throws(IOError) {
            if let written = try write(socket) { return written }
            try await socket.writable(deadline: writeDeadline(start, count))
            return 0
        } catch {
            throw error == .timedOut ? .readerTooSlow : .gone
        }
    }
}
