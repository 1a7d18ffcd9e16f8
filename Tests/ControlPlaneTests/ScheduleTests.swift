import ControlPlane
import Postgres
import ServiceSupport
import Synchronization
import TestSupport
import Testing

/// A job that does what the test says.
private struct Probe: Job {
    let name = "probe"
    let interval: Duration
    let work: @Sendable () async throws(ControlPlaneError) -> Void

    init(
        interval: Duration = .seconds(3600),
        _ work: @escaping @Sendable () async throws(ControlPlaneError) -> Void = {}
    ) {
        self.interval = interval
        self.work = work
    }

    func run(_ pipeline: Pipeline) async throws(ControlPlaneError) -> String {
        try await work()
        return #"{"done": true}"#
    }
}

@Suite struct `The scheduler` {
    private static func register(_ plane: Plane) async throws {
        _ = try await plane.reads.execute(
            Statement("probe_register", "INSERT INTO job (name) VALUES ('probe')"))
    }

    private static func scheduler(
        _ plane: Plane, _ job: Probe, _ name: String, lease: Duration = .seconds(30),
        hintSpacing: Duration = .milliseconds(500)
    ) -> Scheduler {
        var settings = Scheduler.Settings()
        settings.lease = lease
        settings.hintSpacing = hintSpacing
        return Scheduler(
            on: plane.loop, [job], pipeline: plane.reads, instance: name, settings: settings,
            tell: { _ in })
    }

    @Test(.proves("H6"))
    func `runs a due job on one of two instances and notes how it went`() async throws {
        try await Plane.with { plane in
            try await Self.register(plane)
            let count = Mutex(0)
            let job = Probe { count.withLock { $0 += 1 } }
            let (one, two) = (Self.scheduler(plane, job, "one"), Self.scheduler(plane, job, "two"))
            async let first = one.runIfDue(job)
            async let second = two.runIfDue(job)
            let ran = await [first, second]
            #expect(ran.filter { $0 }.count == 1)
            #expect(count.withLock { $0 } == 1)
            let state = try #require(try await plane.directory.jobs().first)
            #expect(state.outcome == "succeeded" && state.holder == nil)
            #expect(state.detail == #"{"done": true}"#)
            #expect(state.nextRunAt > state.finishedAt ?? .distantFuture)
            _ = try await plane.directory.runJob("probe", by: .system)
            #expect(await two.runIfDue(job))
            #expect(count.withLock { $0 } == 2)
        }
    }

    @Test(.proves("H6", "F2"))
    func `runs a job sooner when hinted, but not again at once`() async throws {
        try await Plane.with { plane in
            try await Self.register(plane)
            let count = Mutex(0)
            let job = Probe { count.withLock { $0 += 1 } }
            func scheduler(_ name: String) -> Scheduler {
                Self.scheduler(plane, job, name, hintSpacing: .seconds(60))
            }
            let (one, two) = (scheduler("one"), scheduler("two"))
            #expect(await one.runIfDue(job))
            #expect(await one.runIfDue(job) == false)
            // On whichever instance the hint comes; so long after its end at the earliest.
            #expect(await two.runEarly(job) == false)
            func age(_ change: String) async throws {
                _ = try await plane.reads.execute(
                    Statement("probe_age \(change)", "UPDATE job SET \(change)"))
            }
            try await age("finished_at = finished_at - interval '61 seconds'")
            #expect(await two.runEarly(job))
            #expect(count.withLock { $0 } == 2)
            // One that took long rests for longer.
            try await age("finished_at = finished_at - interval '61 seconds', duration_ms = 10000")
            #expect(await two.runEarly(job) == false)
            try await age("finished_at = finished_at - interval '200 seconds'")
            #expect(await two.runEarly(job))
            #expect(count.withLock { $0 } == 3)
            let state = try #require(try await plane.directory.jobs().first)
            #expect(state.outcome == "succeeded" && state.nextRunAt > .now + .seconds(3000))
        }
    }

