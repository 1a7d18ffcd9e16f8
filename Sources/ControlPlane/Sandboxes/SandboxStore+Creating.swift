internal import IO
package import Postgres

/// What is to be made: of a request, its first try or another.
package struct SandboxPlan: Hashable, Sendable {
    package let tenant: Tenant.ID
    package let request: UUID
    package let way: SandboxRequest.Way
    package let template: String
    package let framework: String?
    package let region: String
    package let life: Duration
    /// The provider is to pause it at the end of its life, not to end it.
    package let pauses: Bool
    /// The tenant's own metadata, a JSON object of texts.
    package let metadata: String
    package let traceID: String?
    /// From now on.
    package let deadline: Duration

    package init(
        tenant: Tenant.ID, request: UUID = .v7(), way: SandboxRequest.Way, template: String,
        framework: String? = nil, region: String, life: Duration, pauses: Bool = false,
        metadata: String = "{}", traceID: String? = nil, deadline: Duration
    ) {
        self.tenant = tenant
        self.request = request
        self.way = way
        self.template = template
        self.framework = framework
        self.region = region
        self.life = life
        self.pauses = pauses
        self.metadata = metadata
        self.traceID = traceID
        self.deadline = deadline
    }
}

/// A try of a plan, to be committed before the provider is called; with the first one its request.
package struct PlannedTry: Hashable, Sendable {
    let plan: SandboxPlan
    let id: UUID
    /// From 1.
    let attempt: Int
    /// The one that takes the place of the plan's.
    let template: String?
    let idempotency: Idempotency?
    /// Sandboxes that the tenant may have, this one among them.
    let most: Int?

    package init(
        _ plan: SandboxPlan, id: UUID = .v7(), attempt: Int = 1, template: String? = nil,
        remembering idempotency: Idempotency? = nil, most: Int? = nil
    ) {
        self.plan = plan
        self.id = id
        self.attempt = attempt
        self.template = template
        self.idempotency = idempotency
        self.most = most
    }
}

/// A sandbox that the provider has made, or one that was held back and works.
package struct MadeSandbox: Hashable, Sendable {
    let id: UUID
    let tenant: Tenant.ID
    let facts: SandboxFacts
    /// `booting`: it is held back.
    let state: SandboxState
    let reason: SandboxReason?
    let actor: String?

    package init(
        _ id: UUID, of tenant: Tenant.ID, _ facts: SandboxFacts, as state: SandboxState = .running,
        why reason: SandboxReason? = nil, by actor: String? = nil
    ) {
        self.id = id
        self.tenant = tenant
        self.facts = facts
        self.state = state
        self.reason = reason
        self.actor = actor
    }
}

/// A life that the provider has given.
package struct GivenLife: Hashable, Sendable {
    let id: UUID
    let tenant: Tenant.ID
    /// Its end, as the row had it when the provider was asked.
    let endsAt: Timestamp

    package init(id: UUID, tenant: Tenant.ID, endsAt: Timestamp) {
        self.id = id
        self.tenant = tenant
        self.endsAt = endsAt
    }
}

/// What a creation writes. Each takes many, of any tenants: a statement for many costs little more than for one,
/// and they have one commit.
extension SandboxStore {
    package typealias PlanResult = Result<Sandbox, ControlPlaneError>
    /// nil: it stood elsewhere.
    package typealias MadeResult = Result<Sandbox?, ControlPlaneError>

    /// Commits the intents of tries.
    ///
    /// Fails with `.conflict` where the request is over, or its idempotency key is another's by now;
    /// `.tooManySandboxes`.
    package func plan(_ tries: [PlannedTry]) async -> [PlanResult] {
        struct Group: Hashable {
            let most: Int?
            // A key that is another's undoes its transaction.
            let alone: UUID?
        }
        return await grouped(
            tries, by: { Group(most: $0.most, alone: $0.idempotency == nil ? nil : $0.id) },
            write: planTogether)
    }

    /// Throws `.tooManySandboxes` where the tenant has `most` already; what has room now may not have it
    /// when it is planned.
    package func hasRoom(for most: Int, of tenant: Tenant.ID) async throws(ControlPlaneError) {
        let rows = try await run([(.sandboxSpace, [.int4(Int32(clamping: most))])], of: tenant)
        do throws(PostgresError) {
            if try rows.only().int32(0) > 0 { return }
        } catch { throw .postgres(error) }
        throw .tooManySandboxes(most: most)
    }

