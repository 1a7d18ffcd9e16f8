import IO

extension Connection {
    /// Reads one head. Waits for its first octet for `idle`, for the rest for `head`.
    @inline(__always) func readRequest(
        _ wire: inout Wire
    ) async throws(Interruption) -> Request {
        var parser = RequestParser(limits: server.limits)
        var deadline: MonotonicInstant?
        while true {
            if !wire.input.isEmpty {
                if let request = try parse(&parser, &wire) { return request }
                if deadline == nil { deadline = .now.advanced(by: server.deadlines.head) }
            }
            if !wire.output.isEmpty { try await flush(&wire) }
            wire.park(in: server.pool)
            if let deadline {
                try await fill(&wire, until: deadline)
            } else {
                try await fillIdle(&wire)
            }
        }
    }

    private func parse(
        _ parser: inout RequestParser, _ wire: inout Wire
    ) throws(Interruption) -> Request? {
        do throws(Refusal) {
            let length = try wire.input.withBytes { bytes throws(Refusal) in
                try parser.parse(bytes)
            }
            guard let length else { return nil }
            let now = MonotonicInstant.now
            var random = server.random
            let request = wire.input.withBytes { bytes in
                Request(
                    parser.head, bytes.array(ByteRange(0, length)), peer: peer, receivedAt: now,
                    random: &random)
            }
            server.random = random
            wire.input.consume(length)
            return request
        } catch {
            throw .refused(error)
        }
    }

    /// Waits for more input and reads it once.
    private func fill(
        _ wire: inout Wire, until deadline: MonotonicInstant
    ) async throws(Interruption) {
        while true {
            do throws(IOError) {
                try await socket.readable(deadline: deadline)
                if try read(&wire) { return }
            } catch {
                switch error {
                case .timedOut: throw .tooSlow
                case .interrupted: continue  // draining: the request in hand is finished
                default: throw .gone
                }
            }
        }
    }

    /// Waits between requests.
    @inline(__always) private func fillIdle(_ wire: inout Wire) async throws(Interruption) {
        let deadline =
            idleEnd
            ?? MonotonicInstant(
                nanoseconds: MonotonicInstant.now.nanoseconds &+ server.parkNanoseconds)
        while true {
            do throws(IOError) {
                if !server.isDraining { try await socket.readable(deadline: deadline) }
                if try read(&wire) {
                    idleEnd = nil
                    return
                }
            } catch {
                switch error {
                case .timedOut: throw .idle
                case .interrupted: continue
                case .closed: throw .left
                default: throw .gone
                }
            }
            // A request that was there when the drain began has still been read above.
            if server.isDraining { throw .drained }
        }
    }

    /// Reads once; false if there was nothing. The end of the stream is `IOError.closed`.
    private func read(_ wire: inout Wire) throws(IOError) -> Bool {
        wire.borrowInput(from: server.pool)
        guard let count = try socket.read(into: &wire.input) else {
            wire.park(in: server.pool)
            return false
        }
        if count == 0 { throw .closed }
        return true
    }

    // MARK: Bodies

    /// Reads all of the request's body, at the pace that the deadlines ask for.
    @inline(__always) func readBody(
        _ body: inout BodyDecoder, of request: inout Request, _ match: Routes.Match,
        _ wire: inout Wire
    ) async throws(Interruption) {
        var sink = try takeBody(&body, of: request, match, &wire)
        if !body.isComplete { try await readRest(&body, &sink, of: request, &wire) }
        request.body = sink.bytes
    }

    /// What has come of the body. Not inlined: the room that it needs would be part of every connection's
    /// memory.
    @inline(never) private func takeBody(
        _ body: inout BodyDecoder, of request: Request, _ match: Routes.Match, _ wire: inout Wire
    ) throws(Interruption) -> BodySink {
        var sink = BodySink(limit: bodyLimit(match))
        if case .length(let length) = request.head.framing { sink.reserve(min(length, 65_536)) }
        do throws(Interruption) {
            try decode(&body, &sink, &wire)
        } catch {
            unanswered = request
            throw error
        }
        return sink
    }

    private func readRest(
        _ body: inout BodyDecoder, _ sink: inout BodySink, of request: Request, _ wire: inout Wire
    ) async throws(Interruption) {
        unanswered = request
        if request.head.expectation == .continue100, sink.count == 0, wire.input.isEmpty {
            wire.borrowOutput(from: server.pool)
            wire.output.append(ResponseWriter.continue100)
        }
        if !wire.output.isEmpty { try await flush(&wire) }
        let start = MonotonicInstant.now
        let deadlines = server.deadlines
        var counted = 0
        defer { server.bufferedBodyBytes -= counted }
        while !body.isComplete {
            server.bufferedBodyBytes += sink.count - counted
            counted = sink.count
            if server.bufferedBodyBytes > server.limits.bufferedBodyBytes {
                throw .refused(Refusal(.overloaded, "too many bodies are being received"))
            }
            let pace = Duration.seconds(sink.count / deadlines.bodyRate)
            let patience = min(deadlines.body, deadlines.bodyGrace + pace)
            try await fill(&wire, until: start.advanced(by: patience))
            try decode(&body, &sink, &wire)
        }
        unanswered = nil
    }

    private func decode(
        _ body: inout BodyDecoder, _ sink: inout BodySink, _ wire: inout Wire
    ) throws(Interruption) {
        do throws(Refusal) {
            let used = try wire.input.withBytes { bytes throws(Refusal) in
                try body.decode(bytes, into: &sink)
            }
            wire.input.consume(used)
        } catch {
            throw .refused(error)
        }
    }

    /// Throws away what is left of a refused request's body, so that the next request is read from
    /// where it starts.
    func discardBody(_ body: inout BodyDecoder, _ wire: inout Wire) async throws(Interruption) {
        var sink = BodySink(limit: server.limits.discardedBodyBytes, keeps: false)
        let deadline = MonotonicInstant.now.advanced(by: server.deadlines.linger)
        do throws(Interruption) {
            try decode(&body, &sink, &wire)
            while !body.isComplete {
                try await fill(&wire, until: deadline)
                try decode(&body, &sink, &wire)
            }
        } catch {
            // The answer is sent already; there is nothing more to say.
            throw .gone
        }
    }
}