    @Test(.proves("H6"))
    func `runs a job again that was hinted at while it ran`() async throws {
        try await Plane.with { plane in
            try await Self.register(plane)
            let count = Mutex(0)
            let other = Self.scheduler(plane, Probe(), "two")
            let job = Probe {
                let number = count.withLock {
                    $0 += 1; return $0
                }
                if number == 1 { _ = await other.runEarly(Probe()) }
            }
            let one = Self.scheduler(plane, job, "one")
            #expect(await one.runIfDue(job))
            #expect(await one.runIfDue(job))
            #expect(await one.runIfDue(job) == false)
            #expect(count.withLock { $0 } == 2)
        }
    }

    @Test(.proves("H6"))
    func `takes over from an owner that died, whose late report changes nothing`() async throws {
        try await Plane.with { plane in
            try await Self.register(plane)
            // Dead: it claimed, and neither renews nor finishes.
            _ = try await plane.reads.execute(
                Statement(
                    "probe_die",
                    "UPDATE job SET holder = 'dead', epoch = epoch + 1, started_at = clock_timestamp(), lease_until = clock_timestamp() + interval '1 hour'"
                ))
            let job = Probe()
            let heir = Self.scheduler(plane, job, "heir")
            #expect(await heir.runIfDue(job) == false)
            _ = try await plane.reads.execute(
                Statement("probe_expire", "UPDATE job SET lease_until = clock_timestamp()"))
            #expect(await heir.runIfDue(job))
            let late = try await plane.reads.execute(
                Statement(
                    "probe_late",
                    "UPDATE job SET outcome = 'failed' WHERE name = 'probe' AND epoch = 1 RETURNING name"
                ))
            #expect(late.isEmpty)
            #expect(try await plane.directory.jobs().first?.outcome == "succeeded")
        }
    }

