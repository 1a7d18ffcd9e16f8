import API
import ControlPlane
import HTTP
import IO
import Outbound
import Postgres

/// One event loop and all that lives on it: connections to the database, the ledger's batches, the
/// memory of keys, the HTTP server.
struct Worker: Sendable {
    let loop: EventLoop
    let writes: [Pipeline]
    let reads: Pipeline
    /// Of what creations write, so that their commits wait for no others.
    let creating: Pipeline
    let keys: KeyCache
    let ledger: Ledger
    let breakers: Breakers
    let attempts: Attempts
    let regions: RegionCache
    let budget: CreationBudget
    /// To providers and webhooks.
    let outbound: HTTPClient
    let creations: Creations
    let refusals: Refusals
    let sandboxes: Sandboxes
    let tasks: SandboxTasks
    let alertSender: AlertSender
    let metrics = LoopMetrics()

    init(
        _ index: Int, _ settings: Settings, _ database: Database, _ readiness: Readiness,
        _ instance: String, _ failures: FailedKeys, _ loads: TenantLoads, _ hints: BreakerHints?,
        _ secrets: SecretBox, on loop: EventLoop, _ tell: @escaping Tell
    ) throws {
        self.loop = loop
        func pipeline(_ name: String) -> Pipeline {
            let part = "database (loop \(index), \(name))"
            readiness.set(part, down: "connecting")
            return Pipeline(on: loop, pipelineSettings(settings, database)) { isReady in
                readiness.set(part, down: isReady ? nil : "connection lost")
                // What a stop closes is not lost.
                if index == 0, name == "writes 1", isReady || !readiness.isDraining {
                    tell(isReady ? .databaseReady : .databaseLost(reason: "connection lost"))
                }
            }
        }
        writes = (1...settings.ledger.connections).map { pipeline("writes \($0)") }
        reads = pipeline("reads")
        creating = pipeline("creations")
        keys = KeyCache(
            on: loop, pipeline: reads, settings: settings.keys, failures: failures, loads: loads)
        ledger = Ledger(
            on: loop, writes: writes, reads: reads, settings: settings.ledger, tell: tell)
        breakers = Breakers(
            on: loop, pipeline: reads, instance: instance, settings: settings.breakers,
            hints: hints, tell: tell)
        hints?.tell(breakers)
        let budgets = RetryBudgetKeeper(on: loop, settings.retryBudget)
        let (retries, classifier) = (
            RetryPolicy(settings.retry), Classifier(settings.classifier)
        )
        budget = CreationBudget(on: loop, pipeline: reads, settings: settings.budget)
        regions = RegionCache(on: loop, pipeline: reads, budget: budget)
        refusals = Refusals(on: loop, tell: tell)
        attempts = Attempts(
            on: loop, pipeline: reads, ledger: ledger, breakers: breakers, regions: regions,
            budget: budget, budgets: budgets, retries: retries, classifier: classifier,
            settings: settings.attempts, refusals: refusals, tell: tell)
        outbound = try HTTPClient(on: loop, settings.outbound)
        creations = Creations(
            on: loop, pipeline: creating, instance: instance,
            providers: SandboxProviders(on: loop, outbound), ledger: ledger, breakers: breakers,
            budget: budget, budgets: budgets, retries: retries, classifier: classifier,
            settings: settings.creations, refusals: refusals, tell: tell)
        let targets = RegionTargets(regions, secrets, reads)
        let killing = KillSwitch(reads, isAllowed: settings.mayKill)
        sandboxes = Sandboxes(
            creations, targets: targets, breakers: breakers, pipeline: reads, killing: killing,
            settings: settings.sandboxesWithRetries)
        tasks = SandboxTasks(
            on: loop, pipeline: reads, instance: instance, creations: creations,
            targets: targets.source, killing: killing, settings: settings.sandboxTasks)
        alertSender = AlertSender(
            on: loop, pipeline: reads, instance: instance, secrets: secrets, client: outbound,
            settings: settings.alertSender, tell: tell)
    }

    /// What time decides, and is to be on time.
    func sweep(_ settings: Settings) -> SandboxSweep {
        SandboxSweep(
            creations.store, interval: settings.sweepInterval,
            tryAge: settings.creations.call + settings.creations.leaseMargin,
            silence: settings.scheduler.silence)
    }

    /// What works at the providers, which may be slow: apart from the jobs that work in the database alone.
    func fleetJobs(_ settings: Settings, _ tell: @escaping Tell) -> [any Job] {
        [
            Reconciler(
                creations, breakers: breakers, targets: sandboxes.targets.source,
                killing: sandboxes.killing, settings: settings.reconciler, tell: tell)
        ]
    }

    /// What looks at sandboxes, one after the other, and may take minutes: apart from what has to be on time.
    func checkJobs(_ settings: Settings, _ tell: @escaping Tell) -> [any Job] {
        let targets = sandboxes.targets.source
        var jobs: [any Job] = []
        if settings.sample.size > 0 {
            jobs.append(
                SandboxSampleJob(
                    creations, targets: targets, settings: settings.sample, tell: tell))
        }
        if settings.probe.isOn {
            jobs.append(
                ProbeJob(
                    creations, targets: targets, killing: sandboxes.killing,
                    settings: settings.probe, tell: tell))
        }
        return jobs
    }

    /// Serves until the server was drained, then closes what is behind it. On the loop.
    func run(_ server: Server, _ tell: @escaping Tell) async {
        await withDiscardingTaskGroup { group in
            for pipeline in writes + [reads, creating] {
                group.addTask(executorPreference: loop) { await pipeline.run() }
            }
            group.addTask(executorPreference: loop) { await keys.run() }
            group.addTask(executorPreference: loop) { await ledger.run() }
            group.addTask(executorPreference: loop) { await breakers.run() }
            group.addTask(executorPreference: loop) { await attempts.run() }
            group.addTask(executorPreference: loop) { await refusals.run() }
            group.addTask(executorPreference: loop) { await budget.run() }
            group.addTask(executorPreference: loop) { await regions.run() }
            group.addTask(executorPreference: loop) { await creations.run() }
            group.addTask(executorPreference: loop) { await tasks.run() }
            group.addTask(executorPreference: loop) { await alertSender.run() }
            do throws(IOError) {
                try await server.run()
            } catch {
                tell(.serviceStopping(reason: "a listener failed: \(error)"))
            }
            await ledger.flushDenials()
            await ledger.tellDenials()
            await attempts.flush()
            await refusals.flush()
            await creations.flush()
            await outbound.close()
            for pipeline in writes + [reads, creating] { await pipeline.close() }
            group.cancelAll()
        }
    }
}

/// Of every connection to the database.
func pipelineSettings(_ settings: Settings, _ database: Database) -> Pipeline.Settings {
    var wanted = Pipeline.Settings(database.serving)
    wanted.role = database.role
    wanted.ownsSession = settings.preparedStatements
    wanted.statementTimeout = settings.statementTimeout
    wanted.lockTimeout = settings.lockTimeout
    wanted.deadline = settings.databaseDeadline
    wanted.connectWait = settings.connectWait
    return wanted
}

/// By which instances hear of breakers' moves at once; nil behind a pooler in transaction mode, unless
/// there is a way around it.
func breakerHints(
    _ settings: Settings, _ database: Database, on loop: EventLoop
) -> BreakerHints? {
    var wanted = pipelineSettings(settings, database)
    if let url = settings.databaseListenURL {
        wanted.conninfo = Conninfo(url: url, instance: wanted.conninfo.instance)
        wanted.ownsSession = true
    }
    return wanted.ownsSession ? BreakerHints(on: loop, wanted) : nil
}
