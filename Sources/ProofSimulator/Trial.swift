import ControlPlane
import HTTP
import IO
import Postgres
import Simulator
import Synchronization

/// One run: a fault model, an arm, a seed.
actor Trial: LoopBound {
    private struct Request {
        let number: Int
        let tenant: Int
        let start: MonotonicInstant
    }

    private static let tenants = (1...20).map { Tenant.ID(UUID(high: 0, low: UInt64($0))) }
    /// Of whom the n-th has a share of 1/n.
    private static let shares = (1...20).map { 1 / Double($0) }
    /// The breaker's clock when a run begins.
    private static let epoch = Timestamp(microseconds: 1_767_225_600_000_000)

    nonisolated let loop: EventLoop
    private let model: FaultModel
    private let arm: Arm
    private let clock: VirtualClock
    private let executor: RetryExecutor
    private var provider: SimulatedProvider
    private var breakers: BreakerPair?
    private var random: RandomSource
    private let seed: UInt64
    private var tally: Tally

    init(_ model: FaultModel, _ arm: Arm, seed: UInt64, on loop: EventLoop) {
        self.loop = loop
        self.model = model
        self.arm = arm
        self.seed = seed
        let clock = VirtualClock(on: loop)
        self.clock = clock
        provider = SimulatedProvider(model, seed: seed, timeout: arm.settings.call)
        random = RandomSource(seed: seed ^ 0xB4EA)
        tally = Tally(badTimes: provider.weather.badTimes, seconds: model.length)
        var settings = arm.settings.breakers
        // As long as an operation may take, as when a sandbox is made.
        settings.policy.probeLease = max(
            settings.policy.probeLease,
            arm.settings.retry.deadline + Attempts.Settings.leaseMargin)
        breakers = arm.hasBreakers ? BreakerPair(settings, tenants: Self.tenants) : nil
        let jitter = SharedRandom(RandomSource(seed: seed ^ 0x71_77E2))
        executor = RetryExecutor(
            RetryPolicy(arm.settings.retry), clock: clock,
            budgets: RetryBudgetKeeper(on: loop, arm.settings.budget),
            random: { jitter.next() }, tell: { _ in })
    }

    func run() async -> Tally {
        var arrivals = RandomSource(seed: seed ^ 0xA441)
        await withDiscardingTaskGroup { group in
            var number = 0
            var time = 0.0
            while true {
                let volley: Int
                switch model.arrivals {
                case .steady:
                    time += arrivals.exponential(mean: 1)
                    volley = 1
                case .volleys(let size):
                    time += 300
                    volley = size
                }
                guard time < model.length else { return }
                try? await clock.sleep(for: .nanoseconds(Int64(time * 1e9)) - clock.elapsed)
                for _ in 0..<volley {
                    number += 1
                    let tenant = volley > 1 ? 0 : Self.tenant(arrivals.unit())
                    let request = Request(number: number, tenant: tenant, start: clock.now)
                    group.addTask(executorPreference: loop) { await self.serve(request) }
                }
            }
        }
        tally.close()
        return tally
    }

    private static func tenant(_ draw: Double) -> Int {
        var left = draw * shares.reduce(0, +)
        for (index, share) in shares.enumerated() {
            left -= share
            if left < 0 { return index }
        }
        return 0
    }

    // MARK: A request

    private var timestamp: Timestamp { Self.epoch + clock.elapsed }

    private func serve(_ request: Request) async {
        let isOutage = provider.weather.at(clock.elapsed.seconds).isOutage
        tally.begin(at: clock.elapsed.seconds, isOutage: isOutage)
        let limit = arm.settings.retry.deadline
        let ticket = breakers?.admit(request.tenant, at: timestamp) { random.unit() }
        if breakers != nil, ticket == nil { return tally.refuse(at: clock.elapsed.seconds) }
        // The longest that can be set stands for none.
        let deadline = limit < .seconds(3600) ? request.start.advanced(by: limit) : nil
        let subject = RetryExecutor.Subject(
            operation: "sandbox_create", tenant: Self.tenants[request.tenant], provider: "e2b")
        let outcome = await executor.run(subject, deadline: deadline) {
            attempt async throws(TryError) -> Bool in
            try await self.call(request, attempt)
        }
        let took = request.start.duration(to: clock.now)
        if let deadline { tally.noteEnd(after: deadline.duration(to: clock.now)) }
        let end: CallOutcome
        switch outcome.result {
        case .success:
            tally.succeed(after: took)
            end = .succeeded
        case .failure(let failure):
            let kind = failure.cause?.error.kind
            tally.fail(kind, after: took, at: clock.elapsed.seconds)
            end = kind.map { .failed($0, retryAfter: failure.cause?.error.retryAfter) } ?? .local
        }
        if let ticket {
            breakers?.settle(ticket, request.tenant, end, took: took, at: timestamp) {
                random.unit()
            }
        }
    }

    /// One try.
    private func call(_ request: Request, _ attempt: Attempt) async throws(TryError) -> Bool {
        let seconds = clock.elapsed.seconds
        let answer = provider.call(
            request: request.number, attempt: attempt.number, tenant: request.tenant, at: seconds)
        tally.call(at: seconds, isOutage: provider.weather.at(seconds).isOutage)
        do throws(CancellationError) {
            try await clock.sleep(for: answer.after)
        } catch {
            if answer.made { tally.leak() }
            throw .cancelled
        }
        if let error = answer.error {
            if answer.made { tally.leak() }
            throw .failed(error)
        }
        return true
    }
}

/// A generator that several tasks of one loop draw from, in the order in which they run.
private final class SharedRandom: Sendable {
    private let random: Mutex<RandomSource>

    init(_ random: RandomSource) { self.random = Mutex(random) }

    func next() -> UInt64 { random.withLock { $0.next() } }
}
