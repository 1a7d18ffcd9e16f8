import ControlPlane
import Postgres

/// A bug that breakers of others had, put into ours.
struct BreakerMutant: Sendable, CustomStringConvertible {
    let description: String
    let applying: @Sendable (
        inout BreakerMachine, BreakerInput, Timestamp, BreakerPolicy, inout [BreakerMove]
    ) -> BreakerAnswer

    static var all: [BreakerMutant] {
        [
            mutant("a late result is taken for the probe's") { machine, input in
                if case .outcomes(let runs, let generation) = input,
                    generation != machine.generation, let lease = machine.leases.first
                {
                    return .settle(
                        token: lease.token, generation: machine.generation,
                        runs[0].isFailure ? .failed : .succeeded)
                }
                return input
            },
            mutant("a result counts whatever its generation") { machine, input in
                switch input {
                case .outcomes(let runs, _): .outcomes(runs, generation: machine.generation)
                case .settle(let token, _, let outcome):
                    .settle(token: token, generation: machine.generation, outcome)
                default: input
                }
            },
            mutant("a late success closes it while open") { machine, input in
                if case .outcomes(let runs, _) = input, machine.state == .open, !runs[0].isFailure {
                    return .reset
                }
                return input
            },
            mutant("a late failure opens it anew") { machine, input in
                if case .outcomes(let runs, _) = input, machine.state == .halfOpen,
                    let lease = machine.leases.first, runs[0].isFailure
                {
                    return .settle(
                        token: lease.token, generation: machine.generation, .failed)
                }
                return input
            },
            mutant("a late result frees a place that it did not have") { machine, input in
                if case .settle(let token, _, _) = input, machine.state == .halfOpen,
                    !machine.leases.contains(where: { $0.token == token }),
                    let lease = machine.leases.first
                {
                    return .settle(
                        token: lease.token, generation: machine.generation, .ignored)
                }
                return input
            },
            mutant("a probe that never reports keeps its place for good") { _, input in
                if case .probe(let token, let holder, _) = input {
                    return .probe(token: token, holder: holder, lease: .seconds(1_000_000))
                }
                return input
            },
            mutant("a probe that decides nothing keeps its place") { _, input in
                if case .settle(_, _, .ignored) = input { return .look }
                return input
            },
            mutant("a probe that decides nothing closes it") { _, input in
                if case .settle(let token, let generation, .ignored) = input {
                    return .settle(token: token, generation: generation, .succeeded)
                }
                return input
            },
            mutant("a probe that decides nothing opens it") { _, input in
                if case .settle(let token, let generation, .ignored) = input {
                    return .settle(token: token, generation: generation, .failed)
                }
                return input
            },
            mutant("a rate limit counts as a failed probe") { _, input in
                if case .settle(let token, let generation, .rateLimited) = input {
                    return .settle(token: token, generation: generation, .failed)
                }
                return input
            },
            mutant("a probe's end is settled twice") { machine, input in
                if case .settle(_, let generation, let outcome) = input,
                    let lease = machine.leases.first
                {
                    return .settle(token: lease.token, generation: generation, outcome)
                }
                return input
            },
            mutant("reading takes a place") { machine, input in
                if input == .look, machine.state != .closed {
                    return .probe(token: UUID.v7(), holder: "", lease: .seconds(6))
                }
                return input
            },
            BreakerMutant(description: "half open lets everybody through") {
                machine, input, now, policy, moves in
                if case .probe = input, machine.state == .halfOpen {
                    return .probing(generation: machine.generation)
                }
                return machine.apply(input, at: now, policy, random: 0, moves: &moves)
            },
            BreakerMutant(description: "a reset does not raise the generation") {
                machine, input, now, policy, moves in
                guard input == .reset else {
                    return machine.apply(input, at: now, policy, random: 0, moves: &moves)
                }
                machine = BreakerMachine()
                return .applied
            },
            BreakerMutant(description: "a restart forgets what is shared") {
                machine, input, now, policy, moves in
                if input == .look { machine = BreakerMachine() }
                return machine.apply(input, at: now, policy, random: 0, moves: &moves)
            },
            BreakerMutant(description: "a change is decided on what was read before another's") {
                machine, input, now, policy, moves in
                var stale = machine
                var lost: [BreakerMove] = []
                let answer = stale.apply(input, at: now, policy, random: 0, moves: &lost)
                // Its write is lost to the one after it.
                if case .probing = answer { return answer }
                return machine.apply(input, at: now, policy, random: 0, moves: &moves)
            },
            BreakerMutant(description: "a failure's time is its caller's, from before its turn") {
                machine, input, now, policy, moves in
                var time = now
                if case .outcomes = input { time = now - .seconds(3) }
                return machine.apply(input, at: time, policy, random: 0, moves: &moves)
            },
            BreakerMutant(description: "open times do not grow") {
                machine, input, now, policy, moves in
                var flat = policy
                flat.openGrowth = 1
                return machine.apply(input, at: now, flat, random: 0, moves: &moves)
            },
            mutant("successes do not break a run of failures") { machine, input in
                if case .outcomes(let runs, _) = input, machine.state == .closed,
                    !runs[0].isFailure
                {
                    return .look
                }
                return input
            },
        ]
    }

    private static func mutant(
        _ name: String, _ change: @escaping @Sendable (BreakerMachine, BreakerInput) -> BreakerInput
    ) -> BreakerMutant {
        BreakerMutant(description: name) { machine, input, now, policy, moves in
            let changed = change(machine, input)
            return machine.apply(changed, at: now, policy, random: 0, moves: &moves)
        }
    }
}
