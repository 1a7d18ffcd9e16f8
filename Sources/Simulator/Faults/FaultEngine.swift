import HTTP
import IO

/// Decides what goes wrong, from the script's faults, the seed, the time, and the calls so far.
///
/// Bursts are drawn along the time, not along the calls, so that two runs with the same seed meet the
/// same good and bad times however often they call; all else is drawn by the number of the call among
/// those that match the fault.
package struct FaultEngine: Sendable {
    /// What decides whether a fault matches a call.
    package struct Call: Sendable {
        package var operation: Operation
        package var region: String
        package var key: String?
        package var template: String?

        package init(
            _ operation: Operation, region: String, key: String? = nil, template: String? = nil
        ) {
            self.operation = operation
            self.region = region
            self.key = key
            self.template = template
        }
    }

    /// What happens to one call.
    package struct Injection: Sendable {
        /// Of the faults that hit, in the script's order.
        package var names: [String] = []
        /// What becomes of the answer: the first that says so.
        package var answer: Effect.Action?
        package var factor = 1.0
        package var plus: Duration = .zero
        package var zombie: ZombieMode?
        package var vanishAfter: Duration?
        package var hiddenFor: Duration?
    }

    fileprivate struct State: Sendable {
        let fault: Fault
        var draws: Draws
        var bursts: BurstTrace?
        var matched = 0
        var hit = 0
    }

    private var states: [State]

    package init(_ faults: [Fault], seed: UInt64) {
        states = faults.enumerated().map { index, fault in
            let stream = UInt64(index) &* 2 &+ 1
            var state = State(fault: fault, draws: Draws(seed: seed, stream: stream))
            if case .bursts(let bursts) = fault.intensity {
                state.bursts = BurstTrace(bursts, seed: seed, stream: stream &+ 1)
            }
            return state
        }
    }

    /// How often each fault has hit.
    package var hits: [(name: String, count: Int)] { states.map { ($0.fault.name, $0.hit) } }

    /// - Parameter now: since the script's start; not before that of an earlier call.
    package mutating func decide(_ call: Call, at now: Duration) -> Injection {
        var injection = Injection()
        for index in states.indices where states[index].fault.matches(call, at: now) {
            guard case (let action, var random)? = states[index].draw(at: now) else { continue }
            injection.names.append(states[index].fault.name)
            injection.apply(action, &random)
        }
        return injection
    }
}

extension FaultEngine.State {
    /// What hits the next matching call, with the rest of its random numbers; nil if nothing.
    fileprivate mutating func draw(at now: Duration) -> (Effect.Action, RandomSource)? {
        var random = draws.next()
        matched += 1
        let isHit = random.unit() < rate(at: now - fault.from)
        guard isHit, matched > fault.skip, hit < fault.limit ?? .max else { return nil }
        hit += 1
        var left = random.unit() * fault.effects.reduce(0) { $0 + $1.weight }
        for effect in fault.effects.dropLast() {
            left -= effect.weight
            if left < 0 { return (effect.action, random) }
        }
        return fault.effects.last.map { ($0.action, random) }
    }

    private mutating func rate(at now: Duration) -> Double {
        switch fault.intensity {
        case .rate(let rate): return rate
        case .phases(let phases):
            var start = Duration.zero
            for phase in phases {
                let place = (now - start) / phase.length
                if place < 1 { return phase.rate + (phase.toRate - phase.rate) * place }
                start += phase.length
            }
            return 0
        case .bursts(let settings):
            let isBad = bursts?.isBad(at: now) ?? false
            return isBad ? settings.badRate : settings.goodRate
        }
    }
}

extension FaultEngine.Injection {
    fileprivate mutating func apply(_ action: Effect.Action, _ random: inout RandomSource) {
        switch action {
        case .slow(let factor, let plus):
            self.factor *= factor
            self.plus += plus
        case .zombie(let mode): zombie = zombie ?? mode
        case .vanish(let within):
            vanishAfter = min(vanishAfter ?? within, .seconds(within.seconds * random.unit()))
        case .lateInList(let delay): hiddenFor = max(hiddenFor ?? .zero, delay)
        default: answer = answer ?? action
        }
    }
}

extension Fault {
    fileprivate func matches(_ call: FaultEngine.Call, at now: Duration) -> Bool {
        guard operations.contains(call.operation), now >= from else { return false }
        if let length, now >= from + length { return false }
        return Self.matches(regions, call.region) && Self.matches(keys, call.key)
            && Self.matches(templates, call.template)
    }

    private static func matches(_ wanted: [String]?, _ value: String?) -> Bool {
        guard let wanted else { return true }
        guard let value else { return false }
        return wanted.contains(value)
    }
}
