import IO

extension Connection {
    /// Sends a body while it is made; returns its octets. The client's leaving and the server's
    /// drain end it.
    func send(
        _ produce: @escaping Response.Stream, _ framing: ResponseWriter.Framing,
        _ wire: inout Wire
    ) async throws(Interruption) -> Int {
        try await flush(&wire)
        var isChunked = false
        if case .chunked = framing { isChunked = true }
        stream = .open
        defer { stream = .none }
        let isSound = await run(produce, isChunked)
        if isSound, isChunked { wire.output.append(ResponseWriter.lastChunk) }
        if !isSound { throw .gone }
        return 0
    }

    /// Whether the body came to its end; the producer and a watch on the client run side by side
    /// until either ends.
    private func run(_ produce: @escaping Response.Stream, _ isChunked: Bool) async -> Bool {
        await withTaskGroup(of: Bool?.self) { group in
            group.addTask(executorPreference: loop) { await self.produce(produce, isChunked) }
            group.addTask(executorPreference: loop) { await self.watchClient() }
            var isSound = false
            while let result = await group.next() {
                if let result {
                    isSound = result
                    if stream == .open { stream = .ended(.clientGone) }
                    socket.interrupt()
                } else {
                    group.cancelAll()
                }
            }
            return isSound
        }
    }

    private func produce(_ produce: Response.Stream, _ isChunked: Bool) async -> Bool? {
        let writer = BodyWriter { [self] bytes async throws(StreamEnded) in
            try await sendPiece(bytes, isChunked)
        }
        do {
            try await produce(writer)
            return stream != .ended(.clientGone)
        } catch {
            if error is StreamReset { socket.reset() }
            return stream == .ended(.draining)
        }
    }

    /// Returns when the client has closed, or the stream is at its end.
    private func watchClient() async -> Bool? {
        var left = server.limits.lingerBytes
        var scratch = server.pool.take()
        while stream == .open {
            do throws(IOError) {
                try await socket.readable(deadline: .distantFuture)
                // After such an answer the connection is closed, so what comes is not a request.
                guard let count = try socket.read(into: &scratch) else { continue }
                scratch.removeAll()
                left -= count
                if count == 0 || left < 0 { throw .closed }
            } catch {
                if error != .interrupted, stream == .open { stream = .ended(.clientGone) }
            }
        }
        server.pool.give(scratch)
        return nil
    }

    private func sendPiece(_ bytes: [UInt8], _ isChunked: Bool) async throws(StreamEnded) {
        if case .ended(let reason) = stream { throw reason }
        if bytes.isEmpty { return }
        precondition(pending.isEmpty, "one task writes a stream")
        if isChunked {
            ResponseWriter.writeChunk(bytes, to: &pending)
        } else {
            pending.append(bytes)
        }
        let start = MonotonicInstant.now
        var count = 0
        while !pending.isEmpty {
            do throws(Interruption) {
                count += try await writeSome(start, count) { socket throws(IOError) in
                    try socket.write(from: &pending)
                }
            } catch {
                pending.removeAll()
                stream = .ended(.clientGone)
                throw .clientGone
            }
        }
    }
}
