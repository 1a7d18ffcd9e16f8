import ControlPlane
import Postgres
import TestSupport
import Testing

/// A generator whose sequence a seed fixes (SplitMix64, Steele, Lea and Flood 2014).
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var bits = state
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return bits ^ (bits >> 31)
    }
}

/// How a breaker applies what happens: as it is, or with a bug put in.
typealias Applying = (
    inout BreakerMachine, BreakerInput, Timestamp, BreakerPolicy, inout [BreakerMove]
) -> BreakerAnswer

private func soundly(
    _ machine: inout BreakerMachine, _ input: BreakerInput, _ now: Timestamp,
    _ policy: BreakerPolicy, _ moves: inout [BreakerMove]
) -> BreakerAnswer {
    machine.apply(input, at: now, policy, random: 0, moves: &moves)
}

/// Three instances with memories of their own before one row. Reports are delayed, lost and doubled, and
/// the clock goes back a little; each answer is held against the reference.
private struct Schedule {
    private struct Call {
        let generation: Int64
        let probe: UUID?
    }

    private var random: SeededRandom
    private let applying: Applying
    private let policy: BreakerPolicy
    private var row = BreakerMachine()
    private var reference: ReferenceBreaker
    private var known = [BreakerMachine](repeating: BreakerMachine(), count: 3)
    private var calls: [Call] = []
    private var reports: [BreakerInput] = []
    private var moves: [BreakerMove] = []
    private var now = Timestamp("2026-03-01T12:00:00Z") ?? .now
    private var latest = Timestamp.distantPast
    private let tenant = Tenant.ID(UUID.v7())

    init(seed: UInt64, _ applying: @escaping Applying) {
        random = SeededRandom(seed: seed)
        self.applying = applying
        var policy = BreakerPolicy()
        policy.openBase = .seconds(10)
        policy.openGrowth = [1, 2][Int(seed % 2)]
        policy.openCap = .seconds(60)
        self.policy = policy
        reference = ReferenceBreaker(policy)
    }

    /// Runs `steps` of them; what went wrong first, nil if nothing did.
    mutating func run(_ steps: Int) -> String? {
        for step in 0..<steps {
            if let fault = self.step() { return "step \(step): \(fault)" }
        }
        return nil
    }

    private mutating func step() -> String? {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<25: return ask()
        case 25..<55: end()
        case 55..<75:
            guard !reports.isEmpty else { return nil }
            let report = reports.remove(at: Int.random(in: reports.indices, using: &random))
            return apply(report)
        case 75..<85: now = now + .milliseconds(Int.random(in: 1...8_000, using: &random))
        case 85..<87:
            let back = now - .milliseconds(Int.random(in: 1...4_000, using: &random))
            now = latest == .distantPast ? back : max(back, latest - .milliseconds(4_900))
        case 87..<96: known[Int.random(in: 0..<3, using: &random)] = row
        case 96: return apply(.look)
        case 97: return apply(.reset)
        case 98: return apply(.lay([.forcedOpen, .disabled].randomElement(using: &random) ?? .disabled, until: nil))
        default: return apply(.enable)
        }
        return nil
    }

    /// One instance asks as far as it knows; where a probe seems due, the row.
    private mutating func ask() -> String? {
        let instance = Int.random(in: 0..<3, using: &random)
        let seen = max(now, latest)
        switch known[instance].admission(at: seen, policy, random: 0) {
        case .admitted(let generation): calls.append(Call(generation: generation, probe: nil))
        case .refused(let wait):
            if wait < .seconds(1) { return "told to wait for \(wait)" }
        case .due:
            let token = UUID.v7()
            let fault = apply(
                .probe(token: token, holder: "\(instance)", lease: .seconds(6)), token: token)
            known[instance] = row
            return fault
        }
        return nil
    }

    /// A call ends, and its report goes out: none, once or twice.
    private mutating func end() {
        guard !calls.isEmpty else { return }
        let call = calls.remove(at: Int.random(in: calls.indices, using: &random))
        let copies = [0, 1, 1, 1, 1, 1, 1, 2][Int.random(in: 0..<8, using: &random)]
        let report: BreakerInput
        if let token = call.probe {
            let outcome: BreakerInput.ProbeOutcome =
                [.succeeded, .failed, .ignored, .rateLimited(retryAfter: .seconds(15))]
                .randomElement(using: &random) ?? .ignored
            report = .settle(token: token, generation: call.generation, outcome)
        } else {
            let isFailure = Int.random(in: 0..<4, using: &random) > 0
            report = .outcomes(
                [OutcomeRun(isFailure: isFailure, tenant: tenant, endedAt: max(now, latest))],
                generation: call.generation)
        }
        for _ in 0..<copies { reports.append(report) }
    }

    private mutating func apply(_ input: BreakerInput, token: UUID? = nil) -> String? {
        // What waited to be told ended before now; the reference counts in order of arrival.
        var input = input
        if case .outcomes(var runs, let generation) = input {
            for index in runs.indices { runs[index].endedAt = max(now, latest) }
            input = .outcomes(runs, generation: generation)
        }
        let before = moves.count
        let answer = applying(&row, input, now, policy, &moves)
        let expected = reference.apply(input, at: now)
        latest = max(latest, now)
        if answer != expected { return "\(input) was answered \(answer), not \(expected)" }
        if row.generation != reference.generation {
            return "generation \(row.generation), not \(reference.generation), after \(input)"
        }
        for (earlier, later) in zip(moves.dropFirst(max(before - 1, 0)), moves.dropFirst(max(before, 1)))
        where later.generation != earlier.generation + 1 || later.from != earlier.to
            || later.at < earlier.at
        { return "after \(earlier) came \(later)" }
        if case .probing(let generation) = answer, let token {
            calls.append(Call(generation: generation, probe: token))
        } else if case .admitted(let generation) = answer {
            calls.append(Call(generation: generation, probe: nil))
        }
        return nil
    }
}

@Suite struct `A breaker under random schedules` {
    @Test(.proves("C1", "C3"))
    func `answers as the reference does, thousands of times`() {
        for seed in 0..<3_000 as Range<UInt64> {
            var schedule = Schedule(seed: seed, soundly)
            if let fault = schedule.run(200) {
                Issue.record("seed \(seed), \(fault)")
                return
            }
        }
    }

    @Test(.proves("C1"), arguments: BreakerMutant.all)
    func `shows each bug of others when it is put in`(_ mutant: BreakerMutant) {
        for seed in 0..<500 as Range<UInt64> {
            var schedule = Schedule(seed: seed, mutant.applying)
            if schedule.run(200) != nil { return }
        }
        Issue.record("500 schedules did not show it")
    }
}
