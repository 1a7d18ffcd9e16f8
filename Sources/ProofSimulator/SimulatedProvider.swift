import ControlPlane
import HTTP
import IO
import Simulator

/// Decides what each call comes to. The n-th try of a request meets the same luck in every arm; only
/// the weather of the moment and a rate limit depend on when it is made.
struct SimulatedProvider {
    struct Answer: Sendable {
        /// When the caller hears of it.
        let after: Duration
        /// Nil: it has its sandbox.
        let error: ErrorFacts?
        /// A sandbox runs, whether the caller hears of it or not.
        let made: Bool
    }

    /// Median time of a create, seconds, and the spread of its logarithm: 99 % are under 1.6 s.
    static let median = 0.5
    static let spread = 0.5

    private let seed: UInt64
    /// Longest that a caller waits for an answer.
    private let timeout: Duration
    var weather: Weather
    private let rate: Double?
    private var bucket: (level: Double, filledAt: Double)

    init(_ model: FaultModel, seed: UInt64, timeout: Duration) {
        self.seed = seed
        self.timeout = timeout
        var random = RandomSource(seed: seed)
        weather = Weather(model.phases(&random))
        rate = model.rateLimit
        bucket = (max(rate ?? 1, 1), 0)
    }

    /// - Parameter seconds: not before that of an earlier call.
    mutating func call(
        request: Int, attempt: Int, tenant: Int, at seconds: Double
    ) -> Answer {
        var random = RandomSource(
            seed: seed &* 0x2545_F491_4F6C_DD1D ^ UInt64(request * 32 + attempt))
        let (fate, kind, loss) = (random.unit(), random.unit(), random.unit())
        let now = weather.at(seconds)
        let isHit = now.tenant ?? tenant == tenant
        let length = Self.median * random.logNormal(sigma: Self.spread) * now.slowness
        let after = Duration.milliseconds(Int64(length * 1000))
        if let rate, !admit(rate, at: seconds) {
            return Answer(
                after: .milliseconds(50), error: .limited(after: .seconds(1)), made: false)
        }
        if isHit, fate < now.failing { return failure(now.errors, kind, after) }
        if isHit, fate < now.failing + now.limited {
            return Answer(after: after, error: .limited(after: nil), made: false)
        }
        if after >= timeout || isHit && loss < now.lost {
            return Answer(after: timeout, error: .noAnswer, made: true)
        }
        return Answer(after: after, error: nil, made: true)
    }

    private func failure(_ errors: Conditions.Errors, _ kind: Double, _ after: Duration) -> Answer {
        switch errors {
        case .mixed where kind < 0.3 || after >= timeout:
            Answer(after: timeout, error: .noAnswer, made: false)
        case .mixed where kind < 0.8, .internalError:
            Answer(after: after, error: .status(500, "Internal server error"), made: false)
        case .mixed:
            Answer(after: after, error: .status(503, "Service unavailable"), made: false)
        case .capacity: Answer(after: after, error: .capacity, made: false)
        }
    }

    private mutating func admit(_ rate: Double, at seconds: Double) -> Bool {
        bucket.level = min(max(rate, 1), bucket.level + (seconds - bucket.filledAt) * rate)
        bucket.filledAt = seconds
        // What is filled in parts may lack the last bit of a whole.
        guard bucket.level >= 1 - 1e-9 else { return false }
        bucket.level -= 1
        return true
    }
}

extension ErrorFacts {
    static func status(_ status: Int, _ message: String) -> ErrorFacts {
        var facts = ErrorFacts()
        facts.status = status
        facts.message = message
        return facts
    }

    static var capacity: ErrorFacts {
        var facts = ErrorFacts.status(503, "No capacity available")
        facts.errorCode = "sandbox_capacity_unavailable"
        return facts
    }

    static func limited(after wait: Duration?) -> ErrorFacts {
        var facts = ErrorFacts.status(429, "Rate limit exceeded")
        facts.retryAfter = wait
        return facts
    }

    static var noAnswer: ErrorFacts {
        var facts = ErrorFacts()
        facts.exception = "ReadTimeout"
        facts.phase = .sent
        return facts
    }
}