    @Test(.proves("H6"))
    func `runs a job that failed again sooner, twice as long after each time`() async throws {
        try await Plane.with { plane in
            try await Self.register(plane)
            let job = Probe(interval: .seconds(30)) { () throws(ControlPlaneError) in
                throw .conflict("no luck")
            }
            let one = Self.scheduler(plane, job, "one")
            var waits: [Duration] = []
            for failures in 1...3 {
                #expect(await one.runIfDue(job))
                let state = try #require(try await plane.directory.jobs().first)
                #expect(state.outcome == "failed" && state.failures == failures)
                waits.append(state.nextRunAt - (try #require(state.finishedAt)))
                _ = try await plane.directory.runJob("probe", by: .system)
            }
            #expect(waits.map { ($0 / .seconds(1)).rounded() } == [10, 20, 30])
        }
    }

    @Test(.proves("H6"))
    func `gives a run back that a stop has failed, and begins no other`() async throws {
        try await Plane.with { plane in
            try await Self.register(plane)
            let stopping = Mutex<Scheduler?>(nil)
            let job = Probe { () throws(ControlPlaneError) in
                await stopping.withLock(\.self)?.stop()
                throw .conflict("closed")
            }
            let one = Self.scheduler(plane, job, "one")
            stopping.withLock { $0 = one }
            #expect(await one.runIfDue(job))
            let state = try #require(try await plane.directory.jobs().first)
            #expect(state.outcome == "abandoned" && state.failures == 0 && state.holder == nil)
            #expect(await one.runIfDue(job) == false)
            let two = Self.scheduler(plane, Probe(), "two")
            #expect(await two.runIfDue(Probe()))
            #expect(try await plane.directory.jobs().first?.outcome == "succeeded")
        }
    }

    @Test(.proves("H6"))
    func `takes over at once from one that is known to be gone`() async throws {
        try await Plane.with { plane in
            try await Self.register(plane)
            _ = try await plane.reads.execute(
                Statement(
                    "probe_hold",
                    "UPDATE job SET holder = 'dead', epoch = 1, started_at = clock_timestamp(), lease_until = clock_timestamp() + interval '1 hour'"
                ))
            let heir = Self.scheduler(plane, Probe(), "heir")
            let dead = Heartbeat(on: plane.loop, plane.reads, instance: "dead")
            #expect(await heir.runIfDue(Probe()) == false)
            // It began anew: what it held in its life before is nobody's.
            try await dead.begin()
            #expect(await heir.runIfDue(Probe()))
        }
    }

    @Test(.proves("H6"))
    func `keeps the lease of a run that lasts longer than it`() async throws {
        try await Plane.with { plane in
            try await Self.register(plane)
            let job = Probe { try? await Task.sleep(for: .milliseconds(2000)) }
            let lease = Duration.milliseconds(900)
            let one = Self.scheduler(plane, job, "one", lease: lease)
            let two = Self.scheduler(plane, job, "two", lease: lease)
            async let first = one.runIfDue(job)
            try await Task.sleep(for: .milliseconds(1500))
            let stolen = await two.runIfDue(job)
            #expect(await first && !stolen)
        }
    }

    @Test(.proves("E4", "H6"))
    func `drops old partitions, and no answer changes`() async throws {
        let clock = TestClock(.now - .seconds(5 * 3600))
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            for _ in 0..<5 {
                _ = try await plane.ledger.record("op", cost: 3, for: tenant)
                clock.move(by: .seconds(3600))
            }
            clock.set(.now)
            _ = try await plane.ledger.record("op", cost: 1, for: tenant)
            let before = try await plane.ledger.count("op", for: tenant)
            let report = try await CleanupJob().run(plane.reads)
            #expect(report.contains("usagePartitions"))
            #expect(try await plane.ledger.count("op", for: tenant) == before)
            let oldest = try Session(Conninfo(url: plane.url)).execute(
                "SELECT min(at) > clock_timestamp() - interval '2 hours' FROM usage_log")
            #expect(try oldest.only().bool(0))
        }
    }

    @Test func `makes partitions ahead, and a write that finds none makes its own`() async throws {
        let clock = TestClock(.now + .seconds(400 * 86_400))
        try await Plane.with(clock: clock) { plane in
            let made = try await PartitionsJob().run(plane.reads)
            #expect(made.contains("event"))
            #expect(try await PartitionsJob().run(plane.reads) == "{}")
            let tenant = try await plane.makeTenant()
            #expect(try await plane.ledger.record("op", cost: 1, for: tenant).count == 1)
        }
    }
}

@Suite struct `The task queue` {
    @Test func `hands a task to one holder at a time and fences a late one`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let queue = TaskQueue(plane.reads, instance: "one")
            _ = try await plane.reads.transaction(
                tenant: tenant.uuid,
                [TaskQueue.adds("probe", payload: #"{"n": 1}"#, for: tenant, maxAttempts: 2)])
            let claimed = try await queue.claim(["probe"], limit: 10, lease: .seconds(60))
            let first = try #require(claimed.first)
            #expect(claimed.count == 1 && first.attempts == 1 && first.payload == #"{"n": 1}"#)
            #expect(try await queue.claim(["probe"], limit: 10, lease: .seconds(60)).isEmpty)
            try Session(Conninfo(url: plane.url)).run("UPDATE task SET lease_until = now()")
            let second = try #require(
                try await queue.claim(["probe"], limit: 10, lease: .seconds(60)).first)
            #expect(second.fence > first.fence)
            // Late: it is another's. A neighbour's end is written all the same.
            let ended = try await queue.end([
                TaskEnd(first), TaskEnd(second, error: "no", retryAfter: .zero),
            ])
            #expect(ended == [second.id])
            let row = try Session(Conninfo(url: plane.url)).execute(
                "SELECT last_error, done_at IS NULL AND dead_at IS NOT NULL FROM task"
            ).only()
            #expect(try row.text(0) == "no" && row.bool(1))
            // Its tries are used up: dead, and nobody gets it.
            #expect(try await queue.claim(["probe"], limit: 10, lease: .seconds(1)).isEmpty)
        }
    }

    @Test func `is not due before its time, nor after it was done`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let queue = TaskQueue(plane.reads, instance: "one")
            _ = try await plane.reads.transaction(
                tenant: tenant.uuid,
                [
                    TaskQueue.adds(
                        "later", payload: "{}", for: tenant, notBefore: .now + .seconds(3600)),
                    TaskQueue.adds("now", payload: "{}", for: tenant),
                ])
            let claimed = try await queue.claim(["now", "later"], limit: 10, lease: .seconds(5))
            #expect(claimed.map(\.kind) == ["now"])
            let task = try #require(claimed.first)
            #expect(try await queue.end([TaskEnd(task)]) == [task.id])
            #expect(try await queue.end([TaskEnd(task)]).isEmpty)
            #expect(try await queue.claim(["now"], limit: 10, lease: .seconds(5)).isEmpty)
        }
    }
}
