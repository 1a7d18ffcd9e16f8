import Glibc
import Synchronization

/// Named steps at which a test has this process, or PostgreSQL, killed: a kill by a timer seldom
/// meets the moments that matter. In release builds nothing is left of it.
///
/// `BREAKWATER_TEST_CRASH=batch.sent:200` sends SIGKILL to this process when the step is reached for
/// the 200th time; `batch.sent:200:/path/postmaster.pid` to the process that the file names.
/// `BREAKWATER_TEST_CRASH=@/path` waits for a file at that path to say so, `batch.sent:1` for the next time,
/// and takes it away: for tests that strike again and again.
package enum CrashPoint: String, Sendable {
    /// A batch has been handed to PostgreSQL and is not answered.
    case batchSent = "batch.sent"
    /// PostgreSQL has committed a batch; none of its callers knows.
    case batchCommitted = "batch.committed"
    /// An answer has been handed to the kernel.
    case answerWritten = "answer.written"
    /// A job's lease has been taken and nothing of it done.
    case jobClaimed = "job.claimed"
    /// The intent of a sandbox is committed; the provider has not heard of it.
    case sandboxPlanned = "sandbox.planned"
    /// The provider has made a sandbox; no row says so.
    case sandboxAnswered = "sandbox.answered"
    /// The sandbox is bound to its request; its life is the short first one.
    case sandboxBound = "sandbox.bound"
    /// It has the wanted life; its caller does not know of it.
    case sandboxExtended = "sandbox.extended"
    /// Alerts and what is to be told of them are committed; nothing is sent.
    case alertDecided = "alert.decided"
    /// A receiver has taken a notification; no row says so.
    case alertSent = "alert.sent"

    #if DEBUG
        private struct Plan {
            let point: String
            let count: Int
            let pidFile: String?

            init?(_ text: String) {
                let parts = text.split(separator: ":", maxSplits: 2).map { String($0) }
                guard parts.count >= 2, let count = Int(parts[1]) else { return nil }
                point = parts[0]
                self.count = count
                pidFile = parts.count > 2 ? parts[2] : nil
            }
        }

        private static let order: String? = unsafe getenv("BREAKWATER_TEST_CRASH").map {
            unsafe String(cString: $0)
        }
        private static let plan = order.flatMap { Plan($0) }
        /// Where a plan may come to lie.
        private static let planFile = order.flatMap {
            $0.hasPrefix("@") ? String($0.dropFirst()) : nil
        }
        private static let reached = Atomic<Int>(0)

        private var isPlanned: Bool { Self.planFile != nil || Self.plan?.point == rawValue }
    #endif

    /// Tells that the step was reached.
    @inline(__always) package func reached() {
        #if DEBUG
            if let plan = Self.plan, plan.point == rawValue { Self.strike(plan) }
            if let file = Self.planFile { takePlan(from: file) }
        #endif
    }

    /// Tells that the step will be reached when the loop's turn ends: what is sent in it is on its way
    /// then, and no answer has come.
    @inline(__always) package func reached(atEndOfTurnOf loop: EventLoop) {
        #if DEBUG
            if isPlanned { loop.atEndOfTurn { reached() } }
        #endif
    }

    #if DEBUG
        private func takePlan(from file: String) {
            guard let plan = Self.text(of: file).flatMap({ Plan($0) }), plan.point == rawValue,
                unsafe unlink(file) == 0
            else { return }
            Self.kill(plan)
        }

        private static func strike(_ plan: Plan) {
            guard reached.add(1, ordering: .relaxed).newValue == plan.count else { return }
            kill(plan)
        }

        private static func kill(_ plan: Plan) {
            guard let pidFile = plan.pidFile else {
                Glibc.kill(getpid(), SIGKILL)
                return
            }
            // Its first line.
            let pid = text(of: pidFile)?.split(separator: "\n").first.flatMap { Int32($0) }
            if let pid, pid > 1 { Glibc.kill(pid, SIGKILL) }
        }

        private static func text(of file: String) -> String? {
            var bytes = [UInt8](repeating: 0, count: 512)
            let descriptor = unsafe open(file, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return nil }
            defer { close(descriptor) }
            let count = unsafe read(descriptor, &bytes, bytes.count)
            return count > 0 ? String(decoding: bytes.prefix(count), as: UTF8.self) : nil
        }
    #endif
}
