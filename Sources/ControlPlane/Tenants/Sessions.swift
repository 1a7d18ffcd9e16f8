package import IO
package import Postgres

/// A browser that signed in with a key.
package struct BrowserSession: Hashable, Sendable {
    package let startedAt: Timestamp
    /// Its end, however much it is used.
    package let expiresAt: Timestamp
}

/// The sessions that this loop knows. A session acts with its key's rights, and only while the key does:
/// each call asks the loop's `KeyCache` as well, so that it ends with its key, on every instance within a
/// second.
///
/// Those that are known are looked up again once a minute, which tells the database that they are used; those
/// that were ended are polled, as keys are.
package actor Sessions: LoopBound {
    package struct Settings: Hashable, Sendable {
        /// A session that nobody used for so long is over. An open page uses it.
        package var idle: Duration = .seconds(1800)
        /// A working day.
        package var lifetime: Duration = .seconds(12 * 3600)
        /// Sessions of a key at a time; the oldest gives way.
        package var perKey = 20
        /// How often those that were ended are asked for: as often as changed keys.
        package var pollInterval: Duration = .milliseconds(400)
        /// How far back; longer than a transaction that ends one lasts.
        package var span: Duration = .seconds(15)
        /// How long a look-up counts.
        package var lookup: Duration = .seconds(60)
        /// Sessions remembered; past it the memory starts anew.
        package var capacity = 10_000

        package init() {}
    }

    private struct Known {
        let session: BrowserSession
        let forgetAt: MonotonicInstant
        /// Until then the database need not be told that it is used.
        var isUsedUntil: MonotonicInstant
    }

    private struct Question: Hashable, Sendable {
        let tenant: Tenant.ID
        let hash: String
    }

    package nonisolated let loop: EventLoop
    package nonisolated let settings: Settings
    private let pipeline: Pipeline
    private let failures: FailedKeys
    private let lookups: Batcher<Question, BrowserSession?>
    private var known: [String: Known] = [:]
    private var polledAt = MonotonicInstant.now
    /// Those that the last poll saw ended: an answer about one that was on its way meanwhile is not remembered.
    private var ended: Set<String> = []
    /// Rises when one is ended here, or a poll missed some: no answer that was on its way is remembered.
    private var generation = 0

    init(on loop: EventLoop, pipeline: Pipeline, settings: Settings, failures: FailedKeys) {
        self.loop = loop
        self.settings = settings
        self.pipeline = pipeline
        self.failures = failures
        let idle = settings.idle
        lookups = Batcher(on: loop) { questions in await Self.find(questions, idle, pipeline) }
    }

    /// The session of a token whose key is a good one of `tenant`.
    ///
    /// - Parameter address: the client's; wrong tokens are counted with its wrong keys.
    /// - Throws: `.badCredentials` for one that is over or never was, `.tooManyFailures`, `.postgres`.
    package func session(
        _ token: SessionToken, of tenant: Tenant.ID, from address: IPAddress?
    ) async throws(ControlPlaneError) -> BrowserSession {
        let hash = token.hash
        if let known = known[hash] {
            if known.isUsedUntil > .now, known.session.expiresAt > .now { return known.session }
        } else if let wait = failures.wait(for: address) {
            // One that is remembered goes on working from there, also when it must be looked up again.
            throw .tooManyFailures(retryAfter: wait)
        }
        let before = generation
        let found: BrowserSession?
        do throws(PostgresError) {
            found = try await lookups(Question(tenant: tenant, hash: hash))
        } catch {
            throw .postgres(error)
        }
        guard let found else {
            known[hash] = nil
            failures.note(address)
            throw .badCredentials
        }
        remember(found, hash, isUsed: true, if: before)
        return found
    }

    /// Whether a session that began a stream goes on; asking is not using it, so that an open stream that nobody
    /// looks at ends with the idle session.
    package func goesOn(
        _ token: SessionToken, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Bool {
        let hash = token.hash
        if let known = known[hash], known.forgetAt > .now {
            return known.session.expiresAt > .now
        }
        let before = generation
        let rows = try await run(
            [(.sessionPeek, [.text(hash), .int8(settings.idle.milliseconds)])], of: tenant)
        guard let row = rows.first else {
            known[hash] = nil
            return false
        }
        remember(try decode(row, BrowserSession.init), hash, isUsed: false, if: before)
        return true
    }

    /// - Parameter before: the generation when it was asked for.
    private func remember(
        _ session: BrowserSession, _ hash: String, isUsed: Bool, if before: Int
    ) {
        guard before == generation, !ended.contains(hash) else { return }
        if known.count >= settings.capacity { known.removeAll() }
        // An idle one must not outlive its look-up.
        let end = MonotonicInstant.now.advanced(by: min(settings.lookup, settings.idle / 2))
        let used = isUsed ? end : known[hash]?.isUsedUntil ?? .now
        known[hash] = Known(session: session, forgetAt: end, isUsedUntil: used)
    }

    /// Begins a session of a key that was just proven.
    package func start(
        for caller: Caller, by actor: Actor
    ) async throws(ControlPlaneError) -> (token: SessionToken, session: BrowserSession) {
        var random = SystemRandomNumberGenerator()
        let token = SessionToken(key: caller.keyID, using: &random)
        let rows = try await run(
            [
                (.sessionMakeRoom, [.text(caller.keyID), .int8(Int64(settings.perKey - 1))]),
                actor.audits("session.start", caller.keyID, of: caller.tenant),
                (
                    .sessionStart,
                    [.text(token.hash), .text(caller.keyID), .int8(settings.lifetime.milliseconds)]
                ),
            ], of: caller.tenant)
        guard let row = rows.first else { throw .postgres(.decode("no session")) }
        return (token, try decode(row, BrowserSession.init))
    }

    /// Ends a session, here at once, on every instance within a second. Again is no error.
    package func end(
        _ token: SessionToken, of caller: Caller, by actor: Actor
    ) async throws(ControlPlaneError) {
        generation += 1
        known[token.hash] = nil
        _ = try await run(
            [
                actor.audits("session.end", caller.keyID, of: caller.tenant),
                (.sessionEnd, [.text(token.hash)]),
            ], of: caller.tenant)
        generation += 1
        known[token.hash] = nil
    }

    private func run(
        _ steps: [Pipeline.Step], of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Rows {
        try await Directory(pipeline).run(tenant: tenant, steps)
    }

    // MARK: Life

    /// Forgets those that were ended, until cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask(executorPreference: loop) { await self.lookups.run() }
            while !Task.isCancelled {
                do throws(IOError) { try await loop.sleep(for: settings.pollInterval) } catch {
                    break
                }
                await forgetEnded()
            }
            group.cancelAll()
        }
    }

    /// All of them: each is looked up again. For tests.
    package func forget() {
        generation += 1
        known.removeAll()
    }

    private func forgetEnded() async {
        let began = MonotonicInstant.now
        guard !known.isEmpty else {
            // There is nothing to forget; a look-up that is on its way is from now on.
            polledAt = began
            return
        }
        let span = Int64(settings.span.milliseconds)
        guard let rows = try? await pipeline.execute(.sessionsEnded, [.int8(span)]) else { return }
        let hasMissed = polledAt.duration(to: began) > settings.span
        polledAt = began
        ended = Set(rows.compactMap { try? $0.text(0) })
        for hash in ended { known[hash] = nil }
        if hasMissed {
            generation += 1
            known.removeAll()
        }
    }

    private static func find(
        _ questions: [Question], _ idle: Duration, _ pipeline: Pipeline
    ) async -> [Result<BrowserSession?, PostgresError>] {
        do throws(PostgresError) {
            let asked = Array(Set(questions))
            let rows = try await pipeline.execute(
                .sessionsFind,
                [
                    .uuids(asked.map(\.tenant.uuid)), .texts(asked.map(\.hash)),
                    .int8(idle.milliseconds),
                ])
            var found: [Question: BrowserSession] = [:]
            for row in rows {
                let tenant = Tenant.ID(try row.uuid("tenant_id"))
                found[Question(tenant: tenant, hash: try row.text("hash"))] = try BrowserSession(row)
            }
            return questions.map { .success(found[$0]) }
        } catch {
            return questions.map { _ in .failure(error) }
        }
    }
}

