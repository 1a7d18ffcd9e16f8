package import ControlPlane

/// What the page says of sandboxes that are made through here.
package struct CreationMetrics: Sendable {
    package let creations: Creations.Counters
    package let checks: HealthChecker.Counters

    package init(_ creations: Creations) async {
        self.creations = await creations.counters
        checks = await creations.health.counters
    }
}

extension MetricsPage {
    mutating func creations(_ loops: [CreationMetrics]) {
        func sum(_ count: (CreationMetrics) -> Int) -> Int { loops.reduce(0) { $0 + count($1) } }
        family(
            "breakwater_creations_total", "counter",
            "Sandboxes asked for, by what became of that.")
        for (outcome, counter) in [
            ("made", \Creations.Counters.made), ("failed", \.failed), ("refused", \.refused),
        ] {
            sample(
                "breakwater_creations_total", [("outcome", outcome)],
                sum { $0.creations[keyPath: counter] })
        }
        for (name, help, counter) in [
            (
                "ambiguous", "Calls whose end does not tell whether there is a sandbox.",
                \Creations.Counters.ambiguous
            ),
            ("late", "Sandboxes that came when nobody waited any more: killed.", \.late),
            ("abandoned", "Sandboxes whose caller had left: killed.", \.abandoned),
            ("replaced", "Sandboxes that did not work: killed, and another made.", \.replaced),
            ("withdrawn", "Intents taken back, as the ledger had no room after all.", \.withdrawn),
        ] {
            family("breakwater_creation_\(name)_total", "counter", help)
            sample(
                "breakwater_creation_\(name)_total", [], sum { $0.creations[keyPath: counter] })
        }
        family(
            "breakwater_health_checks_total", "counter",
            "Looks at sandboxes, by what was found.")
        for verdict in HealthCheck.Verdict.allCases {
            sample(
                "breakwater_health_checks_total", [("verdict", verdict.rawValue)],
                sum { $0.checks.verdicts[verdict] ?? 0 })
        }
        family(
            "breakwater_health_checks_skipped_total", "counter",
            "Looks that were not made, since too many were in hand; unknown among the verdicts.")
        sample("breakwater_health_checks_skipped_total", [], sum { $0.checks.skipped })
    }
}
