package import IO
package import Outbound

/// Looks whether sandboxes work, by running a command in each.
package actor HealthChecker: LoopBound {
    package struct Settings: Hashable, Sendable {
        /// One check, with its second try.
        package var limit: Duration = .seconds(5)
        /// Pause before the second try where the first failed at once.
        package var pause: Duration = .milliseconds(200)
        /// Sandboxes of one creation that are killed for not working, before it fails.
        package var maxReplacements = 2
        /// Checks in hand on a loop; past it they are left out.
        package var maxInFlight = 256

        package init() {}
    }

    package struct Counters: Hashable, Sendable {
        package var verdicts: [HealthCheck.Verdict: Int] = [:]
        /// Not made, since there were too many.
        package var skipped = 0

        package init() {}
    }

    package nonisolated let loop: EventLoop
    package nonisolated let settings: Settings
    private let dataPlane: DataPlane
    private var inFlight = 0
    package private(set) var counters = Counters()

    package init(on loop: EventLoop, _ http: HTTPClient, settings: Settings = Settings()) {
        self.loop = loop
        self.settings = settings
        dataPlane = DataPlane(http: http)
    }

    /// Runs the command, and once more if the first try fails or half the time is up: a sandbox is dead
    /// only if both fail, so that neither a lost packet nor a slow answer accuses one. What a shorter time
    /// than `settings.limit` cuts off proves nothing.
    ///
    /// - Parameter isPlain: no command is run, envd is asked for its health: a read, which finds less.
    package func check(
        _ place: DataPlaneAddress, within time: Duration? = nil, isPlain: Bool = false
    ) async -> HealthCheck {
        let limit = min(time ?? settings.limit, settings.limit)
        guard inFlight < settings.maxInFlight else {
            counters.skipped += 1
            return noted(
                HealthCheck(.unknown, "too many checks are in hand here", tries: 0, took: .zero))
        }
        inFlight += 1
        defer { inFlight -= 1 }
        let start = MonotonicInstant.now
        let (finding, tries) = await findings(place, isPlain, until: start.advanced(by: limit))
        let took = start.duration(to: .now)
        switch finding {
        case .healthy: return noted(HealthCheck(.healthy, nil, tries: tries, took: took))
        case .nothing(let reason):
            return noted(HealthCheck(.unknown, reason, tries: tries, took: took))
        case .dead(let reason):
            let wasCut = limit < settings.limit && took >= limit
            return noted(
                HealthCheck(wasCut ? .unknown : .zombie, reason, tries: tries, took: took))
        }
    }

    private func noted(_ check: HealthCheck) -> HealthCheck {
        counters.verdicts[check.verdict, default: 0] += 1
        return check
    }

    private enum Step {
        case found(HealthFinding)
        case halfTime
    }

    private func findings(
        _ place: DataPlaneAddress, _ isPlain: Bool, until end: MonotonicInstant
    ) async -> (HealthFinding, tries: Int) {
        await withTaskGroup(of: Step.self) { group in
            let half = MonotonicInstant.now.duration(to: end) / 2
            group.addTask(executorPreference: loop) {
                await self.one(place, isPlain, until: end)
            }
            group.addTask(executorPreference: loop) { [loop] in
                try? await loop.sleep(for: half)
                return .halfTime
            }
            var (tries, inHand) = (1, 1)
            var worst: HealthFinding?
            for await step in group {
                var wait = Duration.zero
                if case .found(let finding) = step {
                    inHand -= 1
                    if finding == .healthy {
                        group.cancelAll()
                        return (.healthy, tries)
                    }
                    worst = Self.weaker(worst, finding)
                    wait = settings.pause
                }
                if tries == 1 {
                    (tries, inHand) = (2, inHand + 1)
                    group.addTask(executorPreference: loop) { [loop, wait] in
                        try? await loop.sleep(for: wait)
                        return await self.one(place, isPlain, isSecond: true, until: end)
                    }
                } else if inHand == 0 {
                    group.cancelAll()
                    break
                }
            }
            return (worst ?? .nothing("not looked at"), tries)
        }
    }

    /// Of two failed tries the one that accuses less.
    private static func weaker(_ one: HealthFinding?, _ other: HealthFinding) -> HealthFinding {
        if case .nothing? = one { return one ?? other }
        return other
    }

    /// - Parameter isSecond: what failed first may have been a kept connection.
    private func one(
        _ place: DataPlaneAddress, _ isPlain: Bool, isSecond: Bool = false,
        until end: MonotonicInstant
    ) async -> Step {
        let left = MonotonicInstant.now.duration(to: end)
        guard left > .zero, !Task.isCancelled else { return .found(.dead("no answer in time")) }
        do throws(DataPlane.Fault) {
            if isPlain {
                try await dataPlane.look(at: place, within: left)
                return .found(.healthy)
            }
            return .found(
                HealthFinding(
                    .success(
                        try await dataPlane.run(
                            HealthFinding.line, at: place, within: left, isFresh: isSecond))))
        } catch {
            return .found(HealthFinding(.failure(error)))
        }
    }
}
