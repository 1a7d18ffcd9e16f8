package import Postgres

extension BreakerMachine {
    /// A clock that goes back by no more is taken for disorder between readers: time stands still.
    /// After a larger step all that is stored is moved along, so that what remains stays as it was.
    package static let disorder: Duration = .seconds(5)
    /// What callers are told to wait while the place of a probe is taken.
    static let probeWait: Duration = .seconds(1)

    /// Applies one thing that happened.
    ///
    /// - Parameters:
    ///   - clock: the database's clock, read no earlier than this row.
    ///   - random: 0 to 1, for the jitter of an open time.
    ///   - moves: gets the moves that followed.
    package mutating func apply(
        _ input: BreakerInput, at clock: Timestamp, _ policy: BreakerPolicy, random: Double,
        moves: inout [BreakerMove]
    ) -> BreakerAnswer {
        let now = advance(to: clock)
        if let until = overrideUntil, until <= now {
            move(.overrideEnded, at: now, &moves) { $0.clear() }
        }
        switch input {
        case .look: return .applied
        case .outcomes(let runs, let generation):
            guard generation == self.generation, state == .closed, override != .disabled,
                override != .forcedOpen
            else { return .stale }
            for run in runs where state == .closed { count(run, at: now, policy, random, &moves) }
            return .applied
        case .probe(let token, let holder, let lease):
            let wanted = Lease(token: token, holder: holder, expiresAt: now + lease)
            return takeProbe(wanted, at: now, policy, random, &moves)
        case .settle(let token, let generation, let outcome):
            return settle(token, generation, outcome, at: now, policy, random, &moves)
        case .reset:
            move(.reset, at: now, &moves) { $0.clear() }
        case .lay(let override, let until):
            move(override.cause, at: now, &moves) {
                $0.clear()
                $0.override = override
                $0.overrideUntil = until
            }
        case .enable:
            guard override != nil else { return .applied }
            move(.enabled, at: now, &moves) { $0.clear() }
        }
        return .applied
    }

    /// Time never goes back, except after a step of the clock.
    private mutating func advance(to clock: Timestamp) -> Timestamp {
        if seenAt > clock, seenAt - clock > Self.disorder { shift(by: clock - seenAt) }
        seenAt = max(seenAt, clock)
        return seenAt
    }

    /// Whether this row was written by a clock that is far ahead of `clock`.
    func isAhead(of clock: Timestamp) -> Bool { seenAt > clock && seenAt - clock > Self.disorder }

    private mutating func shift(by step: Duration) {
        seenAt = seenAt + step
        overrideUntil = overrideUntil.map { $0 + step }
        openedAt = openedAt.map { $0 + step }
        openUntil = openUntil.map { $0 + step }
        unclosedSince = unclosedSince.map { $0 + step }
        closedAt = closedAt.map { $0 + step }
        runStartedAt = runStartedAt.map { $0 + step }
        leases = leases.map {
            Lease(token: $0.token, holder: $0.holder, expiresAt: $0.expiresAt + step)
        }
        window = BreakerWindow()
    }

    /// Changes state or override, and tells.
    private mutating func move(
        _ cause: BreakerMove.Cause, at now: Timestamp, _ moves: inout [BreakerMove],
        _ change: (inout Self) -> Void
    ) {
        let (from, failures) = (label, failureCount)
        generation += 1
        change(&self)
        moves.append(
            BreakerMove(
                generation: generation, from: from, to: label, cause: cause, at: now,
                failureCount: failures, openUntil: openUntil))
    }

    /// Failures in a row, or in the window.
    package var failureCount: Int {
        max(run, window.entries.reduce(0) { $0 + $1.failed })
    }

    /// As a breaker that never failed; its generation goes on.
    private mutating func clear() {
        let (generation, seenAt) = (generation, seenAt)
        self = BreakerMachine()
        self.generation = generation
        self.seenAt = seenAt
    }
}

extension BreakerMachine.Override {
    fileprivate var cause: BreakerMove.Cause {
        switch self {
        case .forcedOpen: .forced
        case .disabled: .disabled
        case .metricsOnly: .metricsOnly
        }
    }
}

// MARK: Closed

extension BreakerMachine {
    private mutating func count(
        _ outcomes: OutcomeRun, at now: Timestamp, _ policy: BreakerPolicy, _ random: Double,
        _ moves: inout [BreakerMove]
    ) {
        if outcomes.isFailure || outcomes.isSlow, failing.count < policy.distinctTenants,
            !failing.contains(outcomes.tenant)
        {
            failing.append(outcomes.tenant)
        }
        let cause: BreakerMove.Cause?
        switch policy.mode {
        case .consecutive:
            countRun(outcomes, at: now)
            cause = run >= policy.failureThreshold ? .failures : nil
        case .countWindow, .timeWindow:
            window.add(outcomes, at: now, policy)
            cause = window.isTripped(policy) ? outcomes.isFailure ? .failureRate : .slowRate : nil
        }
        // A success never opens, whatever the window holds.
        guard outcomes.isFailure || outcomes.isSlow else { return }
        if isRamping(at: now, policy), outcomes.isFailure {
            failuresInRamp += outcomes.count
            if failuresInRamp >= policy.rampFailures {
                return open(.failuresInRamp, at: now, policy, random, &moves)
            }
        }
        guard let cause, failing.count >= policy.distinctTenants else { return }
        open(cause, at: now, policy, random, &moves)
    }

    private mutating func countRun(_ outcomes: OutcomeRun, at now: Timestamp) {
        if outcomes.isFailure {
            run += outcomes.count
            runStartedAt = runStartedAt ?? min(outcomes.endedAt, now)
        } else if let start = runStartedAt, outcomes.endedAt >= start {
            run = 0
            runStartedAt = nil
            failing = []
        }
    }

