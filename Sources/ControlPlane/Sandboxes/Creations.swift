package import IO
package import Postgres

/// Makes sandboxes: `breaker( retry( create ), on fallback retry( create ) )`, each try with an intent
/// that was committed before the provider heard of it; then a health check, outside the breaker.
///
/// Who asked may go away: what was begun is finished here, and kept for who can ask for it again, by an
/// idempotency key, or killed. What this instance does not live to finish, another settles by the same rows.
package actor Creations: LoopBound {
    package struct Settings: Hashable, Sendable {
        /// The life that a sandbox is made with; the wanted one comes when its row is bound. One that
        /// nobody knows of thus ends soon.
        package var firstLife: Duration = .seconds(90)
        /// One call to create, at the provider.
        package var call: Duration = .seconds(30)
        /// How long an answer waits for the wanted life to be given.
        package var extendWait: Duration = .seconds(1)
        /// How long the row of a sandbox that was made is tried to be bound while the database is away.
        package var bindWait: Duration = .seconds(5)
        /// How much longer than its deadline a request is left to its instance before others settle it.
        package var leaseMargin: Duration = .seconds(15)
        /// Creations of a loop in hand; past it they are refused.
        package var maxInFlight = 1_000
        package var health = HealthChecker.Settings()
        /// What a try is recorded as.
        package static let operation = "sandbox_create"

        package init() {}
    }

    package struct Counters: Hashable, Sendable {
        package var made = 0
        package var failed = 0
        package var refused = 0
        /// Answers of the provider that came when nobody waited any more.
        package var late = 0
        /// Calls whose end does not tell whether there is a sandbox now.
        package var ambiguous = 0
        /// Killed since they did not work.
        package var replaced = 0
        /// Killed since nobody waited for them any more.
        package var abandoned = 0
        /// Intents taken back since the ledger denied their record.
        package var withdrawn = 0

        package init() {}
    }

    package nonisolated let loop: EventLoop
    package nonisolated let settings: Settings
    package nonisolated let store: SandboxStore
    package nonisolated let providers: SandboxProviders
    package nonisolated let health: HealthChecker
    nonisolated let ledger: Ledger
    nonisolated let tell: Tell
    let breakers: Breakers
    let budget: CreationBudget
    let executor: RetryExecutor
    nonisolated let classifier: Classifier
    let refusals: Refusals?
    let clock: any RetryClock
    var deployment: String?
    let pipeline: Pipeline
    /// What creations of one turn write goes together.
    let plans: Batcher<PlannedTry, SandboxStore.PlanResult>
    let takes: Batcher<MadeSandbox, SandboxStore.MadeResult>
    let lives: Batcher<GivenLife, Result<Void, ControlPlaneError>>
    let checks: Batcher<NotedCheck, Result<Void, ControlPlaneError>>
    var rooms: [Tenant.ID: Room] = [:]
    package internal(set) var counters = Counters()

    /// How long what is written after the answer waits for its like: at 240 creations a second, 6.2
    /// transactions of each became 3.2 by this and by `Ledger.settingsMemory` (`pg_stat_database`).
    private static let linger: Duration = .milliseconds(50)

    private(set) var isRunning = true
    var inFlight = 0
    private var due: [@Sendable () async -> Void] = []
    private let work = Waiter<Void>()

    package init(
        on loop: EventLoop, pipeline: Pipeline, instance: String, providers: SandboxProviders,
        ledger: Ledger, breakers: Breakers, budget: CreationBudget, budgets: RetryBudgetKeeper,
        retries: RetryPolicy = RetryPolicy(), classifier: Classifier = Classifier(),
        settings: Settings = Settings(), clock: (any RetryClock)? = nil,
        refusals: Refusals? = nil, tell: @escaping Tell = { _ in }
    ) {
        self.loop = loop
        self.settings = settings
        self.pipeline = pipeline
        let store = SandboxStore(
            pipeline, instance: instance, leaseMargin: settings.leaseMargin)
        self.store = store
        plans = Batcher(on: loop) { tries in await store.plan(tries).map { .success($0) } }
        takes = Batcher(on: loop) { made in await store.made(made).map { .success($0) } }
        lives = Batcher(on: loop, linger: Self.linger) { given in
            await store.extended(given).map { .success($0) }
        }
        checks = Batcher(on: loop, linger: Self.linger) { notes in
            await store.checked(notes).map { .success($0) }
        }
        self.providers = providers
        health = HealthChecker(on: loop, providers.http, settings: settings.health)
        self.ledger = ledger
        self.breakers = breakers
        self.budget = budget
        self.classifier = classifier
        self.tell = tell
        self.refusals = refusals
        let clock = clock ?? LoopClock(loop)
        self.clock = clock
        executor = RetryExecutor(
            retries, classifier: classifier, clock: clock, budgets: budgets, tell: tell)
    }

    // MARK: Life

    /// Runs what is asked for until cancelled.
    package func run() async {
        await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group in
                group.addTask(executorPreference: loop) { await self.plans.run() }
                group.addTask(executorPreference: loop) { await self.takes.run() }
                group.addTask(executorPreference: loop) { await self.lives.run() }
                group.addTask(executorPreference: loop) { await self.checks.run() }
                while !Task.isCancelled {
                    for job in due { group.addTask(executorPreference: loop) { await job() } }
                    due = []
                    await work.wait()
                }
                isRunning = false
                group.cancelAll()
            }
        } onCancel: {
            loop.execute { self.assumeIsolated { $0.work.resume(()) } }
        }
    }

    /// Waits until what lingers is written, for a second at most.
    package func flush() async {
        let giveUpAt = MonotonicInstant.now.advanced(by: .seconds(1))
        while true {
            let (isNoted, isChecked) = (await lives.isIdle, await checks.isIdle)
            guard !isNoted || !isChecked, .now < giveUpAt else { return }
            try? await loop.sleep(for: .milliseconds(5))
        }
    }

    /// Runs `body`, whoever waits for it or not.
    func later(_ body: @escaping @Sendable () async -> Void) {
        due.append(body)
        work.resume(())
    }

    /// Runs `body` whatever becomes of the caller, who gets its value, or `fallback` when it is cancelled
    /// first or `limit` has passed.
    func outliving<Value: Sendable>(
        within limit: Duration? = nil, orElse fallback: @escaping @Sendable () -> Value,
        _ body: @escaping @Sendable () async -> Value
    ) async -> Value {
        let end = Handover<Value>()
        later { await self.hand(await body(), to: end) }
        let timer = LoopTimer { end.waiter.resume(fallback()) }
        if let limit { timer.set(.now.advanced(by: limit), on: loop) }
        defer { timer.clear() }
        return await withTaskCancellationHandler {
            // Through the actor: the closure by itself is not the actor's, and would wait elsewhere.
            await self.value(of: end)
        } onCancel: {
            loop.execute { end.waiter.resume(fallback()) }
        }
    }

    private func value<Value: Sendable>(of end: Handover<Value>) async -> Value {
        await end.waiter.wait()
    }

    private func hand<Value: Sendable>(_ value: Value, to end: Handover<Value>) {
        end.waiter.resume(value)
    }

    /// Where a value goes from one task to another, both on the loop.
    final class Handover<Value: Sendable>: @unchecked Sendable {
        // Unchecked: touched on the loop alone.
        let waiter = Waiter<Value>()
    }
}