    /// Binds each to its request while that is open; else it is on its way to be killed.
    package func made(_ sandboxes: [MadeSandbox]) async -> [MadeResult] {
        struct Group: Hashable {
            let state: SandboxState
            let reason: SandboxReason?
            let actor: String?
        }
        return await grouped(
            sandboxes, by: { Group(state: $0.state, reason: $0.reason, actor: $0.actor) },
            write: takeTogether)
    }

    /// Notes lives that the provider has given, and takes back the tasks that would give them. One that was
    /// promised another life meanwhile stays as it is: that has a task of its own.
    package func extended(_ lives: [GivenLife]) async -> [Result<Void, ControlPlaneError>] {
        await grouped(lives, by: { _ in 0 }) { lives throws(ControlPlaneError) in
            _ = try await execute(
                .sandboxesExtended,
                [
                    .uuids(lives.map(\.tenant.uuid)), .uuids(lives.map(\.id)),
                    .timestamps(lives.map(\.endsAt)),
                ])
            return lives.map { _ in .success(()) }
        }
    }

    /// Takes back the first try of a request, which the provider never heard of, and the request. False: it is
    /// not as it was planned any more.
    package func withdraw(_ sandbox: Sandbox) async throws(ControlPlaneError) -> Bool {
        // Tenants themselves delete nothing.
        let rows = try await asOperator(
            .sandboxWithdraw, [.uuid(sandbox.tenant.uuid), .uuid(sandbox.id)])
        do throws(PostgresError) { return try rows.only().bool(0) } catch { throw .postgres(error) }
    }

    // MARK: One

    package func plan(_ planned: PlannedTry) async throws(ControlPlaneError) -> Sandbox {
        try await plan([planned])[0].get()
    }

    package func made(_ sandbox: MadeSandbox) async throws(ControlPlaneError) -> Sandbox? {
        try await made([sandbox])[0].get()
    }

    package func extended(
        _ id: UUID, of tenant: Tenant.ID, to endsAt: Timestamp
    ) async throws(ControlPlaneError) {
        try await extended([GivenLife(id: id, tenant: tenant, endsAt: endsAt)])[0].get()
    }

    // MARK: Together

    private func planTogether(
        _ tries: [PlannedTry]
    ) async throws(ControlPlaneError) -> [PlanResult] {
        let plans = tries.map(\.plan)
        var parameters: [Parameter] = [
            .uuids(plans.map(\.tenant.uuid)), .uuids(tries.map(\.id)),
            .uuids(plans.map(\.request)), .int2s(tries.map { Int16(clamping: $0.attempt) }),
            .texts(plans.map(\.way.rawValue)), .texts(plans.map(\.template)),
            .optionalTexts(tries.map(\.template)), .optionalTexts(plans.map(\.framework)),
            .texts(plans.map(\.region)), .int8s(plans.map(\.life.milliseconds)),
            .texts(plans.map(\.metadata)), .optionalTexts(plans.map(\.traceID)),
            .int8s(plans.map(\.deadline.milliseconds)), .int8(leaseMargin.milliseconds),
            .text(instance), .int4(tries[0].most.map { Int32(clamping: $0) }),
        ]
        // Few pause: the others are spared what that takes.
        let pausing = tries.filter(\.plan.pauses).map(\.id)
        if !pausing.isEmpty { parameters.append(.uuids(pausing)) }
        let statement: Statement = pausing.isEmpty ? .sandboxesPlan : .sandboxesPlanPausing
        let rows: Rows
        if tries.count == 1, tries[0].attempt == 1, let idempotency = tries[0].idempotency {
            let plan = tries[0].plan
            rows = try await run(
                directory.remember(
                    idempotency, of: plan.tenant, resource: plan.request.description)
                    + [(statement, parameters)], of: plan.tenant)
        } else {
            rows = try await execute(statement, parameters)
        }
        let planned = try sandboxes(rows)
        var results: [PlanResult] = []
        for one in tries {
            if let sandbox = planned[one.id] {
                results.append(.success(sandbox))
            } else {
                results.append(.failure(await refusal(of: one)))
            }
        }
        return results
    }

