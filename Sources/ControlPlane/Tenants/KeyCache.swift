package import IO
package import Postgres

/// What this loop knows of API keys, so that a request on the hot path costs no SQL.
///
/// The truth is polled: every `pollInterval` the keys changed within `changeSpan` are due to be looked
/// up again, so that a revocation holds on every instance within a second. While the database is away nothing can
/// be revoked either, and what is known stays.
package actor KeyCache: LoopBound {
    package struct Settings: Sendable {
        /// How often changes are asked for. Revocation is promised within 1 s.
        package var pollInterval: Duration = .milliseconds(400)
        /// How far back changes are asked for; longer than a transaction that changes a key lasts
        /// (statement and lock time-outs, 7 s), since rows appear in order of commit.
        package var changeSpan: Duration = .seconds(15)
        /// How long an answer is kept at most, whatever the poll says.
        package var lifetime: Duration = .seconds(300)
        /// How long "no such key" is kept: a guesser costs one look-up a second for each key.
        package var unknownLifetime: Duration = .seconds(1)
        /// Keys remembered; past it the memory starts anew.
        package var capacity = 100_000
        /// What keys are traded for in browsers.
        package var sessions = Sessions.Settings()

        package init() {}
    }

    private struct Entry {
        let hash: KeyHash
        let caller: Caller
        let isRevoked: Bool
        let isSuspended: Bool
        /// Wall clock of this machine; the key's own expiry, in microseconds.
        let expiresAt: Timestamp
        /// When it must be looked up again.
        var forgetAt: MonotonicInstant
    }

    private enum Known {
        case entry(Entry)
        case unknown(until: MonotonicInstant)
    }

    package nonisolated let loop: EventLoop
    package nonisolated let sessions: Sessions
    private let settings: Settings
    private let pipeline: Pipeline
    private let lookups: Batcher<String, FoundKey?>
    private let failures: FailedKeys
    private let loads: TenantLoads
    private var known: [UInt64: Known] = [:]
    /// When changes were last asked for with success.
    private var polledAt = MonotonicInstant.now
    /// Rises with each forgetting: an answer that was on its way meanwhile is not remembered.
    private var generation = 0
    private var used: Set<String> = []
    /// Keys looked up since the start.
    package private(set) var lookupCount = 0

    /// - Parameters:
    ///   - failures: shared by all loops, as are the `loads`.
    package init(
        on loop: EventLoop, pipeline: Pipeline, settings: Settings = Settings(),
        failures: FailedKeys = FailedKeys(), loads: TenantLoads = TenantLoads()
    ) {
        self.loop = loop
        self.failures = failures
        self.loads = loads
        self.settings = settings
        self.pipeline = pipeline
        sessions = Sessions(
            on: loop, pipeline: pipeline, settings: settings.sessions, failures: failures)
        lookups = Batcher(on: loop) { ids in await findKeys(ids, pipeline) }
    }

    /// Who calls with this key.
    ///
    /// - Parameter address: the client's. One from which too many wrong keys came gets nothing looked
    ///   up any more; keys that are remembered go on working from there, also when they must be
    ///   looked up again.
    /// - Throws: `.badCredentials`, `.suspended`, `.tooManyFailures`, or `.postgres` when it is not known
    ///   and cannot be looked up.
    package func caller(
        for key: [UInt8], from address: @Sendable () -> IPAddress? = { nil }
    ) async throws(ControlPlaneError) -> Caller {
        guard let id = APIKeySecret.identifier(of: key) else { throw refusal(address()) }
        let now = MonotonicInstant.now
        let entry: Entry
        switch known[id] {
        case .entry(let found) where found.forgetAt > now: entry = found
        case .unknown(let until) where until > now: throw refusal(address())
        case .entry(let stale) where stale.hash == KeyHash(of: key):
            guard let found = try await look(up: id) else { throw refusal(address()) }
            entry = found
        default:
            let client = address()
            if let wait = failures.wait(for: client) { throw .tooManyFailures(retryAfter: wait) }
            guard let found = try await look(up: id) else { throw refusal(client) }
            entry = found
        }
        guard entry.hash == KeyHash(of: key), !entry.isRevoked, entry.expiresAt > .now else {
            throw refusal(address())
        }
        if entry.isSuspended { throw .suspended }
        return entry.caller
    }

    /// Who calls with a session of this key; that there is one is for `Sessions` to say.
    ///
    /// - Throws: as `caller(for:from:)`.
    package func caller(
        ofKey id: String, from address: @Sendable () -> IPAddress?
    ) async throws(ControlPlaneError) -> Caller {
        guard let number = UInt64(id, radix: 16) else { throw refusal(address()) }
        let entry: Entry
        switch known[number] {
        case .entry(let found) where found.forgetAt > .now: entry = found
        case .unknown(let until) where until > .now: throw refusal(address())
        case .entry:
            // Who guesses sessions of a key that is remembered has it looked up once, when it is due.
            guard let found = try await look(up: number) else { throw refusal(address()) }
            entry = found
        default:
            let client = address()
            if let wait = failures.wait(for: client) { throw .tooManyFailures(retryAfter: wait) }
            guard let found = try await look(up: number) else { throw refusal(client) }
            entry = found
        }
        guard !entry.isRevoked, entry.expiresAt > .now else { throw refusal(address()) }
        if entry.isSuspended { throw .suspended }
        return entry.caller
    }

    /// A wrong key's answer, which is counted.
    private func refusal(_ address: IPAddress?) -> ControlPlaneError {
        if let wait = failures.wait(for: address) { return .tooManyFailures(retryAfter: wait) }
        failures.note(address)
        return .badCredentials
    }

    private func look(up id: UInt64) async throws(ControlPlaneError) -> Entry? {
        let before = generation
        lookupCount += 1
        let text = hexadecimal((0..<8).map { UInt8(truncatingIfNeeded: id >> (56 - 8 * $0)) })
        let found: FoundKey?
        do { found = try await lookups(text) } catch { throw .postgres(error) }
        let now = MonotonicInstant.now
        if known.count >= settings.capacity { known.removeAll() }
        guard let found else {
            known[id] = .unknown(until: now.advanced(by: settings.unknownLifetime))
            return nil
        }
        let entry = Entry(
            hash: found.hash, caller: found.caller(loads), isRevoked: found.isRevoked,
            isSuspended: found.isSuspended, expiresAt: found.expiresAt ?? .distantFuture,
            forgetAt: now.advanced(by: settings.lifetime))
        if before == generation { known[id] = .entry(entry) }
        used.insert(text)
        return entry
    }

    /// Forgets what changed, until cancelled; starts anew when the poll could not be made.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask(executorPreference: loop) { await self.lookups.run() }
            group.addTask(executorPreference: loop) { await self.sessions.run() }
            var touchedAt = MonotonicInstant.now
            while !Task.isCancelled {
                do throws(IOError) { try await loop.sleep(for: settings.pollInterval) } catch {
                    break
                }
                await forgetChanged()
                if touchedAt.duration(to: .now) > .seconds(60) {
                    touchedAt = .now
                    await touch()
                }
            }
            group.cancelAll()
        }
    }

    /// Has what changed looked up again; all, if the last poll was longer ago than what is asked for.
    private func forgetChanged() async {
        let began = MonotonicInstant.now
        let span = settings.changeSpan
        guard
            let rows = try? await pipeline.execute(.changedKeys, [.int4(Int32(span.milliseconds))])
        else { return }
        let hasMissed = polledAt.duration(to: began) > span
        polledAt = began
        if rows.isEmpty && !hasMissed { return }
        generation += 1
        let changed =
            hasMissed
            ? Array(known.keys) : rows.compactMap { try? UInt64($0.text(0), radix: 16) }
        for id in changed {
            if case .entry(var entry) = known[id] {
                entry.forgetAt = began
                known[id] = .entry(entry)
            } else {
                known[id] = nil
            }
        }
    }

    /// Notes which keys were in use.
    private func touch() async {
        guard !used.isEmpty else { return }
        let ids = used.sorted()
        used = []
        _ = try? await pipeline.execute(.touchKeys, [.texts(ids)])
    }
}

