internal import IO
internal import JSON
package import Postgres

/// The rows of sandboxes: every write is a move of the state machine, conditional on where the row stands,
/// with its event in the same statement. No transaction is open across a call to a provider.
package struct SandboxStore: Sendable {
    private let pipeline: Pipeline
    let instance: String
    let directory: Directory
    let leaseMargin: Duration

    /// - Parameter leaseMargin: how much longer than its deadline a request is left to its instance
    ///   before others settle it.
    package init(_ pipeline: Pipeline, instance: String, leaseMargin: Duration) {
        self.pipeline = pipeline
        directory = Directory(pipeline)
        self.instance = instance
        self.leaseMargin = leaseMargin
    }

    // MARK: Moving

    /// Moves a sandbox if it stands where that is allowed; nil: it does not.
    package func move(
        _ id: UUID, of tenant: Tenant.ID, to state: SandboxState, why: SandboxReason?,
        by actor: String? = nil, from sources: Set<SandboxState>? = nil,
        _ facts: SandboxFacts = SandboxFacts()
    ) async throws(ControlPlaneError) -> Sandbox? {
        let allowed = sources.map(state.sources.intersection) ?? state.sources
        return try await moved(.sandboxMove, id, tenant, allowed, state, why, actor, facts)
    }

    /// The same as a step of a transaction.
    func move(
        _ id: UUID, to state: SandboxState, why: SandboxReason?, by actor: String,
        from sources: Set<SandboxState>
    ) -> Pipeline.Step {
        step(.sandboxMove, id, sources, state, why, actor, SandboxFacts())
    }

    /// Ends a request that has no sandbox. False: it was over already.
    package func end(
        _ request: UUID, of tenant: Tenant.ID, as state: SandboxRequestState,
        kind: ErrorKind? = nil, error: String? = nil
    ) async throws(ControlPlaneError) -> Bool {
        try await !run(
            [
                (
                    .requestEnd,
                    [
                        .uuid(request), .text(state.rawValue), .text(kind?.rawValue),
                        .text(error.map { redacted(String($0.prefix(2000))) }),
                    ]
                )
            ], of: tenant
        ).isEmpty
    }

    /// Takes a sandbox back from its request, which has failed by it, and has it killed.
    func refuse(
        _ row: Sandbox, _ kind: ErrorKind, _ error: String
    ) async throws(ControlPlaneError) {
        _ = try await run(
            [
                (
                    .requestRefuse,
                    [
                        .uuid(row.request), .uuid(row.id), .text(kind.rawValue),
                        .text(redacted(String(error.prefix(2000)))),
                    ]
                ), move(row.id, to: .stopping, why: .refused, by: instance, from: [.running]),
            ], of: row.tenant)
    }

    /// Promises another life from now on, and leaves the task that gives it; nil: it is not running.
    package func setLife(
        _ id: UUID, of tenant: Tenant.ID, to life: Duration
    ) async throws(ControlPlaneError) -> Sandbox? {
        guard
            let row = try await run(
                [(.sandboxSetLife, [.uuid(id), .int8(life.milliseconds)])], of: tenant
            ).first
        else { return nil }
        return try decode(row, Sandbox.init)
    }

    /// Takes a promised end back, if it is the one that stands.
    package func changeLife(
        _ id: UUID, of tenant: Tenant.ID, from promised: Timestamp, to end: Timestamp?
    ) async throws(ControlPlaneError) {
        _ = try await run(
            [(.sandboxChangeLife, [.uuid(id), .timestamp(promised), .timestamp(end)])], of: tenant)
    }

    /// Has one that is near its end live for so long at least. Its end then; nil: it does not run any more.
    package func hold(
        _ id: UUID, of tenant: Tenant.ID, for time: Duration
    ) async throws(ControlPlaneError) -> Timestamp? {
        let rows = try await run(
            [(.sandboxHold, [.uuid(id), .int8(time.milliseconds)])], of: tenant)
        do throws(PostgresError) { return try rows.first?.timestamp(0) } catch {
            throw .postgres(error)
        }
    }

    /// Notes whether its provider is to pause it at its end.
    package func setPauses(
        _ id: UUID, of tenant: Tenant.ID, to pauses: Bool
    ) async throws(ControlPlaneError) {
        _ = try await run([(.sandboxSetPauses, [.uuid(id), .bool(pauses)])], of: tenant)
    }

    // MARK: Reading

    package func sandbox(
        _ id: UUID, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Sandbox {
        guard let row = try await run([(.sandboxGet, [.uuid(id)])], of: tenant).first else {
            throw .notFound("sandbox")
        }
        return try decode(row, Sandbox.init)
    }

    /// The sandbox that a provider's id names, whatever became of it.
    package func sandbox(
        providerID: String, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Sandbox {
        guard
            let row = try await run([(.sandboxByProvider, [.text(providerID)])], of: tenant).first
        else { throw .notFound("sandbox") }
        return try decode(row, Sandbox.init)
    }

    package func request(
        _ id: UUID, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> SandboxRequest {
        guard let row = try await run([(.requestGet, [.uuid(id)])], of: tenant).first else {
            throw .notFound("request")
        }
        return try decode(row, SandboxRequest.init)
    }

    /// The newest first, those before `before`.
    package func list(
        of tenant: Tenant.ID, states: [SandboxState], before: UUID?, limit: Int
    ) async throws(ControlPlaneError) -> [Sandbox] {
        let wanted = states.isEmpty ? SandboxState.allCases : states
        let rows = try await run(
            [
                (
                    .sandboxList,
                    [.texts(wanted.map(\.rawValue)), .uuid(before), .int8(Int64(limit))]
                )
            ], of: tenant)
        return try decodeAll(rows, Sandbox.init)
    }

    /// Its moves in order.
    package func history(
        of id: UUID, tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> [SandboxMove] {
        try decodeAll(
            try await run([(.sandboxHistory, [.uuid(id)])], of: tenant), SandboxMove.init)
    }

    // MARK: Running

    private func moved(
        _ statement: Statement, _ id: UUID, _ tenant: Tenant.ID, _ sources: Set<SandboxState>,
        _ state: SandboxState, _ why: SandboxReason?, _ actor: String?, _ facts: SandboxFacts
    ) async throws(ControlPlaneError) -> Sandbox? {
        let rows = try await run(
            [step(statement, id, sources, state, why, actor, facts)], of: tenant)
        guard let row = rows.first else { return nil }
        return try decode(row, Sandbox.init)
    }

    private func step(
        _ statement: Statement, _ id: UUID, _ sources: Set<SandboxState>, _ state: SandboxState,
        _ why: SandboxReason?, _ actor: String?, _ facts: SandboxFacts
    ) -> Pipeline.Step {
        (
            statement,
            [
                .uuid(id), .texts(sources.map(\.rawValue)), .text(state.rawValue),
                .text(why?.rawValue), .text(actor ?? instance), .jsonb(facts.json),
            ]
        )
    }

    /// Over all tenants.
    func asOperator(
        _ statement: Statement, _ parameters: [Parameter]
    ) async throws(ControlPlaneError) -> Rows {
        do throws(PostgresError) {
            return try await pipeline.transaction([(.enterOperator, []), (statement, parameters)])[
                1]
        } catch {
            throw .postgres(error)
        }
    }

    /// What enters the tenants itself.
    func execute(
        _ statement: Statement, _ parameters: [Parameter]
    ) async throws(ControlPlaneError) -> Rows {
        do throws(PostgresError) { return try await pipeline.execute(statement, parameters) } catch
        {
            throw .postgres(error)
        }
    }

    /// In one transaction of the tenant; the rows of the last step.
    func run(
        _ steps: [Pipeline.Step], of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> Rows {
        do throws(PostgresError) {
            guard let last = try await pipeline.transaction(tenant: tenant.uuid, steps).last else {
                throw .decode("no answer")
            }
            return last
        } catch .uniqueViolation(constraint: "idempotency_pkey") {
            throw .conflict("a request with this Idempotency-Key has just begun")
        } catch {
            throw .postgres(error)
        }
    }
}

extension SandboxFacts {
    var json: String {
        var writer = JSONWriter()
        writer.object {
            $0.member("providerId", ifPresent: providerID)
            $0.member("domain", ifPresent: domain)
            $0.member("health", ifPresent: health?.rawValue)
            $0.member("startedAt", ifPresent: startedAt?.description)
            $0.member("endsAt", ifPresent: endsAt?.description)
            $0.member("providerEndsAt", ifPresent: providerEndsAt?.description)
            $0.member("detail", ifPresent: detail.map(redacted))
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}

extension Statement {
    fileprivate static let sandboxMove = Statement(
        "sandbox_move", "SELECT * FROM bw_sandbox_move($1, $2, $3, $4, $5, $6)")
    fileprivate static let sandboxSetLife = Statement(
        "sandbox_set_life",
        """
        WITH set AS (
            UPDATE sandbox SET ends_at = clock_timestamp() + $2 * interval '1 millisecond'
            WHERE  tenant_id = bw_tenant() AND id = $1 AND state IN ('booting', 'running') RETURNING *),
        told AS (
            INSERT INTO task (tenant_id, id, kind, payload, max_attempts, not_before)
            SELECT tenant_id, gen_random_uuid(), 'sandbox.extend', jsonb_build_object('sandbox', id), 20,
                   clock_timestamp() + interval '5 seconds' FROM set)
        SELECT * FROM set
        """)
    fileprivate static let sandboxChangeLife = Statement(
        "sandbox_change_life",
        "UPDATE sandbox SET ends_at = $3 WHERE tenant_id = bw_tenant() AND id = $1 AND ends_at = $2"
    )
    fileprivate static let sandboxHold = Statement(
        "sandbox_hold",
        """
        UPDATE sandbox SET ends_at = greatest(ends_at, clock_timestamp() + $2 * interval '1 millisecond')
        WHERE  tenant_id = bw_tenant() AND id = $1 AND state = 'running' RETURNING ends_at
        """)
    fileprivate static let sandboxSetPauses = Statement(
        "sandbox_set_pauses",
        "UPDATE sandbox SET pauses = $2 WHERE tenant_id = bw_tenant() AND id = $1")
    fileprivate static let requestEnd = Statement(
        "sandbox_request_end",
        """
        UPDATE sandbox_request
        SET    state = $2, error_kind = $3, error = $4, ended_at = clock_timestamp(), holder = NULL,
               lease_until = NULL
        WHERE  tenant_id = bw_tenant() AND id = $1 AND ended_at IS NULL RETURNING id
        """)
    fileprivate static let requestRefuse = Statement(
        "sandbox_request_refuse",
        """
        UPDATE sandbox_request
        SET    state = 'failed', sandbox_id = NULL, error_kind = $3, error = $4
        WHERE  tenant_id = bw_tenant() AND id = $1 AND sandbox_id = $2
        """)
    fileprivate static let sandboxGet = Statement(
        "sandbox_get", "SELECT * FROM sandbox WHERE tenant_id = bw_tenant() AND id = $1")
    fileprivate static let sandboxByProvider = Statement(
        "sandbox_by_provider",
        """
        SELECT * FROM sandbox WHERE tenant_id = bw_tenant() AND provider_id = $1
        ORDER  BY created_at DESC LIMIT 1
        """)
    fileprivate static let requestGet = Statement(
        "sandbox_request_get",
        "SELECT * FROM sandbox_request WHERE tenant_id = bw_tenant() AND id = $1")
    fileprivate static let sandboxList = Statement(
        "sandbox_list",
        """
        SELECT * FROM sandbox
        WHERE  tenant_id = bw_tenant() AND state = ANY ($1) AND ($2 IS NULL OR id < $2)
        ORDER  BY id DESC LIMIT $3
        """)
    fileprivate static let sandboxHistory = Statement(
        "sandbox_history",
        "SELECT * FROM sandbox_event WHERE tenant_id = bw_tenant() AND sandbox_id = $1 ORDER BY version"
    )
}
