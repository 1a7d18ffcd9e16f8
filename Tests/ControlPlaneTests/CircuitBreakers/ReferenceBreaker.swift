import ControlPlane
import Postgres

/// What a breaker must answer, worked out anew each time from all that ever happened to it: slow and
/// plain, with nothing in common with `BreakerMachine`. Of the mode `consecutive`, one probe at a time.
struct ReferenceBreaker {
    fileprivate enum Entry {
        case failed(Int), succeeded
        case granted(UUID, until: Timestamp), settled(UUID)
        case opened(at: Timestamp, for: Duration, isNew: Bool), halfOpened, closed, overridden(String), freed
    }

    let policy: BreakerPolicy
    private var log: [Entry] = []
    private var latest = Timestamp.distantPast

    init(_ policy: BreakerPolicy) { self.policy = policy }

    var generation: Int64 { Int64(log.count { $0.isMove }) }

    /// What happened in the generation in force.
    private var current: ArraySlice<Entry> {
        log[(log.lastIndex(where: \.isMove).map { $0 + 1 } ?? 0)...]
    }

    private var state: Entry { log.last(where: \.isMove) ?? .closed }

    /// Openings since it was last closed by a probe or an operator.
    private var openings: Int {
        let start = log.lastIndex {
            switch $0 {
            case .closed, .freed, .overridden: true
            default: false
            }
        }
        return log[(start ?? 0)...].count {
            if case .opened(_, _, true) = $0 { true } else { false }
        }
    }

    mutating func apply(_ input: BreakerInput, at clock: Timestamp) -> BreakerAnswer {
        latest = max(latest, clock)
        let now = latest
        switch input {
        case .look: return .applied
        case .reset:
            log.append(.freed)
            return .applied
        case .enable:
            if case .overridden = state { log.append(.freed) }
            return .applied
        case .lay(let override, _):
            log.append(.overridden(override.rawValue))
            return .applied
        case .outcomes(let runs, let generation):
            guard generation == self.generation, isClosed else { return .stale }
            for run in runs where isClosed {
                log.append(run.isFailure ? .failed(run.count) : .succeeded)
                if failuresInRow >= policy.failureThreshold { open(at: now) }
            }
            return .applied
        case .probe(let token, _, let lease): return probe(token, until: now + lease, at: now)
        case .settle(let token, let generation, let outcome):
            guard generation == self.generation, case .halfOpened = state,
                live(at: now).contains(token)
            else { return .stale }
            log.append(.settled(token))
            switch outcome {
            case .succeeded: log.append(.closed)
            case .failed: open(at: now)
            case .rateLimited(let wait):
                let period = policy.openPeriod(opening: openings, random: 0)
                log.append(.opened(at: now, for: max(period, wait), isNew: false))
            case .ignored: break
            }
            return .applied
        }
    }

    private var isClosed: Bool {
        switch state {
        case .closed, .freed: true
        default: false
        }
    }

    private var failuresInRow: Int {
        var count = 0
        for entry in current.reversed() {
            if case .failed(let more) = entry { count += more } else { break }
        }
        return count
    }

    private mutating func open(at now: Timestamp) {
        let period = policy.openPeriod(opening: openings + 1, random: 0)
        log.append(.opened(at: now, for: period, isNew: true))
    }

    private func live(at now: Timestamp) -> [UUID] {
        current.compactMap { entry in
            if case .granted(let token, let until) = entry, until > now, !isSettled(token) {
                return token
            }
            return nil
        }
    }

    private func isSettled(_ token: UUID) -> Bool {
        current.contains { if case .settled(token) = $0 { true } else { false } }
    }

    private mutating func probe(
        _ token: UUID, until: Timestamp, at now: Timestamp
    ) -> BreakerAnswer {
        switch state {
        case .closed, .freed: return .admitted(generation: generation)
        case .overridden("DISABLED"): return .admitted(generation: generation)
        case .overridden: return .refused(retryAfter: policy.openCap)
        case .opened(let start, let period, _):
            if now < start + period {
                return .refused(retryAfter: max(start + period - now, .seconds(1)))
            }
            log.append(.halfOpened)
        default:
            if !live(at: now).isEmpty { return .refused(retryAfter: .seconds(1)) }
            let granted = current.count { if case .granted = $0 { true } else { false } }
            let settled = current.count { if case .settled = $0 { true } else { false } }
            if granted - settled >= policy.maxLostProbes {
                open(at: now)
                return .refused(retryAfter: policy.openPeriod(opening: openings, random: 0))
            }
        }
        log.append(.granted(token, until: until))
        return .probing(generation: generation)
    }
}

extension ReferenceBreaker.Entry {
    fileprivate var isMove: Bool {
        switch self {
        case .opened, .halfOpened, .closed, .overridden, .freed: true
        case .failed, .succeeded, .granted, .settled: false
        }
    }
}
