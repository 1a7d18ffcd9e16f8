internal import IO
internal import Postgres

/// What jobs do with the rows.
extension SandboxStore {
    /// The rows of a region that are not over, and the database's time just before they were read.
    func live(
        in region: String, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> (at: Timestamp, rows: [Sandbox]) {
        let clock = try await run([(.clock, [])], of: tenant)
        let rows = try await run([(.sandboxesLive, [.text(region)])], of: tenant)
        do throws(PostgresError) {
            return (try clock.only().timestamp(0), try rows.map(Sandbox.init))
        } catch { throw .postgres(error) }
    }

    func sandboxes(
        _ ids: [UUID], of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> [Sandbox] {
        if ids.isEmpty { return [] }
        return try decodeAll(
            try await run([(.sandboxesByID, [.uuids(ids)])], of: tenant), Sandbox.init)
    }

    /// Those of several tenants, by their ids.
    func sandboxes(
        _ ids: [(tenant: Tenant.ID, id: UUID)]
    ) async throws(ControlPlaneError) -> [UUID: Sandbox] {
        let rows = try await execute(
            .sandboxesGet, [.uuids(ids.map(\.tenant.uuid)), .uuids(ids.map(\.id))])
        var byID: [UUID: Sandbox] = [:]
        for sandbox in try decodeAll(rows, Sandbox.init) { byID[sandbox.id] = sandbox }
        return byID
    }

    /// A complete list holds them, with the ends that it tells.
    func seen(
        _ shown: [(id: UUID, endsAt: Timestamp?)], of tenant: Tenant.ID
    ) async throws(ControlPlaneError) {
        for start in stride(from: 0, to: shown.count, by: Self.chunk) {
            let some = shown[start..<min(start + Self.chunk, shown.count)]
            _ = try await run(
                [
                    (
                        .sandboxesSeen,
                        [.uuids(some.map(\.id)), .optionalTimestamps(some.map(\.endsAt))]
                    )
                ], of: tenant)
        }
    }

    /// Rows of one transaction: short enough that nobody on the same connection waits for long.
    private static let chunk = 100

    /// A complete list does not hold it; how many in a row, counted at least `spacing` apart.
    func missed(
        _ id: UUID, of tenant: Tenant.ID, spacing: Duration
    ) async throws(ControlPlaneError) -> Int {
        let rows = try await run(
            [(.sandboxMissed, [.uuid(id), .int8(spacing.milliseconds)])], of: tenant)
        guard let row = rows.first else { return 0 }
        do throws(PostgresError) { return Int(try row.int16(0)) } catch { throw .postgres(error) }
    }

    /// Takes one that no row of ours knows, and has it killed. False: that is under way already.
    func addOrphan(
        _ sandbox: ProviderSandbox, in region: String, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Bool {
        let id = UUID.v7()
        return try await !run(
            [
                (
                    .orphanAdd,
                    [
                        .uuid(id), .text(region), .text(sandbox.template), .text(sandbox.id),
                        .timestamp(sandbox.startedAt), .text("system"),
                    ]
                ), move(id, to: .stopping, why: .leaked, by: "system", from: [.orphan]),
            ], of: tenant
        ).isEmpty
    }

    /// Makes tries unknown that stand as under way though their request is over: their end could not be
    /// written. Their number.
    func expireTries(olderThan age: Duration, limit: Int) async throws(ControlPlaneError) -> Int {
        let left = try await asOperator(
            .triesLeft, [.int8(age.milliseconds), .int8(Int64(limit))])
        for row in left {
            let (tenant, id) = try ids(row)
            _ = try await move(
                id, of: tenant, to: .createUnknown, why: .workerLost, by: "system",
                from: [.creating])
        }
        return left.count
    }

    /// Ends requests whose instance is gone, or did not end them by their lease, makes their tries unknown, and has killed what was made
    /// and not handed out; the numbers of requests and of both. One that fails holds no other up.
    func expireRequests(
        limit: Int, silence: Duration
    ) async throws(ControlPlaneError) -> (requests: Int, tries: Int) {
        let overdue = try await asOperator(
            .requestsOverdue, [.int8(Int64(limit)), .int8(silence.milliseconds)])
        var (requests, tries) = (0, 0)
        var failure: ControlPlaneError?
        for row in overdue {
            do throws(ControlPlaneError) {
                tries += try await expire(try ids(row))
                requests += 1
            } catch { failure = error }
        }
        if let failure { throw failure }
        return (requests, tries)
    }

    private func expire(
        _ request: (tenant: Tenant.ID, id: UUID)
    ) async throws(ControlPlaneError) -> Int {
        var tries = 0
        for row in try await run([(.requestCreating, [.uuid(request.id)])], of: request.tenant) {
            let sandbox = try decode(row, Sandbox.init)
            let isMade = sandbox.state == .booting
            let moved = try await move(
                sandbox.id, of: request.tenant, to: isMade ? .stopping : .createUnknown,
                why: isMade ? .abandoned : .workerLost, by: "system", from: [sandbox.state])
            if moved != nil { tries += 1 }
        }
        _ = try await end(
            request.id, of: request.tenant, as: .expired,
            error:
                "the instance that worked on it stopped before its end, and nothing of it is kept: ask again, with another Idempotency-Key if there was one"
        )
        return tries
    }

    /// Has at most `limit` of those killed whose life is over; their number. What is paused, or pauses at
    /// that end, is its tenant's to keep.
    func expireSandboxes(limit: Int) async throws(ControlPlaneError) -> Int {
        var ended = 0
        while ended < limit {
            let rows = try await asOperator(
                .sandboxesExpire, [.int4(Int32(Self.chunk)), .text("system")])
            let count: Int
            do throws(PostgresError) { count = Int(try rows.only().int64(0)) } catch {
                throw .postgres(error)
            }
            ended += count
            if count < Self.chunk { break }
        }
        return ended
    }

    /// The step that moves sandboxes, each that stands where that is allowed, without other facts.
    func moves(
        _ sandboxes: [Sandbox], to state: SandboxState
    ) -> Pipeline.Step {
        (
            .sandboxesMove,
            [
                .uuids(sandboxes.map(\.tenant.uuid)), .uuids(sandboxes.map(\.id)),
                .texts(state.sources.map(\.rawValue)), .text(state.rawValue),
                .optionalTexts(sandboxes.map(\.reason?.rawValue)), .text(instance),
            ]
        )
    }

    private func ids(_ row: Row) throws(ControlPlaneError) -> (Tenant.ID, UUID) {
        do throws(PostgresError) {
            return (Tenant.ID(try row.uuid(0)), try row.uuid(1))
        } catch { throw .postgres(error) }
    }
}

extension Statement {
    fileprivate static let clock = Statement("clock", "SELECT clock_timestamp()")
    fileprivate static let sandboxesLive = Statement(
        "sandboxes_live",
        "SELECT * FROM sandbox WHERE tenant_id = bw_tenant() AND region = $1 AND ended_at IS NULL")
    fileprivate static let sandboxesByID = Statement(
        "sandboxes_by_id", "SELECT * FROM sandbox WHERE tenant_id = bw_tenant() AND id = ANY ($1)")
    fileprivate static let sandboxesGet = Statement(
        "sandboxes_get", "SELECT * FROM bw_sandboxes_get($1, $2)")
    fileprivate static let sandboxesSeen = Statement(
        "sandboxes_seen", "SELECT bw_sandboxes_seen($1, $2)")
    fileprivate static let sandboxesExpire = Statement(
        "sandboxes_expire", "SELECT bw_sandboxes_expire($1, $2)")
    fileprivate static let sandboxesMove = Statement(
        "sandboxes_move", "SELECT * FROM bw_sandboxes_move($1, $2, $3, $4, $5, $6)")
    fileprivate static let sandboxMissed = Statement(
        "sandbox_missed",
        """
        UPDATE sandbox
        SET    misses = misses + CASE WHEN missed_at IS NULL
                                      OR missed_at <= clock_timestamp() - $2 * interval '1 millisecond'
                                      THEN 1 ELSE 0 END,
               missed_at = CASE WHEN missed_at IS NULL
                                OR missed_at <= clock_timestamp() - $2 * interval '1 millisecond'
                                THEN clock_timestamp() ELSE missed_at END
        WHERE  tenant_id = bw_tenant() AND id = $1 AND ended_at IS NULL RETURNING misses
        """)
    fileprivate static let orphanAdd = Statement(
        "orphan_add",
        """
        WITH made AS (
            INSERT INTO sandbox (tenant_id, id, request_id, attempt, state, region, template, provider_id, started_at)
            VALUES (bw_tenant(), $1, $1, 0, 'orphan', $2, $3, $4, $5)
            ON CONFLICT DO NOTHING RETURNING *)
        INSERT INTO sandbox_event (tenant_id, sandbox_id, version, to_state, reason, actor)
        SELECT tenant_id, id, version, state, 'leaked', $6 FROM made
        """)
    fileprivate static let requestsOverdue = Statement(
        "sandbox_requests_overdue",
        """
        SELECT tenant_id, id FROM sandbox_request
        WHERE  ended_at IS NULL
        AND   (lease_until < clock_timestamp() OR bw_is_gone(holder, created_at, $2))
        ORDER  BY lease_until LIMIT $1
        """)
    fileprivate static let triesLeft = Statement(
        "sandbox_tries_left",
        """
        SELECT s.tenant_id, s.id FROM sandbox AS s
        JOIN   sandbox_request AS r ON r.tenant_id = s.tenant_id AND r.id = s.request_id
        WHERE  s.ended_at IS NULL AND s.state = 'creating' AND r.ended_at IS NOT NULL
        AND    s.created_at < clock_timestamp() - $1 * interval '1 millisecond' LIMIT $2
        """)
    fileprivate static let requestCreating = Statement(
        "sandbox_request_creating",
        """
        SELECT * FROM sandbox
        WHERE  tenant_id = bw_tenant() AND request_id = $1 AND state IN ('creating', 'booting')
        AND    ended_at IS NULL  -- by the index of what lives
        """)
}