    /// Why there is no row of a try.
    private func refusal(of one: PlannedTry) async -> ControlPlaneError {
        guard let most = one.most else { return .conflict("the request is over") }
        if one.attempt == 1 { return .tooManySandboxes(most: most) }
        do throws(ControlPlaneError) {
            try await hasRoom(for: most, of: one.plan.tenant)
        } catch { return error }
        // Somebody else took it.
        return .conflict("the request is over")
    }

    private func takeTogether(
        _ made: [MadeSandbox]
    ) async throws(ControlPlaneError) -> [MadeResult] {
        let first = made[0]
        // One that another thought lost, or over, is known to be there now.
        let sources = first.state.sources.intersection([.creating, .createUnknown, .booting])
        let taken = try sandboxes(
            try await execute(
                .sandboxesMade,
                [
                    .uuids(made.map(\.tenant.uuid)), .uuids(made.map(\.id)),
                    .texts(sources.map(\.rawValue)), .text(first.state.rawValue),
                    .text(first.reason?.rawValue), .text(first.actor ?? instance),
                    .texts(made.map(\.facts.json)),
                ]))
        return made.map { .success(taken[$0.id]) }
    }

    private func sandboxes(_ rows: Rows) throws(ControlPlaneError) -> [UUID: Sandbox] {
        var byID: [UUID: Sandbox] = [:]
        for sandbox in try decodeAll(rows, Sandbox.init) { byID[sandbox.id] = sandbox }
        return byID
    }

    /// Writes what has a key in common together, and answers in the order given. Where several fail by one of
    /// them, each is written by itself.
    func grouped<Call: Sendable, Key: Hashable, Value: Sendable>(
        _ calls: [Call], by key: (Call) -> Key,
        write:
            @escaping @Sendable ([Call]) async throws(ControlPlaneError) -> [Result<
                Value, ControlPlaneError
            >]
    ) async -> [Result<Value, ControlPlaneError>] {
        @Sendable func attempt(_ some: [Call]) async -> [Result<Value, ControlPlaneError>] {
            do throws(ControlPlaneError) { return try await write(some) } catch {
                if some.count == 1 { return [.failure(error)] }
                if case .postgres(let cause) = error, cause.isOutage {
                    return some.map { _ in .failure(error) }
                }
            }
            var results: [Result<Value, ControlPlaneError>] = []
            for one in some { results += await attempt([one]) }
            return results
        }
        let groups = Dictionary(grouping: calls.indices) { key(calls[$0]) }.values
        if groups.count == 1 { return await attempt(calls) }
        return await withTaskGroup(of: [(Int, Result<Value, ControlPlaneError>)].self) { tasks in
            for indices in groups {
                let some = indices.map { calls[$0] }
                tasks.addTask { Array(zip(indices, await attempt(some))) }
            }
            var ordered: [Int: Result<Value, ControlPlaneError>] = [:]
            for await some in tasks { for (index, result) in some { ordered[index] = result } }
            return calls.indices.map { ordered[$0] ?? .failure(.conflict("no answer")) }
        }
    }
}

extension Statement {
    fileprivate static let sandboxesPlan = Statement(
        "sandboxes_plan",
        """
        SELECT * FROM bw_sandboxes_plan(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        """)
    fileprivate static let sandboxesPlanPausing = Statement(
        "sandboxes_plan_pausing",
        """
        SELECT * FROM bw_sandboxes_plan_pausing(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
        """)
    fileprivate static let sandboxWithdraw = Statement(
        "sandbox_withdraw", "SELECT bw_sandbox_withdraw($1, $2)")
    fileprivate static let sandboxSpace = Statement(
        "sandbox_space", "SELECT bw_sandbox_space($1, false)")
    fileprivate static let sandboxesMade = Statement(
        "sandboxes_made", "SELECT * FROM bw_sandboxes_made($1, $2, $3, $4, $5, $6, $7)")
    fileprivate static let sandboxesExtended = Statement(
        "sandboxes_extended", "SELECT bw_sandboxes_extended($1, $2, $3)")
}
