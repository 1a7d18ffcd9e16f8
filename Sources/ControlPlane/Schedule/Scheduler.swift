package import IO
package import Postgres

/// Runs the jobs that are due, those that no other instance holds.
///
/// A lease row decides: claimed by a conditional update, renewed while the run lasts, free again
/// when its time is over. The owner of a killed instance's job is thus the first to ask after that.
package actor Scheduler: LoopBound {
    package struct Settings: Sendable {
        /// How often the table is asked for due jobs.
        package var pollInterval: Duration = .seconds(1)
        /// How long one run may take before another instance may take over; its holder renews it.
        package var lease: Duration = .seconds(30)
        /// The first wait after a run that failed, if the job's interval is longer; twice as long each time.
        package var retry: Duration = .seconds(10)
        /// How often hints are looked at, in memory: what they tell of is in the database by then.
        package var hintInterval: Duration = .milliseconds(200)
        /// The least time from the end of a run to one that a hint asks for.
        package var hintSpacing: Duration = .milliseconds(500)
        /// And so many times what that run took: 5 % of a connection at most.
        package var hintRest = 19
        /// How long an instance may be silent before its jobs are another's.
        package var silence = Heartbeat.Settings().silence
        /// How long the runs in hand may go on when all else has stopped.
        package var grace: Duration = .seconds(1)

        package init() {}
    }

    package nonisolated let loop: EventLoop
    package nonisolated let jobs: [any Job]
    private let pipeline: Pipeline
    private let instance: String
    private let settings: Settings
    private let tell: Tell
    /// Runs by job and outcome since the start.
    package private(set) var runs: [String: [String: Int]] = [:]
    private var isRegistered = false
    private var isStopping = false
    /// Jobs that are to run before their time.
    private var hinted: Set<String> = []

    /// - Parameter instance: names this process in leases, e.g. host and process id.
    package init(
        on loop: EventLoop, _ jobs: [any Job], pipeline: Pipeline, instance: String,
        settings: Settings = Settings(), tell: @escaping Tell
    ) {
        self.loop = loop
        self.jobs = jobs
        self.pipeline = pipeline
        self.instance = instance
        self.settings = settings
        self.tell = tell
    }

    /// Works until cancelled. What it cannot ask because the database is away, it asks again.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask(executorPreference: loop) { await self.followHints() }
            while !isStopping && !Task.isCancelled {
                if await register() {
                    for job in jobs { await runIfDue(job) }
                }
                do throws(IOError) { try await loop.sleep(for: settings.pollInterval) } catch {
                    break
                }
            }
            group.cancelAll()
        }
    }

    /// Takes no more jobs. What it has in hand may end; if that fails, for what it works with closes next, it
    /// is due again at once, for whoever runs then. Cancel `run` to cut that short, and wait for its end before
    /// the pipeline closes.
    package func stop() { isStopping = true }

    /// Something happened that a job looks at: it runs in a moment rather than at its time. From any thread.
    package nonisolated func hint(_ name: String) {
        loop.execute { self.assumeIsolated { _ = $0.hinted.insert(name) } }
    }

    private func followHints() async {
        while !isStopping && !Task.isCancelled {
            do throws(IOError) { try await loop.sleep(for: settings.hintInterval) } catch { return }
            for job in jobs where hinted.remove(job.name) != nil {
                if !(await runEarly(job)) { hinted.insert(job.name) }
            }
        }
    }

    /// False: it is too early still, or the database is away.
    package func runEarly(_ job: any Job) async -> Bool {
        let rows = try? await pipeline.execute(
            .jobHurry,
            [
                .text(job.name), .int8(settings.hintSpacing.milliseconds),
                .int8(Int64(settings.hintRest)),
            ])
        guard rows?.first != nil else { return false }
        await runIfDue(job)
        return true
    }

    private func register() async -> Bool {
        if isRegistered { return true }
        let names = jobs.map(\.name)
        isRegistered = (try? await pipeline.execute(.jobRegister, [.texts(names)])) != nil
        return isRegistered
    }

    /// Claims and runs one job if it is due; true if it ran to its end and was still ours.
    @discardableResult
    package func runIfDue(_ job: any Job) async -> Bool {
        let lease = settings.lease.milliseconds
        guard !isStopping,
            let claim = try? await pipeline.execute(
                .jobClaim,
                [
                    .text(job.name), .text(instance), .int8(lease),
                    .int8(settings.silence.milliseconds),
                ]
            ).first,
            let epoch = try? claim.int64(0)
        else { return false }
        CrashPoint.jobClaimed.reached()
        var (outcome, detail) = await runHoldingLease(job, epoch)
        if isStopping, outcome == "failed" { outcome = "abandoned" }
        return await finish(job, epoch, outcome, detail)
    }

    private func runHoldingLease(
        _ job: any Job, _ epoch: Int64
    ) async -> (outcome: String, detail: String) {
        await withTaskGroup(of: (String, String)?.self) { group in
            group.addTask(executorPreference: loop) { await self.renew(job, epoch) }
            group.addTask(executorPreference: loop) { [pipeline] in
                do throws(ControlPlaneError) {
                    return ("succeeded", try await job.run(pipeline))
                } catch {
                    return ("failed", errorDetail(error))
                }
            }
            for await result in group {
                guard let result else { continue }
                group.cancelAll()
                return result
            }
            return ("failed", "{}")
        }
    }

    /// Keeps the lease while the run lasts.
    private func renew(_ job: any Job, _ epoch: Int64) async -> (String, String)? {
        while !Task.isCancelled {
            do throws(IOError) { try await loop.sleep(for: settings.lease / 3) } catch {
                return nil
            }
            _ = try? await pipeline.execute(
                .jobRenew, [.text(job.name), .int8(epoch), .int8(settings.lease.milliseconds)])
        }
        return nil
    }

    private func finish(
        _ job: any Job, _ epoch: Int64, _ outcome: String, _ detail: String
    ) async -> Bool {
        let rows = try? await pipeline.execute(
            .jobFinish,
            [
                .text(job.name), .int8(epoch), .text(outcome), .jsonb(detail),
                .int8(job.interval.milliseconds), .int8(settings.retry.milliseconds),
            ])
        guard let row = rows?.first else {
            // Another took it over, or the database is away and another will.
            tell(.jobLost(name: job.name, epoch: epoch))
            return false
        }
        runs[job.name, default: [:]][outcome, default: 0] += 1
        let milliseconds = (try? row.int64(0)) ?? 0
        if outcome != "succeeded" || detail != "{}" {
            tell(
                .jobFinished(
                    name: job.name, outcome: outcome, milliseconds: milliseconds, detail: detail))
        }
        return true
    }
}

/// The table of jobs, for operators.
extension Directory {
    package func jobs() async throws(ControlPlaneError) -> [JobState] {
        try decodeAll(try await run([(.jobList, [])]), JobState.init)
    }

    /// Makes a job due now. Throws `.notFound`.
    package func runJob(_ name: String, by actor: Actor) async throws(ControlPlaneError) -> JobState
    {
        guard try await jobs().contains(where: { $0.name == name }) else { throw .notFound("job") }
        let audit = actor.audits("job.run", name, of: .fleet)
        let rows = try await run([(.enterOperator, []), audit, (.jobRunNow, [.text(name)])])
        guard let row = rows.first else { throw .notFound("job") }
        return try decode(row, JobState.init)
    }
}
