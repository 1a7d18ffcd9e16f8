import HTTP
import Simulator

/// How the provider is at a time.
struct Conditions: Hashable, Sendable {
    enum Errors: Hashable, Sendable {
        /// 30 % no answer until the caller's time-out, 50 % 500, 20 % 503.
        case mixed
        /// 503, no machine is free.
        case capacity
        /// 500.
        case internalError
    }

    /// Share of calls that fail.
    var failing = 0.0
    var errors = Errors.mixed
    /// Share of calls that are answered 429, without `Retry-After`.
    var limited = 0.0
    /// Share of creates that succeed and whose answer never comes.
    var lost = 0.0
    /// By how much answers take longer.
    var slowness = 1.0
    /// The number of the only tenant that is hit; nil: all are.
    var tenant: Int?

    init() {}

    static func failing(_ share: Double, _ errors: Errors = .mixed) -> Conditions {
        var conditions = Conditions()
        conditions.failing = share
        conditions.errors = errors
        return conditions
    }
}

/// A time of one kind; the next one begins where it ends.
struct Phase: Sendable {
    /// Seconds since the beginning.
    let end: Double
    let conditions: Conditions
    /// Whether it is a bad time: openings and closings of breakers are timed from its ends.
    var isBad = false
    /// Where the share of failing calls goes until the end, in a straight line; nil: nowhere.
    var failingAtEnd: Double?
}

/// The phases of one run. Asked in order of time, by seconds since the beginning.
struct Weather: Sendable {
    let phases: [Phase]
    private var index = 0

    init(_ phases: [Phase]) { self.phases = phases }

    mutating func at(_ seconds: Double) -> Conditions {
        while index + 1 < phases.count, phases[index].end <= seconds { index += 1 }
        guard index < phases.count else { return Conditions() }
        let phase = phases[index]
        // After the last one all is well.
        guard seconds < phase.end else { return Conditions() }
        var conditions = phase.conditions
        if let last = phase.failingAtEnd {
            let start = index == 0 ? 0 : phases[index - 1].end
            let passed = (seconds - start) / (phase.end - start)
            conditions.failing += (last - conditions.failing) * passed
        }
        return conditions
    }

    /// Starts and ends of the bad times, seconds.
    var badTimes: [(start: Double, end: Double)] {
        phases.indices.filter { phases[$0].isBad }.map { index in
            (index == 0 ? 0 : phases[index - 1].end, phases[index].end)
        }
    }

    /// Good and bad times in turn, both of exponential length (Gilbert 1960, Elliott 1963).
    static func bursts(
        until length: Double, meanBad: Double, badShare: Double, good: Double, bad: Double,
        _ random: inout RandomSource
    ) -> [Phase] {
        var phases: [Phase] = []
        var isBad = random.unit() < badShare
        var end = 0.0
        while end < length {
            let mean = isBad ? meanBad : meanBad * (1 - badShare) / badShare
            end += random.exponential(mean: mean)
            phases.append(
                Phase(
                    end: min(end, length), conditions: .failing(isBad ? bad : good), isBad: isBad))
            isBad.toggle()
        }
        return phases
    }
}
