import API
import ControlPlane
import Glibc
import HTTP
import IO
import Outbound
import Postgres
import UnixSignals

/// One instance, from start to end. It wires everything and decides nothing.
struct Service: Sendable {
    let settings: Settings
    let tell: Tell
    private let buffer: EventBuffer

    /// - Parameter log: where events go beside the table.
    init(settings: Settings, log: @escaping Tell) {
        self.settings = settings
        buffer = EventBuffer(capacity: settings.eventWriter.capacity)
        tell = buffer.after(log)
    }

    /// Serves until a signal, then stops from the outside in: not ready, no new connections, answers
    /// in hand, batches, connections to the database, a private cluster.
    func run() async throws {
        // Who reads our log may go away; that is no reason to end.
        _ = signal(SIGPIPE, SIG_IGN)
        FileLimit.raise()
        tell(.serviceStarting(build: Build.facts, loops: settings.loops))
        let stop = Stop()
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [tell] in await stop.watch(signals, tell) }
            do {
                try await serve(stop)
            } catch {
                // A start that was called off fails for that reason.
                guard stop.isWanted else { throw error }
            }
            tell(.serviceStopped)
            group.cancelAll()
        }
    }

    private func serve(_ stop: Stop) async throws {
        let instance = Self.instanceName()
        let (settings, tell) = (settings, tell)
        let database = try await onThread {
            try Database.open(settings, instance: instance, isCancelled: { stop.isWanted }, tell)
        }
        let outcome: Result<Void, any Error>
        do {
            _ = try await onThread { try database.migrate(tell) }
            outcome = .success(stop.isWanted ? () : try await serve(database, instance, stop))
        } catch {
            outcome = .failure(error)
        }
        try await onThread { database.close() }
        try outcome.get()
    }

    private func serve(_ database: Database, _ instance: String, _ stop: Stop) async throws {
        let readiness = Readiness()
        let (failures, loads) = (FailedKeys(settings.failedKeys), TenantLoads())
        let secrets = try SecretKeys.open(settings, tell)
        let loops = try (0..<settings.loops).map { try EventLoop.start(name: "bw-loop-\($0)") }
        let hints = breakerHints(settings, database, on: loops[0])
        let jobLoop = loops[0]
        let jobPipeline = Pipeline(on: jobLoop, pipelineSettings(settings, database))
        // Apart from the others, which may take long: whoever is hurt waits for it.
        let schedule: ([any Job]) -> Scheduler = { [settings, tell] jobs in
            Scheduler(
                on: jobLoop, jobs, pipeline: jobPipeline, instance: instance,
                settings: settings.scheduler, tell: tell)
        }
        let alertScheduler = schedule([alertJob()])
        let tell: Tell = { [tell] event in
            tell(event)
            if event.mayMoveAlerts { alertScheduler.hint(AlertJob.name) }
        }
        let workers = try loops.enumerated().map { index, loop in
            try Worker(
                index, settings, database, readiness, instance, failures, loads, hints,
                secrets, on: loop,
                tell)
        }
        let jobs: [any Job] = [
            CleanupJob(settings.cleanup), PartitionsJob(), RollUpJob(), TenantRemovalJob(),
        ]
        let events = EventService(settings, database, buffer, on: jobLoop)
        // Those of a row are run one after the other.
        let schedulers =
            [alertScheduler]
            + [
                jobs, [workers[0].sweep(settings)], workers[0].fleetJobs(settings, tell),
                workers[0].checkJobs(settings, tell),
            ].map(schedule)
        let page: @Sendable () async -> String = {
            await Self.metrics(
                workers, schedulers, events.metrics(), isDatabaseUp: readiness.reason == nil)
        }
        let endpoints = try openEndpoints(workers.count)
        var api = settings.api
        api.upstreams = settings.outbound.addresses
        let servers = try zip(workers, endpoints.byLoop).map { worker, endpoints in
            let services = Services(
                keys: worker.keys, ledger: worker.ledger, breakers: worker.breakers,
                attempts: worker.attempts, regions: worker.regions, budget: worker.budget,
                sandboxes: worker.sandboxes, events: events.hub,
                alertSender: worker.alertSender, pipeline: worker.reads,
                jobs: schedulers.flatMap(\.jobs).map { JobSchedule($0) },
                settings: api,
                classifier: Classifier(settings.classifier), retries: RetryPolicy(settings.retry),
                readiness: readiness, secrets: secrets, metricsPage: page, tell: tell)
            return Server(
                on: worker.loop, endpoints: endpoints,
                routes: try Routes(
                    apiRoutes(services) + gatewayRoutes(services) + dashboardRoutes(),
                    finish: settings.cors?.finish),
                limits: settings.http, deadlines: settings.deadlines, observer: worker.metrics)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            let background = jobLoop
            var cut: Task<Void, any Error>?
            group.addTask(executorPreference: background) { await jobPipeline.run() }
            group.addTask(executorPreference: background) { await events.run() }
            group.addTask(executorPreference: background) { await hints?.run() }
            var beats = Heartbeat.Settings()
            beats.silence = settings.scheduler.silence
            let heartbeat = Heartbeat(on: jobLoop, jobPipeline, instance: instance, settings: beats)
            try await heartbeat.begin()
            group.addTask(executorPreference: background) { await heartbeat.run() }
            try await OperatorKey.ensure(settings, Directory(jobPipeline), tell)
            tell(.serviceReady(addresses: endpoints.addresses))
            await withDiscardingTaskGroup { schedules in
                for scheduler in schedulers {
                    schedules.addTask(executorPreference: background) { await scheduler.run() }
                }
                await run(zip(workers, servers).map { ($0, $1) }, schedulers, readiness, stop)
                schedules.cancelAll()
                // A job that takes longer is another instance's after its lease. Not of the group: a child would be
                // cancelled with the schedules, and be waited for by them.
                cut = Task { [grace = settings.scheduler.grace] in
                    try await Task.sleep(for: grace)
                    await jobPipeline.cut()
                }
            }
            cut?.cancel()
            await jobPipeline.close()
            await events.close()
            group.cancelAll()
        }
        for worker in workers { worker.loop.stop() }
    }

    private func alertJob() -> AlertJob {
        var wanted = settings.alerts
        wanted.defaultMaxPerHour = settings.ledger.defaultMaxPerHour
        return AlertJob(wanted, tell: tell)
    }

    /// Runs the workers until they have drained. What is in hand at the end of the drain is cut off,
    /// calls to the database too, which would otherwise have until their own deadline.
    private func run(
        _ workers: [(Worker, Server)], _ schedulers: [Scheduler], _ readiness: Readiness,
        _ stop: Stop
    ) async {
        await withTaskGroup(of: Bool.self) { [tell] group in
            for (worker, server) in workers {
                group.addTask(executorPreference: worker.loop) {
                    await worker.run(server, tell)
                    return true
                }
            }
            group.addTask {
                await drain(workers.map(\.1), schedulers, readiness, stop)
                return false
            }
            var running = workers.count
            for await hasEnded in group {
                running -= hasEnded ? 1 : 0
                if !hasEnded || running == 0 { group.cancelAll() }
            }
        }
    }

    /// Waits for the wish to stop and drains; returns at the end of the time for that.
    private func drain(
        _ servers: [Server], _ schedulers: [Scheduler], _ readiness: Readiness, _ stop: Stop
    ) async {
        await stop.wait()
        guard !Task.isCancelled else { return }
        readiness.drain()
        for scheduler in schedulers { await scheduler.stop() }
        try? await Task.sleep(for: settings.drainDelay)
        for server in servers { await server.drain(within: settings.drain) }
        try? await Task.sleep(for: settings.drain)
    }

    /// Opens every address on every loop; a Unix socket on the first alone.
    private func openEndpoints(
        _ loops: Int
    ) throws -> (byLoop: [[Server.Endpoint]], addresses: [String]) {
        var byLoop = [[Server.Endpoint]](repeating: [], count: loops)
        var addresses: [String] = []
        for address in settings.listen {
            do throws(IOError) {
                let endpoints = try Self.open(address, loops)
                for (loop, endpoint) in endpoints.enumerated() { byLoop[loop].append(endpoint) }
                addresses.append(endpoints[0].address.description)
            } catch {
                var advice = ""
                if case .system(EADDRINUSE, _) = error {
                    advice = "; stop who serves there, or choose another address with --listen"
                }
                throw SettingsError("cannot listen on \(address): \(error)\(advice)")
            }
        }
        return (byLoop, addresses)
    }

    /// A listener for each loop, or one alone. What lets several loops share a port would also let a
    /// second instance in, which would then take a part of our callers: so it is first opened without.
    private static func open(_ address: Address, _ loops: Int) throws(IOError) -> [Server.Endpoint]
    {
        let only = try Listener.open(address, reusePort: false)
        guard case .tcp = address, loops > 1 else { return [only] }
        close(only.descriptor)
        var endpoints: [Server.Endpoint] = []
        for _ in 0..<loops { endpoints.append(try Listener.open(only.address)) }
        return endpoints
    }

    private static func metrics(
        _ workers: [Worker], _ schedulers: [Scheduler], _ events: EventMetrics,
        isDatabaseUp: Bool
    ) async -> String {
        var ledgers: [Ledger.Counters] = []
        var breakers: [Breakers.Counters] = []
        var attempts: [Attempts.Counters] = []
        var budgets: [CreationBudget.Counters] = []
        var creations: [CreationMetrics] = []
        var outbound: [HTTPClient.Counters] = []
        var alerts: [AlertSender.Counters] = []
        for worker in workers {
            ledgers.append(await worker.ledger.counters)
            breakers.append(await worker.breakers.counters)
            attempts.append(await worker.attempts.counters)
            budgets.append(await worker.budget.counters)
            creations.append(await CreationMetrics(worker.creations))
            outbound.append(await worker.outbound.counters)
            alerts.append(await worker.alertSender.counters)
        }
        var runs: [String: [String: Int]] = [:]
        for scheduler in schedulers { runs.merge(await scheduler.runs) { $1 } }
        return MetricsPage.render(
            loops: workers.map(\.metrics), ledgers: ledgers, breakers: breakers,
            attempts: attempts, budgets: budgets, creations: creations, outbound: outbound,
            events: events, alerts: alerts, isDatabaseUp: isDatabaseUp,
            jobRuns: runs, build: Build.facts)
    }

    /// Host and process, e.g. `node-1:4711`: names this instance in leases and to the database.
    private static func instanceName() -> String {
        var name = [CChar](repeating: 0, count: 64)
        _ = unsafe gethostname(&name, name.count - 1)
        let host = String(
            decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return "\(host):\(getpid())"
    }
}
