package import IO

/// The budgets of a loop.
package actor RetryBudgetKeeper: LoopBound {
    package nonisolated let loop: EventLoop
    private var budgets: RetryBudgets

    package init(on loop: EventLoop, _ settings: RetryBudget.Settings = RetryBudget.Settings()) {
        self.loop = loop
        budgets = RetryBudgets(settings)
    }

    func noteFirstTry(of tenant: Tenant.ID, at provider: String, now: MonotonicInstant) {
        budgets.noteFirstTry(of: tenant, at: provider, now: now)
    }

    func take(for tenant: Tenant.ID, at provider: String, now: MonotonicInstant) -> Bool {
        budgets.take(for: tenant, at: provider, now: now)
    }

    func giveBack(for tenant: Tenant.ID, at provider: String) {
        budgets.giveBack(for: tenant, at: provider)
    }
}
