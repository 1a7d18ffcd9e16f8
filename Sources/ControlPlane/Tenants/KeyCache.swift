package import IO
package import Postgres

/// What this loop knows of API keys, so that a request on the hot path costs no SQL.
///
/// The truth is polled: every `pollInterval` the keys changed within `changeSpan` are forgotten, so
/// that a revocation holds on every instance within a second. While the database is away nothing can
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

        package init() {}
    }

    private struct Entry {
        let hash: KeyHash
        let caller: Caller
        let isRevoked: Bool
        let isSuspended: Bool
        /// Wall clock of this machine; the key's own expiry, in microseconds.
        let expiresAt: Timestamp
        let forgetAt: MonotonicInstant
    }

    private enum Known {
        case entry(Entry)
        case unknown(until: MonotonicInstant)
    }

    package nonisolated let loop: EventLoop
    private let settings: Settings
    private let pipeline: Pipeline
    private let lookups: Batcher<String, FoundKey?>
    private var known: [UInt64: Known] = [:]
    /// Rises with each forgetting: an answer that was on its way meanwhile is not remembered.
    private var generation = 0
    private var used: Set<String> = []

    package init(on loop: EventLoop, pipeline: Pipeline, settings: Settings = Settings()) {
        self.loop = loop
        self.settings = settings
        self.pipeline = pipeline
        lookups = Batcher(on: loop) { ids in await findKeys(ids, pipeline) }
    }

    /// Who calls with this key.
    ///
    /// - Throws: `.badCredentials`, `.suspended`, or `.postgres` when it is not known and cannot be
    ///   looked up.
    package func caller(for key: [UInt8]) async throws(ControlPlaneError) -> Caller {
        guard let id = APIKeySecret.identifier(of: key) else { throw .badCredentials }
        let now = MonotonicInstant.now
        let entry: Entry
        switch known[id] {
        case .entry(let found) where found.forgetAt > now: entry = found
        case .unknown(let until) where until > now: throw .badCredentials
        default:
            guard let found = try await look(up: id) else { throw .badCredentials }
            entry = found
        }
        guard entry.hash == KeyHash(of: key), !entry.isRevoked, entry.expiresAt > .now else {
            throw .badCredentials
        }
        if entry.isSuspended { throw .suspended }
        return entry.caller
    }

    private func look(up id: UInt64) async throws(ControlPlaneError) -> Entry? {
        let before = generation
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
            hash: found.hash, caller: found.caller, isRevoked: found.isRevoked,
            isSuspended: found.isSuspended, expiresAt: found.caller.expiresAt ?? .distantFuture,
            forgetAt: now.advanced(by: settings.lifetime))
        if before == generation { known[id] = .entry(entry) }
        used.insert(text)
        return entry
    }

    /// Forgets what changed, until cancelled; starts anew when the poll could not be made.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask(executorPreference: loop) { await self.lookups.run() }
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

    private func forgetChanged() async {
        let seconds = settings.changeSpan.milliseconds
        guard let rows = try? await pipeline.execute(.changedKeys, [.int4(Int32(seconds))]),
            !rows.isEmpty
        else { return }
        generation += 1
        for row in rows {
            guard let text = try? row.text(0), let id = UInt64(text, radix: 16) else { continue }
            known[id] = nil
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
    let caller: Caller
    let isRevoked: Bool
    let isSuspended: Bool

    init(_ row: Row) throws(PostgresError) {
        hash = KeyHash(try row.bytes("hash"))
        caller = Caller(
            tenant: Tenant.ID(try row.uuid("tenant_id")), keyID: try row.text("id"),
            scopes: Scopes(try row.texts("scopes")),
            expiresAt: try row.timestampIfPresent("expires_at"))
        isRevoked = try row.bool("revoked")
        isSuspended = try row.bool("suspended")
    }
}

private func findKeys(
    _ ids: [String], _ pipeline: Pipeline
) async -> [Result<FoundKey?, PostgresError>] {
    do throws(PostgresError) {
        var found: [String: FoundKey] = [:]
        for row in try await pipeline.execute(.findKeys, [.texts(ids)]) {
            let key = try FoundKey(row)
            found[key.caller.keyID] = key
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
