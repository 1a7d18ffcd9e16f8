import ControlPlane

#if DEBUG
    extension Settings {
        /// The variable that says by what the times are divided. In release builds nothing is left of it.
        static let testTimeScale = "BREAKWATER_TEST_TIME_SCALE"

        /// Makes all times of a sandbox's making and settling shorter by one factor: a test of real
        /// processes need not wait for minutes, and how the times stand to each other stays as it is
        /// shipped.
        mutating func shortenSandboxTimes(by factor: Int) {
            let times: [WritableKeyPath<Settings, Duration>] = [
                \.creations.firstLife, \.creations.call, \.creations.extendWait,
                \.creations.bindWait, \.creations.leaseMargin,
                \.reconciler.interval, \.reconciler.call, \.reconciler.young,
                \.reconciler.missSpacing, \.reconciler.settle, \.reconciler.orphanGrace,
                \.reconciler.endedGrace, \.sweepInterval,
                \.sandboxTasks.lease, \.sandboxTasks.call, \.sandboxTasks.backoff,
                \.sandboxTasks.settle,
                \.retry.minTry, \.retry.deadline, \.retry.gatewayDeadline,
            ]
            for time in times { self[keyPath: time] = self[keyPath: time] / factor }
            let waits: [WritableKeyPath<Settings, [Int]>] = [
                \.retry.transient, \.retry.unknown, \.retry.rateLimit, \.retry.capacity,
            ]
            for list in waits { self[keyPath: list] = self[keyPath: list].map { $0 / factor } }
        }
    }
#endif
