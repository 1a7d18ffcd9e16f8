import ControlPlane
import IO
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `Permits and outcomes` {
    private static func request(
        _ tenant: Tenant.ID, region: String? = nil, limit: Int64? = nil,
        deadline: Duration? = nil, identity: Ask.Identity? = nil
    ) -> PermitRequest {
        PermitRequest(
            Ask("sandbox_create", maxPerHour: limit, identity: identity), tenant: tenant,
            region: region, deadline: deadline)
    }

    private static func permit(
        _ plane: Plane, _ tenant: Tenant.ID, limit: Int64? = nil
    ) async throws -> Permit {
        let answer = try await plane.attempts.permit(request(tenant, limit: limit))
        guard case .allowed(let permit) = answer else { throw Unexpected(answer: "\(answer)") }
        return permit
    }

    private struct Unexpected: Error { let answer: String }

    private static func failure(
        _ status: Int = 500, number: Int = 1, willRetry: Bool = false
    ) -> TryReport {
        var facts = ErrorFacts()
        facts.status = status
        return TryReport(
            number: number, outcome: .failed, duration: .milliseconds(20), facts: facts,
            willRetry: willRetry)
    }

    private static let success = TryReport(
        number: 1, outcome: .succeeded, duration: .milliseconds(20))

    private static func count(_ plane: Plane, _ tenant: Tenant.ID) async throws -> Int64 {
        try await plane.ledger.count("sandbox_create", for: tenant)
    }

    private static func tries(_ plane: Plane, _ id: String, _ tenant: Tenant.ID) async throws
        -> [StoredTry]
    {
        await plane.attempts.flush()
        return try await plane.attempts.tries(of: id, for: tenant).tries
    }

    @Test(.proves("D6", "E1"))
    func `cost nothing beyond the ledger's batch while all is well`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            // The first ones name the operation and load the key.
            let first = try await Self.permit(plane, tenant)
            _ = try await plane.attempts.report(Self.success, of: first.id, for: tenant)
            let task = Task(executorPreference: plane.loop) {
                let sent = await plane.sent
                for _ in 0..<50 {
                    let permit = try await Self.permit(plane, tenant)
                    let advice = try await plane.attempts.report(
                        Self.success, of: permit.id, for: tenant)
                    #expect(advice.next == .done)
                }
                let after = await plane.sent
                return (writes: after.writes - sent.writes, reads: after.reads - sent.reads)
            }
            let sent = try await task.value
            #expect(sent.writes == 50)
            // Polls of breakers and the flush of successes are by time, not by call.
            #expect(sent.reads < 25, "\(sent.reads)")
            #expect(try await Self.count(plane, tenant) == 51)
            #expect(try await Self.tries(plane, first.id, tenant).map(\.outcome) == [.succeeded])
        }
    }

    @Test(.proves("D6", "C1", "C2"))
    func `open the breaker after five failed operations, and refuse the sixth`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            for _ in 0..<5 {
                let permit = try await Self.permit(plane, tenant)
                _ = try await plane.attempts.report(Self.failure(), of: permit.id, for: tenant)
            }
            let answer = try await plane.attempts.permit(Self.request(tenant))
            guard case .breakerOpen(let refusal, let state) = answer else {
                Issue.record("\(answer)")
                return
            }
            #expect(state == .open)
            #expect(
                refusal.message
                    == "Circuit breaker is OPEN - E2B service unavailable. Retry in 60s.")
            // What the breaker refuses costs no unit.
            #expect(try await Self.count(plane, tenant) == 5)
        }
    }

    @Test(.proves("B1", "C1", "E1"))
    func `count an operation with its retries once, and each try as a record`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let permit = try await Self.permit(plane, tenant)
            for number in 1...2 {
                let advice = try await plane.attempts.report(
                    Self.failure(number: number, willRetry: true), of: permit.id, for: tenant)
                guard case .retry = advice.next else {
                    Issue.record("\(advice.next)")
                    return
                }
                #expect(try await Self.count(plane, tenant) == Int64(number) + 1)
                let key = permit.token.ticket.key
                #expect(await plane.breakers.snapshot(of: key)?.machine.failureCount ?? 0 == 0)
            }
            let last = try await plane.attempts.report(
                Self.failure(number: 3, willRetry: true), of: permit.id, for: tenant)
            guard case .stop(.attempts, _) = last.next else {
                Issue.record("\(last.next)")
                return
            }
            #expect(try await Self.count(plane, tenant) == 3)
            #expect(
                await plane.breakers.snapshot(of: permit.token.ticket.key)?.machine.failureCount
                    == 1)
            let tries = try await Self.tries(plane, permit.id, tenant)
            #expect(tries.map(\.number) == [1, 2, 3])
            #expect(tries.allSatisfy { $0.kind == .internal && $0.duration == .milliseconds(20) })
            #expect(tries.map(\.stop) == [nil, nil, "attempts"])
        }
    }

    @Test(.proves("C1")) func `count each try where the unit is the attempt`() async throws {
        var settings = Breakers.Settings()
        settings.unit = .attempt
        try await Plane.with(breakers: settings) { plane in
            let tenant = try await plane.makeTenant()
            let permit = try await Self.permit(plane, tenant)
            for number in 1...2 {
                _ = try await plane.attempts.report(
                    Self.failure(number: number, willRetry: true), of: permit.id, for: tenant)
            }
            #expect(
                await plane.breakers.snapshot(of: permit.token.ticket.key)?.machine.failureCount
                    == 2)
        }
    }

    @Test(.proves("D6")) func `take a doubled report once`() async throws {
        try await Plane.with { first in
            try await Plane.with(url: first.url) { second in
                let tenant = try await first.makeTenant()
                let permit = try await Self.permit(first, tenant)
                let report = Self.failure(willRetry: true)
                let advice = try await first.attempts.report(report, of: permit.id, for: tenant)
                let again = try await second.attempts.report(report, of: permit.id, for: tenant)
                #expect(again.isReplay && again.next == advice.next)
                #expect(try await Self.count(first, tenant) == 2)
                let end = Self.failure(number: 2)
                for plane in [first, second, first] {
                    _ = try await plane.attempts.report(end, of: permit.id, for: tenant)
                }
                let view = try await second.breakers.view(of: permit.token.ticket.key)
                #expect(view.machine.failureCount == 1)
            }
        }
    }

    @Test(.proves("D6")) func `are the same however many twins report at once`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let permit = try await Self.permit(plane, tenant)
            let replays = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        try await plane.attempts.report(
                            Self.failure(willRetry: true), of: permit.id, for: tenant
                        ).isReplay
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(replays == 19)
            #expect(try await Self.count(plane, tenant) == 2)
        }
    }

    @Test(.proves("D6", "C3")) func `hear no report of an older generation`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let late = try await Self.permit(plane, tenant)
            for _ in 0..<5 {
                let permit = try await Self.permit(plane, tenant)
                _ = try await plane.attempts.report(Self.failure(), of: permit.id, for: tenant)
            }
            let key = late.token.ticket.key
            _ = try await plane.breakers.act(key, .reset, by: .system, reason: nil)
            _ = try await plane.attempts.report(Self.failure(), of: late.id, for: tenant)
            #expect(try await plane.breakers.view(of: key).machine.failureCount == 0)
        }
    }

    @Test(.proves("D6", "H1")) func `belong to their tenant alone`() async throws {
        try await Plane.with { plane in
            let (tenant, other) = (try await plane.makeTenant(), try await plane.makeTenant())
            let permit = try await Self.permit(plane, tenant)
            var changed = permit.id
            changed.removeLast()
            changed += permit.id.hasSuffix("0") ? "1" : "0"
            for (id, caller) in [
                (permit.id, other), (changed, tenant), ("att_", tenant), ("", tenant),
                (permit.id.uppercased(), tenant), (permit.id + "00", tenant), ("att_zz", tenant),
            ] {
                await #expect(throws: ControlPlaneError.self) {
                    try await plane.attempts.report(Self.success, of: id, for: caller)
                }
            }
            #expect(try await Self.tries(plane, permit.id, tenant).isEmpty)
        }
    }

    @Test(.proves("C3", "D6"))
    func `give a probe's place on: at a denial, and when no outcome comes`() async throws {
        var settings = Breakers.Settings()
        settings.policy.openBase = .milliseconds(50)
        settings.policy.openCap = .milliseconds(50)
        settings.policy.probeLease = .seconds(2)
        try await Plane.with(breakers: settings) { plane in
            let tenant = try await plane.makeTenant()
            for _ in 0..<5 {
                let permit = try await Self.permit(plane, tenant)
                _ = try await plane.attempts.report(Self.failure(), of: permit.id, for: tenant)
            }
            let denied = try await Self.later {
                let answer = try await plane.attempts.permit(Self.request(tenant, limit: 1))
                if case .overQuota = answer { return answer } else { return nil }
            }
            #expect(denied != nil)
            // Its outcome never comes; the next caller gets the place when the lease has ended.
            let lost = try await Self.later { try? await Self.permit(plane, tenant) }
            #expect(lost?.token.ticket.isProbe == true)
            let next = try await Self.later { try? await Self.permit(plane, tenant) }
            #expect(next?.token.ticket.isProbe == true)
            let id = try #require(next?.id)
            _ = try await plane.attempts.report(Self.success, of: id, for: tenant)
            let key = BreakerKey(tenant, provider: "e2b", region: "default", .create)
            #expect(try await plane.breakers.view(of: key).machine.state == .closed)
        }
    }

    private static func later<Value>(
        _ body: () async throws -> Value?
    ) async throws -> Value? {
        for _ in 0..<500 {
            if let value = try await body() { return value }
            try await Task.sleep(for: .milliseconds(10))
        }
        return nil
    }

    @Test(.proves("E5", "D6")) func `stop where a limit leaves no room for a retry`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let permit = try await Self.permit(plane, tenant, limit: 1)
            let advice = try await plane.attempts.report(
                Self.failure(willRetry: true), of: permit.id, for: tenant)
            guard case .stop(.quota, let wait?) = advice.next else {
                Issue.record("\(advice.next)")
                return
            }
            #expect(wait > .seconds(3500))
            // The operation has failed.
            let key = permit.token.ticket.key
            #expect(await plane.breakers.snapshot(of: key)?.machine.failureCount == 1)
            #expect(try await Self.count(plane, tenant) == 1)
            let again = try await plane.attempts.permit(Self.request(tenant, limit: 1))
            guard case .overQuota = again else {
                Issue.record("\(again)")
                return
            }
        }
    }

    @Test(.proves("B2")) func `advise no retry past the deadline or the budget`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let answer = try await plane.attempts.permit(
                Self.request(tenant, deadline: .milliseconds(1500)))
            guard case .allowed(let permit) = answer else {
                Issue.record("\(answer)")
                return
            }
            let late = try await plane.attempts.report(
                Self.failure(willRetry: true), of: permit.id, for: tenant)
            guard case .stop(.deadline, _) = late.next else {
                Issue.record("\(late.next)")
                return
            }
            var stops = 0
            for _ in 0..<6 {
                let permit = try await Self.permit(plane, tenant)
                let advice = try await plane.attempts.report(
                    Self.failure(willRetry: true), of: permit.id, for: tenant)
                if case .stop(.budget, _) = advice.next { stops += 1 }
            }
            // Three are free, and seven first tries pay for one more.
            #expect(stops == 2)
        }
    }

    @Test(.proves("H2", "D6")) func `are one permit for one idempotency key`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            var ids: [UUID] = []
            for _ in 0..<2 {
                let key = Idempotency(key: "k", route: "r", body: [])
                let answer = try await plane.attempts.permit(
                    Self.request(tenant, identity: Ask.Identity(idempotency: key)))
                guard case .allowed(let permit) = answer else {
                    Issue.record("\(answer)")
                    return
                }
                ids.append(permit.token.id)
                _ = try await plane.attempts.report(Self.failure(), of: permit.id, for: tenant)
            }
            #expect(ids[0] == ids[1])
            #expect(try await Self.count(plane, tenant) == 1)
            let key = BreakerKey(tenant, provider: "e2b", region: "default", .create)
            #expect(try await plane.breakers.view(of: key).machine.failureCount == 1)
        }
    }

    @Test(.proves("C1", "D6")) func `go on while the database is away`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let before = try await Self.permit(plane, tenant)
            _ = try await plane.attempts.report(Self.success, of: before.id, for: tenant)
            await plane.attempts.flush()
            await plane.writes.close()
            await plane.reads.close()
            for _ in 0..<5 {
                let permit = try await Self.permit(plane, tenant)
                #expect(permit.isDegraded && permit.verdict == nil)
                let advice = try await plane.attempts.report(
                    Self.failure(), of: permit.id, for: tenant)
                #expect(advice.isDegraded && advice.error?.kind == .internal)
            }
            guard case .breakerOpen = try await plane.attempts.permit(Self.request(tenant)) else {
                Issue.record("five failures did not open it")
                return
            }
            let wanted = Self.request(
                tenant, region: "other", identity: Ask.Identity(idempotency: nil))
            // Who asked for an identity wants a record that is there.
            await #expect(throws: ControlPlaneError.self) {
                try await plane.attempts.permit(wanted)
            }
        }
    }

    @Test(.proves("D6"))
    func `name the first region whose breaker is not open, and keep to its account`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let regions = Regions(plane.reads, plane.secrets)
            for (name, priority) in [("eu", 20), ("us", 10)] {
                let draft = Regions.Draft(
                    account: "team", limits: .init(createsPerSecond: 0.001),
                    apiURL: "https://api.\(name).example", domain: "\(name).example",
                    apiKey: "e2b_00a1", priority: priority)
                _ = try await regions.put(name, draft, of: tenant, if: .none, by: .system)
            }
            let permit = try await Self.permit(plane, tenant)
            #expect(permit.region?.name == "us")
            #expect(permit.region?.apiURL == "https://api.us.example")
            let waits = try await plane.attempts.permit(Self.request(tenant))
            guard case .throttled(.rate, let wait) = waits else {
                Issue.record("\(waits)")
                return
            }
            #expect(wait > .seconds(900))
            #expect(try await Self.count(plane, tenant) == 1)
            let key = permit.token.ticket.key
            _ = try await plane.breakers.act(
                key, .lay(.forcedOpen, until: nil), by: .system, reason: nil)
            guard case .throttled = try await plane.attempts.permit(Self.request(tenant)) else {
                Issue.record("the other region has the same account")
                return
            }
            // Managing is no creation.
            let manage = try await plane.attempts.permit(
                PermitRequest(
                    Ask("sandbox_connect"), tenant: tenant, .manage, deadline: nil))
            guard case .allowed(let managed) = manage else {
                Issue.record("\(manage)")
                return
            }
            #expect(managed.region?.name == "us")
        }
    }

    @Test(.proves("D6")) func `hold everybody's creations after a 429`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let draft = Regions.Draft(
                apiURL: "https://api.us.example", domain: "us.example", apiKey: "e2b_00a1")
            _ = try await Regions(plane.reads, plane.secrets).put(
                "us", draft, of: tenant, if: .none, by: .system)
            let permit = try await Self.permit(plane, tenant)
            var facts = ErrorFacts()
            facts.status = 429
            facts.retryAfter = .seconds(40)
            _ = try await plane.attempts.report(
                TryReport(number: 1, outcome: .failed, duration: .zero, facts: facts),
                of: permit.id, for: tenant)
            let answer = try await plane.attempts.permit(Self.request(tenant))
            guard case .throttled(.throttled, let wait) = answer else {
                Issue.record("\(answer)")
                return
            }
            #expect(wait > .seconds(38) && wait <= .seconds(40))
        }
    }
}

extension Plane {
    fileprivate var sent: (writes: Int, reads: Int) {
        get async { (await writes.sent, await reads.sent) }
    }
}