    func isRamping(at now: Timestamp, _ policy: BreakerPolicy) -> Bool {
        guard policy.ramp > .zero, let closedAt else { return false }
        return now - closedAt < policy.ramp
    }

    private mutating func open(
        _ cause: BreakerMove.Cause, at now: Timestamp, _ policy: BreakerPolicy, _ random: Double,
        _ moves: inout [BreakerMove], atLeast wait: Duration = .zero, isNew: Bool = true
    ) {
        let opening = openings + (isNew ? 1 : 0)
        let period = max(policy.openPeriod(opening: opening, random: random), wait)
        let failures = failureCount
        move(cause, at: now, &moves) {
            $0.state = .open
            $0.openings = opening
            $0.openedAt = now
            $0.openUntil = now + period
            $0.unclosedSince = $0.unclosedSince ?? now
            // Shown while it is open, counted on no more.
            $0.run = failures
            $0.runStartedAt = nil
            $0.failing = []
            $0.window = BreakerWindow()
            $0.endRound()
        }
    }

    private mutating func endRound() {
        leases = []
        (succeededProbes, failedProbes, lostProbes) = (0, 0, 0)
    }
}

// MARK: Open and half open

extension BreakerMachine {
    private mutating func takeProbe(
        _ lease: Lease, at now: Timestamp, _ policy: BreakerPolicy, _ random: Double,
        _ moves: inout [BreakerMove]
    ) -> BreakerAnswer {
        switch admission(at: now, policy, random: 0) {
        case .admitted(let generation): return .admitted(generation: generation)
        case .refused(let wait): return .refused(retryAfter: wait)
        case .due: break
        }
        if state == .open {
            move(.probeDue, at: now, &moves) {
                $0.state = .halfOpen
                $0.endRound()
            }
        } else {
            let live = leases.filter { $0.expiresAt > now }
            lostProbes += leases.count - live.count
            leases = live
            if lostProbes >= policy.maxLostProbes {
                open(.probesLost, at: now, policy, random, &moves)
                return .refused(retryAfter: remaining(at: now))
            }
        }
        leases.append(lease)
        return .probing(generation: generation)
    }

    private mutating func settle(
        _ token: UUID, _ generation: Int64, _ outcome: BreakerInput.ProbeOutcome,
        at now: Timestamp, _ policy: BreakerPolicy, _ random: Double, _ moves: inout [BreakerMove]
    ) -> BreakerAnswer {
        guard generation == self.generation, state == .halfOpen,
            let index = leases.firstIndex(where: { $0.token == token && $0.expiresAt > now })
        else { return .stale }
        leases.remove(at: index)
        switch outcome {
        case .ignored: break
        case .succeeded:
            succeededProbes += 1
            if succeededProbes >= policy.probeSuccesses { close(at: now, &moves) }
        case .failed:
            failedProbes += 1
            if failedProbes > policy.probes - policy.probeSuccesses {
                open(.probeFailed, at: now, policy, random, &moves)
            }
        case .rateLimited(let wait):
            open(
                .probeRateLimited, at: now, policy, random, &moves, atLeast: wait, isNew: false)
        }
        return .applied
    }

    private mutating func close(at now: Timestamp, _ moves: inout [BreakerMove]) {
        move(.probeSucceeded, at: now, &moves) {
            $0.state = .closed
            $0.run = 0
            $0.openings = 0
            $0.openedAt = nil
            $0.openUntil = nil
            $0.unclosedSince = nil
            $0.closedAt = now
            $0.failuresInRamp = 0
            $0.endRound()
        }
    }
}

// MARK: Admission

extension BreakerMachine {
    /// What a caller may do at a time. Reading changes nothing.
    package enum Admission: Hashable, Sendable {
        case admitted(generation: Int64)
        /// A probe may be due: apply `.probe` to take its place.
        case due
        case refused(retryAfter: Duration)
    }

    /// - Parameter random: 0 to 1; below the ramp's share a call is let through.
    package func admission(
        at now: Timestamp, _ policy: BreakerPolicy, random: Double
    ) -> Admission {
        // An override that has ended is a move, which whoever finds it makes.
        if let until = overrideUntil, until <= now { return .due }
        switch override {
        case .forcedOpen:
            let wait = overrideUntil.map { $0 - now } ?? policy.openCap
            return .refused(retryAfter: max(wait, .seconds(1)))
        case .disabled: return .admitted(generation: generation)
        case .metricsOnly:
            let answer = automaticAdmission(at: now, policy, random: 0)
            return answer == .due ? .due : .admitted(generation: generation)
        case nil: return automaticAdmission(at: now, policy, random: random)
        }
    }

    private func automaticAdmission(
        at now: Timestamp, _ policy: BreakerPolicy, random: Double
    ) -> Admission {
        switch state {
        case .closed:
            if let closedAt, random >= policy.rampShare(after: now - closedAt) {
                return .refused(retryAfter: .seconds(1))
            }
            return .admitted(generation: generation)
        case .open:
            let wait = remaining(at: now)
            return wait > .zero ? .refused(retryAfter: max(wait, .seconds(1))) : .due
        case .halfOpen:
            let out = leases.count { $0.expiresAt > now }
            let hasPlace = out + succeededProbes + failedProbes < policy.probes
            return hasPlace ? .due : .refused(retryAfter: Self.probeWait)
        }
    }

    private func remaining(at now: Timestamp) -> Duration {
        max((openUntil ?? now) - now, .zero)
    }
}
