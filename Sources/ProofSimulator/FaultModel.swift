import HTTP

/// A way in which a provider goes wrong: what `docs/proof.md` has a table for.
struct FaultModel: Sendable {
    enum Arrivals: Hashable, Sendable {
        /// One request a second on average, at random; the k-th of 20 tenants has a share of 1/k.
        case steady
        /// So many at once, all of one tenant, each 5 minutes.
        case volleys(of: Int)
    }

    /// As in the tables, e.g. `F2-20`.
    let id: String
    let text: String
    /// Seconds in which requests come.
    var length: Double
    var arrivals = Arrivals.steady
    /// Creates a second that the provider lets a tenant make, saved up for a second; the rest is
    /// answered 429 with `Retry-After: 1`.
    var rateLimit: Double?
    /// The phases of a run, drawn from its seed.
    let phases: @Sendable (inout RandomSource) -> [Phase]

    init(
        _ id: String, _ text: String, length: Double, arrivals: Arrivals = .steady,
        rateLimit: Double? = nil, phases: @escaping @Sendable (inout RandomSource) -> [Phase]
    ) {
        self.id = id
        self.text = text
        self.length = length
        self.arrivals = arrivals
        self.rateLimit = rateLimit
        self.phases = phases
    }
}

extension FaultModel {
    /// Their shares are assumed where no source is named; the durations of F3 and F4 are those of
    /// E2B's reports on 13 January and 2 June 2026.
    static let all: [FaultModel] =
        [0.002, 0.01, 0.05].map(independent) + [5, 20, 120].map(bursts)
        + [outage, capacity] + [1, 5].map(storm) + [lostAnswers, slow, grey]

    private static let hour = 3600.0

    static func independent(_ share: Double) -> FaultModel {
        let percent = share < 0.01 ? "0.2" : "\(Int(share * 100))"
        return FaultModel(
            "F1-\(percent)", "independent errors, \(percent) % of calls", length: hour
        ) {
            _ in [Phase(end: hour, conditions: .failing(share))]
        }
    }

    static func bursts(_ mean: Int) -> FaultModel {
        FaultModel(
            "F2-\(mean)", "bursts: \(mean) s on average, 2 % of the time, 60 % of calls fail",
            length: 4 * hour
        ) { random in
            Weather.bursts(
                until: 4 * hour, meanBad: Double(mean), badShare: 0.02, good: 0.002, bad: 0.6,
                &random)
        }
    }

    /// Half an hour in order, 10 min degraded, 23 min without any success, 11 min of recovery.
    static let outage = FaultModel(
        "F3", "outage: 10 min at 30 %, 23 min total, 11 min from 20 % to 0", length: 90 * 60
    ) { _ in
        let phase = { (end: Double, failing: Double, isBad: Bool, last: Double?) in
            var conditions = Conditions.failing(failing)
            conditions.lost = failing > 0.01 ? 0.05 : 0
            return Phase(end: end * 60, conditions: conditions, isBad: isBad, failingAtEnd: last)
        }
        return [
            phase(30, 0.002, false, nil), phase(40, 0.3, false, nil), phase(63, 1, true, nil),
            phase(74, 0.2, false, 0), phase(90, 0.002, false, nil),
        ]
    }

    static let capacity = FaultModel(
        "F4", "no capacity: 136 min at 40 % 503 and 5 % 429, 92 min at 3 %", length: 4 * hour
    ) { _ in
        var short = Conditions.failing(0.4, .capacity)
        short.limited = 0.05
        short.lost = 0.05
        return [
            Phase(end: 6 * 60, conditions: .failing(0.002)),
            Phase(end: 142 * 60, conditions: short, isBad: true),
            Phase(end: 234 * 60, conditions: .failing(0.03, .capacity)),
            Phase(end: 240 * 60, conditions: .failing(0.002)),
        ]
    }

    static func storm(_ rate: Int) -> FaultModel {
        FaultModel(
            "F5-\(rate)", "60 creates at once against \(rate)/s", length: 2 * hour,
            arrivals: .volleys(of: 60), rateLimit: Double(rate)
        ) { _ in [] }
    }

    static let lostAnswers = FaultModel(
        "F7", "lost answers: 0.3 % of creates succeed unseen", length: 2 * hour
    ) { _ in
        var conditions = Conditions()
        conditions.lost = 0.003
        return [Phase(end: 2 * hour, conditions: conditions)]
    }

    static let slow = FaultModel(
        "F8", "slow: answers take ten times as long for 10 min", length: 30 * 60
    ) { _ in
        var slow = Conditions.failing(0.002)
        slow.slowness = 10
        return [
            Phase(end: 10 * 60, conditions: .failing(0.002)),
            Phase(end: 20 * 60, conditions: slow, isBad: true),
            Phase(end: 30 * 60, conditions: .failing(0.002)),
        ]
    }

    static let grey = FaultModel(
        "F9", "grey: every call of one tenant of 20 (14 % of the traffic) fails for 20 min",
        length: hour
    ) { _ in
        var grey = Conditions.failing(1, .internalError)
        grey.tenant = 1
        return [
            Phase(end: 20 * 60, conditions: .failing(0.002)),
            Phase(end: 40 * 60, conditions: grey, isBad: true),
            Phase(end: hour, conditions: .failing(0.002)),
        ]
    }
}
