internal import IO
internal import Postgres

/// What a try must be given before the provider hears of it: a place in the account's budget, room in the tenant's
/// own cap, its record, its intent.
extension Creations {
    /// Waits for the account's turn, if that comes before the deadline.
    func takePlace(_ job: Job, _ id: UUID) async throws(TryError) {
        let account = job.order.target.account
        while true {
            if job.isUnknown { throw .cancelled }
            let left = clock.now.duration(to: job.deadline)
            let answer: CreationBudget.Answer
            do throws(ControlPlaneError) {
                answer = try await budget.take(
                    account, lease: id,
                    for: (job.order.call ?? settings.call) + Attempts.Settings.leaseMargin)
            } catch {
                job.fault = error
                throw .refused(.cancelled, retryAfter: nil)
            }
            guard case .wait(let wait, _) = answer else { return }
            guard wait < left else { throw .refused(.throttled, retryAfter: wait) }
            do throws(CancellationError) { try await clock.sleep(for: wait) } catch {
                throw .cancelled
            }
        }
    }

    /// Before the try is recorded, so that a refusal costs nothing; `plan` looks again, in the transaction
    /// that takes the room.
    func lookForRoom(_ job: Job) async throws(TryError) {
        guard let most = job.order.maxLive else { return }
        do throws(ControlPlaneError) {
            try await store.hasRoom(for: most, of: job.order.tenant)
        } catch {
            job.fault = error
            throw .refused(.cancelled, retryAfter: nil)
        }
    }

    private func plan(
        _ job: Job, _ id: UUID, _ template: String?
    ) async throws(TryError) -> Sandbox {
        do throws(ControlPlaneError) {
            let left = max(clock.now.duration(to: job.deadline), .zero)
            let planned = PlannedTry(
                job.plan(deadline: left), id: id, attempt: job.attempts + 1, template: template,
                remembering: job.order.idempotency, most: job.order.maxLive)
            let answer: SandboxStore.PlanResult
            do throws(PostgresError) { answer = try await plans(planned) } catch {
                throw ControlPlaneError.postgres(error)
            }
            return try answer.get()
        } catch {
            job.fault = error
            throw .refused(.cancelled, retryAfter: nil)
        }
    }

    /// Both are committed before the provider hears of the try, in whatever order: where there is room, and
    /// nothing else could refuse the first try, they are at the same time.
    func recordAndPlan(
        _ job: Job, _ id: UUID, _ template: String?
    ) async throws(TryError) -> Sandbox {
        let order = job.order
        guard job.attempts == 0, order.maxLive == nil, order.idempotency == nil,
            let room = rooms[order.tenant], room.left > 0
        else {
            try await record(job)
            return try await plan(job, id, template)
        }
        rooms[order.tenant]?.left -= 1
        rooms[order.tenant]?.pending += 1
        async let planned = planResult(job, id, template)
        do throws(TryError) { try await record(job, isPending: true) } catch {
            if case .success(let sandbox) = await planned { await withdraw(sandbox) }
            throw error
        }
        return try await planned.get()
    }

    /// Takes an intent back that came to nothing. What cannot be written now is settled when the lease has
    /// passed.
    private func withdraw(_ sandbox: Sandbox) async {
        counters.withdrawn += 1
        if (try? await store.withdraw(sandbox)) == true { return }
        // Its tenant saw it meanwhile, and has it stopped.
        _ = try? await store.end(sandbox.request, of: sandbox.tenant, as: .cancelled)
    }

    private func planResult(
        _ job: Job, _ id: UUID, _ template: String?
    ) async -> Result<Sandbox, TryError> {
        do throws(TryError) { return .success(try await plan(job, id, template)) } catch {
            return .failure(error)
        }
    }

    private func record(_ job: Job, isPending: Bool = false) async throws(TryError) {
        do throws(ControlPlaneError) {
            defer { if isPending { rooms[job.order.tenant]?.pending -= 1 } }
            let verdict = try await ledger.decide(
                Ask(Settings.operation), for: job.order.tenant)
            noteRoom(verdict, of: job.order.tenant, ours: isPending ? 1 : 0)
            guard case .denied(let wait) = verdict.outcome else { return }
            job.denial = verdict
            throw ControlPlaneError.conflict(wait.map { "\($0.milliseconds)" } ?? "")
        } catch {
            if job.denial == nil { job.fault = error }
            throw .refused(
                job.denial == nil ? .cancelled : .quota, retryAfter: job.denial?.retryAfter)
        }
    }
}

extension Creations {
    /// What a tenant's limits had left at its last creation here, less what began since without asking first.
    struct Room {
        /// Units; a creation costs one.
        var left: Int64
        /// Creations begun so that the ledger has not answered.
        var pending: Int64 = 0
    }

    /// Tenants whose room is remembered; past it the memory starts anew.
    private static let mostRooms = 10_000

    /// - Parameter ours: whether this call is one of those that are pending.
    private func noteRoom(_ verdict: Verdict, of tenant: Tenant.ID, ours: Int64) {
        let limits = verdict.limits.filter(\.applied.isEnforced)
        let left = limits.map(\.remaining).min() ?? .max
        // Forgotten meanwhile, it may be less than what is under way.
        let pending = max(rooms[tenant]?.pending ?? 0, ours)
        if rooms[tenant] == nil, rooms.count >= Self.mostRooms { rooms.removeAll() }
        rooms[tenant] = Room(
            left: verdict.admittedAt == nil ? 0 : max(0, left - (pending - ours)), pending: pending)
    }
}

extension Verdict {
    /// Of a denial: when the call would fit.
    var retryAfter: Duration? { if case .denied(let wait) = outcome { wait } else { nil } }
}
