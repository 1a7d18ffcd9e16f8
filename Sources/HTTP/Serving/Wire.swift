/// The bytes of one connection that are in flight. Parked while it is idle: then it holds no memory.
struct Wire: ~Copyable {
    /// Read and not yet understood.
    var input = ByteBuffer()
    /// Answers not yet sent.
    var output = ByteBuffer()

    mutating func park(in pool: BufferPool) {
        if input.isEmpty, input.capacity > 0 {
            var block = ByteBuffer()
            swap(&block, &input)
            pool.give(block)
        }
        if output.isEmpty, output.capacity > 0 {
            var block = ByteBuffer()
            swap(&block, &output)
            pool.give(block)
        }
    }

    /// At the connection's end.
    mutating func discard(in pool: BufferPool) {
        input.removeAll()
        output.removeAll()
        park(in: pool)
    }

    mutating func borrowInput(from pool: BufferPool) {
        if input.capacity == 0 { input = pool.take() }
        // A read into less would cost a call to the kernel for little.
        input.reserve(2048)
    }

    mutating func borrowOutput(from pool: BufferPool) {
        if output.capacity == 0 { output = pool.take() }
    }
}

/// Why the rest of a connection's bytes does not matter.
enum Interruption: Error {
    /// Apart, so that the rare case does not make room for itself wherever an error may pass.
    indirect case refused(Refusal)
    /// The deadline of a head or body passed.
    case tooSlow
    /// Nothing came for too long.
    case idle
    /// The client does not read its answers.
    case readerTooSlow
    /// The client closed between requests.
    case left
    /// The connection is closed, by the client, by an error, or on our side.
    case gone
    /// The server drains and no request is in hand.
    case drained
}
