import ControlPlane
import IO
import TestSupport
import Testing

@Suite struct `A retry budget` {
    let tenant = Tenant.ID.fleet
    let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    @Test(.proves("B2")) func `bounds retries to a share of the calls in a storm`() {
        var budgets = RetryBudgets(.fifth)
        var retries = 0
        for _ in 0..<1000 {
            budgets.noteFirstTry(of: tenant, at: "e2b", now: start)
            for _ in 0..<2 where budgets.take(for: tenant, at: "e2b", now: start) { retries += 1 }
        }
        // 10 in 100 of the provider's calls, and what its floor holds.
        #expect(retries == 130)
    }

    @Test func `bounds each tenant by itself`() throws {
        var budgets = RetryBudgets(.fifth)
        #expect(take(5, from: &budgets, at: start) == 3)
        let other = try #require(Tenant.ID("0192f0c1-0000-7000-8000-000000000001"))
        let isOtherServed = budgets.take(for: other, at: "e2b", now: start)
        #expect(isOtherServed)
    }

    @Test func `comes back with time up to its floor and no further`() {
        var budgets = RetryBudgets(.fifth)
        #expect(take(4, from: &budgets, at: start) == 3)
        #expect(take(1, from: &budgets, at: start.advanced(by: .seconds(9))) == 0)
        #expect(take(2, from: &budgets, at: start.advanced(by: .seconds(19))) == 1)
        #expect(take(9, from: &budgets, at: start.advanced(by: .seconds(86_400))) == 3)
    }

    @Test func `gets a token back for a retry that was dropped, up to its top`() {
        var budgets = RetryBudgets(.fifth)
        #expect(take(4, from: &budgets, at: start) == 3)
        budgets.giveBack(for: tenant, at: "e2b")
        #expect(take(2, from: &budgets, at: start) == 1)
        for _ in 0..<1000 { budgets.giveBack(for: tenant, at: "e2b") }
        #expect(take(1000, from: &budgets, at: start) == 100)
    }

    @Test func `costs nothing when it is off`() {
        var settings = RetryBudget.Settings()
        settings.isOn = false
        var budgets = RetryBudgets(settings)
        #expect(take(1000, from: &budgets, at: start) == 1000)
    }

    /// How many of `count` retries are granted.
    private func take(
        _ count: Int, from budgets: inout RetryBudgets, at now: MonotonicInstant
    ) -> Int {
        var granted = 0
        for _ in 0..<count where budgets.take(for: tenant, at: "e2b", now: now) { granted += 1 }
        return granted
    }
}

extension RetryBudget.Settings {
    /// Of a tenant's calls a fifth, of all tenants' a tenth.
    static var fifth: RetryBudget.Settings {
        var settings = RetryBudget.Settings()
        settings.tenantPercent = 20
        settings.providerPercent = 10
        return settings
    }
}
