import IO

/// What a load measured.
struct LoadTally: Sendable {
    var latencies = LatencyHistogram()
    var statuses: [Int: Int] = [:]
    /// Connections that were refused, lost or late, by what was said of them.
    var errors: [String: Int] = [:]
    var elapsed: Duration = .zero
    /// Seconds of CPU that the server used meanwhile, where they are known.
    var serverCPU: Double?

    var failures: Int { errors.values.reduce(0, +) }
}

/// Keeps a number of connections busy, all on one loop: each sends its next request when the one
/// before is answered (a closed loop), or holds `pipeline` of them out.
actor LoadGenerator: LoopBound {
    nonisolated let loop: EventLoop
    private let target: Target
    private let pipeline: Int
    private var plan: LoadPlan
    private var tally = LoadTally()
    private var isMeasuring = false
    private var isOver = false

    /// Longest wait for an answer; then the connection is given up.
    private static let patience: Duration = .seconds(30)
    /// Pause before a lost connection is made anew.
    private static let pause: Duration = .milliseconds(100)

    init(on loop: EventLoop, _ target: Target, _ plan: LoadPlan, pipeline: Int) {
        self.loop = loop
        self.target = target
        self.plan = plan
        self.pipeline = pipeline
    }

    /// Loads for `warmUp`, then measures for `duration`; answers that come in it count.
    ///
    /// - Parameters:
    ///   - descriptors: connected ones, which it takes over.
    ///   - serverCPU: seconds of CPU that the server has used so far.
    func run(
        _ descriptors: [Int32], warmUp: Duration, duration: Duration,
        serverCPU: @Sendable () async -> Double?
    ) async -> LoadTally {
        await withDiscardingTaskGroup { group in
            // Without a warm-up the first request is measured too.
            let first = warmUp > .zero ? nil : await serverCPU()
            isMeasuring = warmUp <= .zero
            for descriptor in descriptors {
                group.addTask(executorPreference: loop) { await self.drive(descriptor) }
            }
            if warmUp > .zero { try? await loop.sleep(for: warmUp) }
            let before = warmUp > .zero ? await serverCPU() : first
            isMeasuring = true
            let start = MonotonicInstant.now
            try? await loop.sleep(for: duration)
            isMeasuring = false
            tally.elapsed = start.duration(to: .now)
            if let before, let after = await serverCPU() { tally.serverCPU = after - before }
            isOver = true
        }
        return tally
    }

    private func drive(_ first: Int32) async {
        var next: Int32? = first
        while !isOver {
            do {
                let descriptor: Int32
                if let known = next {
                    descriptor = known
                } else {
                    descriptor = try await onThread { [target] in try target.connect() }
                }
                next = nil
                let socket = try Socket(adopting: descriptor, on: loop)
                defer { socket.close() }
                try await exchange(on: socket)
            } catch {
                if isOver { return }
                tally.errors["\(error)", default: 0] += 1
                try? await loop.sleep(for: Self.pause)
            }
        }
    }

    private func exchange(on socket: Socket) async throws {
        var reader = AnswerReader()
        var sent: [MonotonicInstant] = []  // of the requests without an answer, the oldest first
        while true {
            var out: [UInt8] = []
            let now = MonotonicInstant.now
            while !isOver, sent.count < pipeline {
                out += plan.requests[plan.sampler.next()]
                sent.append(now)
            }
            if sent.isEmpty { return }
            let deadline = now.advanced(by: Self.patience)
            try await write(out, to: socket, deadline: deadline)
            var answered = 0
            while answered == 0 {
                guard let count = try reader.fill(from: socket) else {
                    try await socket.readable(deadline: deadline)
                    continue
                }
                if count == 0 { throw IOError.closed }
                let arrived = MonotonicInstant.now
                while answered < sent.count, let status = try reader.next() {
                    take(status, sent[answered].duration(to: arrived))
                    answered += 1
                }
            }
            sent.removeFirst(answered)
        }
    }

    private func take(_ status: Int, _ latency: Duration) {
        guard isMeasuring else { return }
        tally.latencies.add(latency)
        tally.statuses[status, default: 0] += 1
    }

    private func write(
        _ bytes: [UInt8], to socket: Socket, deadline: MonotonicInstant
    ) async throws(IOError) {
        var start = 0
        while start < bytes.count {
            var outcome = Result<Int?, IOError>.success(nil)
            unsafe bytes.withUnsafeBytes { block in
                let rest = unsafe UnsafeRawBufferPointer(rebasing: block[start...])
                do throws(IOError) { outcome = .success(unsafe try socket.write(rest)) } catch {
                    outcome = .failure(error)
                }
            }
            if let count = try outcome.get() {
                start += count
            } else {
                try await socket.writable(deadline: deadline)
            }
        }
    }
}
