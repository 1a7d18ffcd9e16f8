/// The recommended settings with something changed: what each of them is for.
struct Variations {
    struct Variation {
        let name: String
        let changes: [String]
        var isFromDefaults = false
    }

    /// Where the settings differ; the other models tell little.
    static let models = ["F2-120", "F3", "F4", "F5-1", "F9"]

    static let all = [
        Variation(name: "as recommended", changes: []),
        Variation(
            name: "three tries: no more calls in any model", changes: ["retry.maxAttempts=3"]),
        Variation(name: "six tries", changes: ["retry.maxAttempts=6"]),
        Variation(
            name: "waits of 2, 4, 8 s",
            changes: ["retry.transientMs=2000,4000,8000", "retry.capacityMs=2000,4000,8000"]),
        Variation(name: "jitter 20 %", changes: ["retry.jitterPercent=20"]),
        Variation(
            name: "deadline 50 s, as through the gateway", changes: ["retry.deadlineMs=50000"]),
        Variation(
            name: "calls wait for 30 s, as shipped", changes: ["sandbox.createCallS=30"]),
        Variation(name: "no retry budget", changes: ["retry.budget=false"]),
        Variation(
            name: "retry budget of 20 and 10 %",
            changes: ["retry.tenantBudgetPercent=20", "retry.providerBudgetPercent=10"]),
        Variation(
            name: "open for 60 s each time",
            changes: ["breaker.openCapS=60", "breaker.openBaseS=60", "breaker.openGrowth=1"]),
        Variation(name: "open times up to 60 s", changes: ["breaker.openCapS=60"]),
        Variation(
            name: "opens when half fail, of 20 in 30 s", changes: ["breaker.mode=timeWindow"]),
        Variation(name: "one probe", changes: ["breaker.probes=1"]),
        Variation(name: "ramp of 9 s", changes: ["breaker.rampS=9"]),
        Variation(
            name: "no breaker over all tenants", changes: ["breaker.parentTenants=100"]),
        Variation(name: "every kind counts", changes: ["breaker.countKinds=all"]),
        Variation(
            name: "nothing set, but a retry budget of 20 and 10 %",
            changes: ["retry.tenantBudgetPercent=20", "retry.providerBudgetPercent=10"],
            isFromDefaults: true),
        Variation(name: "nothing set: the shipped defaults", changes: [], isFromDefaults: true),
    ]

    static func arms(_ recommended: PolicySettings) throws(PolicySettingsError) -> [Arm] {
        var arms: [Arm] = []
        for variation in all {
            var settings = variation.isFromDefaults ? PolicySettings() : recommended
            for change in variation.changes { try settings.set(change[...]) }
            arms.append(Arm(name: variation.name, settings: settings))
        }
        return arms
    }

    /// - Parameter direct: the same models, its first arm the direct call, its first seeds the same.
    static func table(_ results: Results, direct: Results) -> String {
        let outage = Report(results).outageCalls
        let rows = results.arms.indices.map { arm in
            var cells = [results.arms[arm].name]
            for row in results.rows {
                let values = row.values(arm, \.failureShare)
                guard let base = direct.rows.first(where: { $0.model.id == row.model.id }),
                    let less = Estimate(
                        reductionTo: values,
                        from: Array(base.values(0, \.failureShare).prefix(values.count)))
                else { continue }
                let calls = row.estimate(arm, \.callsPerRequest).mean
                cells.append("\(digits(less.mean * 100, 1)) %, \(digits(calls, 3))")
            }
            return cells + [digits(outage[arm], 2)]
        }
        return Report.table([""] + results.rows.map(\.model.id) + ["calls in F3's outage"], rows)
    }
}
