import IO

/// Refuses what comes faster than `rate` a second once `burst` is spent, as the provider's limiter.
struct TokenBucket: Sendable {
    let rate: Double
    let burst: Double
    private var level: Double
    private var filledAt: Duration

    init(rate: Double, burst: Double, at now: Duration) {
        self.rate = rate
        self.burst = burst
        level = burst
        filledAt = now
    }

    /// Takes one token: nil, or else the whole seconds until there is one, at least 1.
    mutating func take(at now: Duration) -> Int? {
        level = min(burst, level + rate * (now - filledAt).seconds)
        filledAt = now
        guard level < 1 else {
            level -= 1
            return nil
        }
        return Int(((1 - level) / rate).rounded(.up))
    }
}
