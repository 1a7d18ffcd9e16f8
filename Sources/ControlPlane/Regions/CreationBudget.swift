package import IO
package import Postgres

/// What an account's limits let through: all creations of all instances go by here, so that together they
/// keep to the provider's rate and concurrency, and stop when it says 429.
///
/// The truth is one row an account, held while it is decided on; calls of a loop share a statement. A wait
/// that is known is answered from memory. An account without limits costs no SQL at all: all that holds it
/// up is a 429, which every instance learns of by `RegionCache`'s poll.
package actor CreationBudget: LoopBound {
    package struct Settings: Hashable, Sendable {
        /// How long nobody creates after a 429 that says no time.
        package var throttle: Duration = .seconds(5)
        /// The longest time that a 429 may say.
        package var maxThrottle: Duration = .seconds(3600)
        /// How soon to ask again when all places are taken: one may be given back at any time.
        package var placeWait: Duration = .seconds(1)
        /// Waits that are remembered; past it those that are over are forgotten.
        package var capacity = 10_000

        package init() {}
    }

    package enum Answer: Hashable, Sendable {
        case granted
        /// Not now; ask again after that.
        case wait(Duration, Reason)
    }

    package enum Reason: String, CaseIterable, Hashable, Sendable {
        /// The provider said 429.
        case throttled
        case rate
        case concurrency
    }

    package struct Counters: Hashable, Sendable {
        package var granted = 0
        package var waits: [Reason: Int] = [:]
        /// 429s that were reported.
        package var throttles = 0
        /// Batches sent to the database; none for accounts without limits.
        package var batches = 0

        package init() {}
    }

    /// When an account may be asked for again, and with which limits that was found.
    private struct Hold {
        let until: MonotonicInstant
        let reason: Reason
        let limits: ProviderAccount.Limits?
    }

    package nonisolated let loop: EventLoop
    private let settings: Settings
    private let calls: Batcher<Call, Answer>
    private let now: (@Sendable () -> Timestamp)?
    private var holds: [String: Hold] = [:]
    private var counted = Counters()

    /// - Parameter now: the database's clock where a test moves it; nil: its own.
    package init(
        on loop: EventLoop, pipeline: Pipeline, settings: Settings = Settings(),
        now: (@Sendable () -> Timestamp)? = nil
    ) {
        self.loop = loop
        self.settings = settings
        self.now = now
        calls = Batcher(on: loop) { calls in await decide(calls, at: now?(), pipeline) }
    }

    package var counters: Counters {
        get async {
            var counters = counted
            counters.batches = await calls.statistics.batches
            return counters
        }
    }

    /// Asks for one creation.
    ///
    /// - Parameters:
    ///   - lease: names the creation; again with the same one takes nothing more.
    ///   - time: when its place is free again if nobody gives it back: longer than the creation can
    ///     take. Its instance may be gone by then.
    /// - Throws: `.postgres` when the account has limits and the database is away.
    package func take(
        _ account: ProviderAccount, lease: UUID, for time: Duration
    ) async throws(ControlPlaneError) -> Answer {
        if let wait = held(account) { return wait }
        guard !account.limits.isEmpty else {
            counted.granted += 1
            return .granted
        }
        let answer: Answer
        do throws(PostgresError) {
            answer = try await calls(Call(.take, account.id, lease, time))
        } catch {
            throw .postgres(error)
        }
        guard case .wait(let time, let reason) = answer else {
            counted.granted += 1
            return answer
        }
        counted.waits[reason, default: 0] += 1
        // A place may be given back any time; the others only come later than they were said.
        if reason == .concurrency { return .wait(min(time, settings.placeWait), reason) }
        remember(account.id, time, reason, account.limits)
        return answer
    }

    /// Lets a creation's place last, from now for `time`: the sandbox that came of it takes it as well,
    /// where the provider counts those.
    package func keep(
        _ account: ProviderAccount, lease: UUID, for time: Duration
    ) async throws(ControlPlaneError) {
        guard account.limits.concurrency != nil else { return }
        do throws(PostgresError) {
            _ = try await calls(Call(.keep, account.id, lease, time))
        } catch {
            throw .postgres(error)
        }
    }

    /// Gives a creation's place back. If that fails it is free when its time is over.
    package func release(_ account: ProviderAccount, lease: UUID) async {
        guard account.limits.concurrency != nil else { return }
        _ = try? await calls(Call(.release, account.id, lease, .zero))
    }

    /// Tells that the provider answered 429: nobody creates until it said, and then at half of the rate,
    /// which grows back by a tenth of the limit every 10 s.
    ///
    /// Not for a 429 that means the number of sandboxes: time does not help there.
    package func throttled(_ account: ProviderAccount, retryAfter: Duration?) async {
        counted.throttles += 1
        let time = max(.zero, min(retryAfter ?? settings.throttle, settings.maxThrottle))
        hold(account.id, for: time)
        _ = try? await calls(Call(.throttled, account.id, UUID(high: 0, low: 0), time))
    }

    /// Nobody creates for so long.
    func hold(_ account: String, for time: Duration) {
        if let known = holds[account], known.reason == .throttled,
            known.until >= instant.advanced(by: time)
        {
            return
        }
        remember(account, time, .throttled, nil)
    }

    private func remember(
        _ account: String, _ time: Duration, _ reason: Reason, _ limits: ProviderAccount.Limits?
    ) {
        let instant = instant
        if holds.count >= settings.capacity {
            holds = holds.filter { $0.value.until > instant }
        }
        holds[account] = Hold(until: instant.advanced(by: time), reason: reason, limits: limits)
    }

    private func held(_ account: ProviderAccount) -> Answer? {
        guard let hold = holds[account.id] else { return nil }
        let instant = instant
        // With other limits a rate's wait is another one.
        guard instant < hold.until, hold.limits == nil || hold.limits == account.limits else {
            holds[account.id] = nil
            return nil
        }
        counted.waits[hold.reason, default: 0] += 1
        return .wait(instant.duration(to: hold.until), hold.reason)
    }

    private var instant: MonotonicInstant {
        now.map { MonotonicInstant(nanoseconds: $0().microseconds * 1000) } ?? .now
    }

    /// Serves until cancelled.
    package func run() async { await calls.run() }
}