private struct FoundKey: Sendable {
    let hash: KeyHash
    let id: String
    let tenant: Tenant.ID
    let scopes: Scopes
    let expiresAt: Timestamp?
    let isRevoked: Bool
    let isSuspended: Bool

    init(_ row: Row) throws(PostgresError) {
        hash = KeyHash(try row.bytes("hash"))
        id = try row.text("id")
        tenant = Tenant.ID(try row.uuid("tenant_id"))
        scopes = Scopes(try row.texts("scopes"))
        expiresAt = try row.timestampIfPresent("expires_at")
        isRevoked = try row.bool("revoked")
        isSuspended = try row.bool("suspended")
    }

    func caller(_ loads: TenantLoads) -> Caller {
        Caller(
            tenant: tenant, keyID: id, scopes: scopes, expiresAt: expiresAt,
            load: loads.load(of: tenant))
    }
}

private func findKeys(
    _ ids: [String], _ pipeline: Pipeline
) async -> [Result<FoundKey?, PostgresError>] {
    do throws(PostgresError) {
        var found: [String: FoundKey] = [:]
        for row in try await pipeline.execute(.findKeys, [.texts(ids)]) {
            let key = try FoundKey(row)
            found[key.id] = key
        }
        return ids.map { .success(found[$0]) }
    } catch {
        return ids.map { _ in .failure(error) }
    }
}

extension Statement {
    fileprivate static let findKeys = Statement("key_find", "SELECT * FROM bw_find_keys($1)")
    fileprivate static let changedKeys = Statement(
        "key_changed", "SELECT DISTINCT id FROM bw_changed_keys($1 * interval '1 millisecond')")
    fileprivate static let touchKeys = Statement("key_touch", "SELECT bw_touch_keys($1)")
}