extension BrowserSession {
    init(_ row: Row) throws(PostgresError) {
        startedAt = try row.timestamp("created_at")
        expiresAt = try row.timestamp("expires_at")
    }
}

extension Statement {
    fileprivate static let sessionsFind = Statement(
        "sessions_find", "SELECT * FROM bw_find_sessions($1, $2, $3 * interval '1 millisecond')")
    fileprivate static let sessionsEnded = Statement(
        "sessions_ended", "SELECT hash FROM bw_ended_sessions($1 * interval '1 millisecond')")
    /// As `bw_find_sessions`, without the mark that it is used.
    fileprivate static let sessionPeek = Statement(
        "session_peek",
        """
        SELECT created_at, expires_at FROM session
        WHERE  tenant_id = bw_tenant() AND hash = decode($1, 'hex') AND ended_at IS NULL
        AND    expires_at > clock_timestamp()
        AND    seen_at > clock_timestamp() - $2 * interval '1 millisecond'
        """)
    /// Leaves the key at most so many, the newest.
    fileprivate static let sessionMakeRoom = Statement(
        "session_make_room",
        """
        UPDATE session SET ended_at = clock_timestamp()
        WHERE  tenant_id = bw_tenant() AND hash IN (
            SELECT hash FROM session
            WHERE  tenant_id = bw_tenant() AND key_id = $1 AND ended_at IS NULL
            ORDER  BY created_at DESC, hash OFFSET $2)
        """)
    fileprivate static let sessionStart = Statement(
        "session_start",
        """
        INSERT INTO session (tenant_id, hash, key_id, expires_at)
        VALUES (bw_tenant(), decode($1, 'hex'), $2, clock_timestamp() + $3 * interval '1 millisecond')
        RETURNING created_at, expires_at
        """)
    fileprivate static let sessionEnd = Statement(
        "session_end",
        """
        UPDATE session SET ended_at = coalesce(ended_at, clock_timestamp())
        WHERE  tenant_id = bw_tenant() AND hash = decode($1, 'hex') RETURNING expires_at
        """)
}