/// One element of a batch.
private struct Call: Sendable {
    enum Kind: String, Sendable { case take, keep, release, throttled }

    let kind: Kind
    let account: String
    let lease: UUID
    let time: Duration

    init(_ kind: Kind, _ account: String, _ lease: UUID, _ time: Duration) {
        self.kind = kind
        self.account = account
        self.lease = lease
        self.time = time
    }
}

private func decide(
    _ calls: [Call], at now: Timestamp?, _ pipeline: Pipeline
) async -> [Result<CreationBudget.Answer, PostgresError>] {
    do throws(PostgresError) {
        let rows = try await pipeline.execute(
            .creationBudget,
            [
                .texts(calls.map(\.account)), .texts(calls.map(\.kind.rawValue)),
                .uuids(calls.map(\.lease)), .int8s(calls.map(\.time.milliseconds)),
                .timestamp(now),
            ])
        var answers: [CreationBudget.Answer] = []
        for row in rows { answers.append(try CreationBudget.Answer(row)) }
        return answers.map { .success($0) }
    } catch {
        return calls.map { _ in .failure(error) }
    }
}

extension CreationBudget.Answer {
    fileprivate init(_ row: Row) throws(PostgresError) {
        let text = try row.text("answer")
        if text == "granted" {
            self = .granted
        } else if let reason = CreationBudget.Reason(rawValue: text) {
            self = .wait(.milliseconds(try row.int64("wait_ms")), reason)
        } else {
            throw .decode("the answer of a creation budget")
        }
    }
}

extension Statement {
    fileprivate static let creationBudget = Statement(
        "creation_budget",
        "SELECT answer, wait_ms FROM bw_creation_budget($1, $2, $3, $4, $5) ORDER BY ord")
}
