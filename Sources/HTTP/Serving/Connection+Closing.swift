import IO

extension Connection {
    /// Says what there is to say to a client whose bytes could not be served; then the connection is
    /// closed.
    func close(_ wire: inout Wire, after interruption: Interruption) async -> ConnectionEnd {
        switch interruption {
        case .refused(let refusal):
            await refuse(refusal.problem, &wire)
            return .refused
        case .tooSlow:
            await refuse(Problem(refusal: .requestTimeout), &wire)
            return .requestTooSlow
        case .idle: return .idle
        case .readerTooSlow: return .readerTooSlow
        case .left: return .finished
        case .gone: return .clientGone
        case .drained: return .drained
        }
    }

    /// The last answer of a connection, RFC 9112 section 9.6: it must reach the client although more
    /// may be on its way from there, which would reset the connection if it were closed now.
    private func refuse(_ problem: Problem, _ wire: inout Wire) async {
        let id = unanswered?.id ?? server.makeID()
        let context = ResponseWriter.Context(
            id: id, isHTTP10: false, isHead: unanswered?.head.method == .head, keepsAlive: false)
        do throws(Interruption) {
            let response =
                unanswered.map { server.routes.answer($0, refusedBy: problem) }
                ?? Response(problem, requestID: id)
            let sent = try await write(response, context, &wire)
            server.observer?.finished(
                Exchange(
                    route: nil, operationID: nil, status: response.status,
                    duration: .zero, bytesIn: 0, bytesOut: sent))
            await linger(&wire)
        } catch {
            // The client left or does not read; it has lost nothing by it.
        }
    }

    /// Half-closes and throws away what still comes, for a while, until the client closes too.
    func linger(_ wire: inout Wire) async {
        socket.closeWrite()
        let deadline = MonotonicInstant.now.advanced(by: server.deadlines.linger)
        var left = server.limits.lingerBytes
        wire.input.removeAll()
        wire.borrowInput(from: server.pool)
        do throws(IOError) {
            while left > 0 {
                try await socket.readable(deadline: deadline)
                guard let count = try socket.read(into: &wire.input) else { continue }
                if count == 0 { return }
                left -= count
                wire.input.removeAll()
            }
        } catch {
            // The deadline, a reset, the end of the server: close.
        }
    }
}
