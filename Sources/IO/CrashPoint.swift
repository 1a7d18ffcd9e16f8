import Glibc
import Synchronization

/// Named steps at which a test has this process, or PostgreSQL, killed: a kill by a timer seldom
/// meets the moments that matter. In release builds nothing is left of it.
///
/// `BREAKWATER_TEST_CRASH=batch.sent:200` sends SIGKILL to this process when the step is reached for
/// the 200th time; `batch.sent:200:/path/postmaster.pid` to the process that the file names.
package enum CrashPoint: String, Sendable {
    /// A batch has been handed to PostgreSQL and is not answered.
    case batchSent = "batch.sent"
    /// PostgreSQL has committed a batch; none of its callers knows.
    case batchCommitted = "batch.committed"
    /// An answer has been handed to the kernel.
    case answerWritten = "answer.written"
    /// A job's lease has been taken and nothing of it done.
    case jobClaimed = "job.claimed"

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

        private static let plan: Plan? = {
            guard let text = unsafe getenv("BREAKWATER_TEST_CRASH") else { return nil }
            return Plan(unsafe String(cString: text))
        }()
        private static let reached = Atomic<Int>(0)
    #endif

    /// Tells that the step was reached.
    @inline(__always) package func reached() {
        #if DEBUG
            if let plan = Self.plan, plan.point == rawValue { Self.strike(plan) }
        #endif
    }

    /// Tells that the step will be reached when the loop's turn ends: what is sent in it is on its way
    /// then, and no answer has come.
    @inline(__always) package func reached(atEndOfTurnOf loop: EventLoop) {
        #if DEBUG
            if Self.plan?.point == rawValue { loop.atEndOfTurn { reached() } }
        #endif
    }

    #if DEBUG
        private static func strike(_ plan: Plan) {
            guard reached.add(1, ordering: .relaxed).newValue == plan.count else { return }
            guard let pidFile = plan.pidFile else {
                kill(getpid(), SIGKILL)
                return
            }
            var text = [CChar](repeating: 0, count: 32)
            let descriptor = unsafe open(pidFile, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return }
            defer { close(descriptor) }
            guard unsafe read(descriptor, &text, text.count - 1) > 0 else { return }
            let pid = unsafe atoi(text)
            if pid > 1 { kill(pid, SIGKILL) }
        }
    #endif
}
