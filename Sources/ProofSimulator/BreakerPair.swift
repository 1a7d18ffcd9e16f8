import ControlPlane
import IO
import Postgres

/// The breakers of all tenants and the one over them, asked and told as `Breakers` does, with this
/// machine's memory for the rows.
struct BreakerPair {
    private let settings: Breakers.Settings
    /// By the tenant's number; the last one is over all.
    private var machines: [BreakerMachine]
    private let keys: [BreakerKey]
    private var probes: UInt64 = 0

    init(_ settings: Breakers.Settings, tenants: [Tenant.ID]) {
        self.settings = settings
        keys = tenants.map { BreakerKey($0, provider: "e2b", region: "default", .create) }
        machines = [BreakerMachine](repeating: BreakerMachine(), count: tenants.count + 1)
    }

    private var parent: Int { machines.count - 1 }

    private func policy(_ index: Int) -> BreakerPolicy {
        index == parent ? settings.parentPolicy : settings.policy
    }

    /// Nil: refused.
    mutating func admit(_ tenant: Int, at now: Timestamp, random: () -> Double) -> BreakerTicket? {
        guard let own = enter(tenant, now, random) else { return nil }
        guard let over = enter(parent, now, random) else {
            if let token = own.probe {
                apply(
                    .settle(token: token, generation: own.generation, .ignored), tenant, now, random
                )
            }
            return nil
        }
        return BreakerTicket(key: keys[tenant], own: own, parent: over)
    }

    private mutating func enter(
        _ index: Int, _ now: Timestamp, _ random: () -> Double
    ) -> BreakerPass? {
        let policy = policy(index)
        let draw = policy.ramp > .zero ? random() : 0
        switch machines[index].admission(at: now, policy, random: draw) {
        case .admitted(let generation): return BreakerPass(generation: generation)
        case .refused: return nil
        case .due: break
        }
        probes += 1
        let token = UUID(high: 0, low: probes)
        let input = BreakerInput.probe(token: token, holder: "", lease: policy.probeLease)
        switch apply(input, index, now, random) {
        case .probing(let generation): return BreakerPass(generation: generation, probe: token)
        case .admitted(let generation): return BreakerPass(generation: generation)
        case .refused, .applied, .stale: return nil
        }
    }

    mutating func settle(
        _ ticket: BreakerTicket, _ tenant: Int, _ outcome: CallOutcome, took duration: Duration,
        at now: Timestamp, random: () -> Double
    ) {
        for (index, pass) in [(tenant, ticket.own), (parent, ticket.parent)] {
            if let token = pass.probe {
                let end = outcome.asProbe(counting: settings.countKinds)
                apply(.settle(token: token, generation: pass.generation, end), index, now, random)
            } else if let isFailure = outcome.isFailure(counting: settings.countKinds) {
                let policy = policy(index)
                let isSlow =
                    policy.mode != .consecutive && policy.slowCall.map { duration > $0 } ?? false
                let run = OutcomeRun(
                    isFailure: isFailure, isSlow: isSlow, tenant: ticket.key.tenant, endedAt: now)
                apply(.outcomes([run], generation: pass.generation), index, now, random)
            }
        }
    }

    @discardableResult
    private mutating func apply(
        _ input: BreakerInput, _ index: Int, _ now: Timestamp, _ random: () -> Double
    ) -> BreakerAnswer {
        let policy = policy(index)
        var moves: [BreakerMove] = []
        let draw = policy.openJitter > 0 ? random() : 0
        return machines[index].apply(input, at: now, policy, random: draw, moves: &moves)
    }
}
