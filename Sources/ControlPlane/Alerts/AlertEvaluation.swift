internal import Postgres

/// One evaluation of all rules: what is known goes in, what changes comes out. Pure.
struct AlertEvaluation {
    let now: Timestamp
    /// Alerts of a tenant that may be at a time.
    let maxPerTenant: Int
    /// By tenant; who is not in it has the service's own.
    let rules: [Tenant.ID: [String: AlertRule]]
    /// Pending and firing ones.
    let alerts: [Alert]
    let measures: [Measure]
    let silences: [AlertSilence]

    struct Result {
        /// To be written as they are.
        var changed: [Alert] = []
        /// Pending ones that came to nothing.
        var dropped: [Alert] = []
        var notices: [AlertNotice] = []
        /// Alerts that are not kept, since their tenant has too many.
        var skipped = 0
        /// With the state before.
        var moves: [(alert: Alert, from: Alert.State?)] = []
    }

    private struct Key: Hashable {
        let tenant: Tenant.ID
        let fingerprint: String
    }

    func result() -> Result {
        var result = Result()
        var now_: [(alert: Alert, rule: AlertRule?, old: Alert?)] = []
        var known = Dictionary(
            alerts.map { (Key(tenant: $0.tenant, fingerprint: $0.fingerprint), $0) },
            uniquingKeysWith: { first, _ in first })
        var counts: [Tenant.ID: Int] = [:]
        for alert in alerts { counts[alert.tenant, default: 0] += 1 }

        for (name, rule, measure) in watched() {
            let key = Key(
                tenant: measure.tenant, fingerprint: Alert.fingerprint(name, measure.labels))
            if let old = known.removeValue(forKey: key) {
                keep(AlertMachine.next(of: old, under: rule, measured: measure, at: now), rule, old)
            } else if let new = AlertMachine.first(name, rule, measured: measure, at: now) {
                guard counts[measure.tenant, default: 0] < maxPerTenant else {
                    result.skipped += 1
                    continue
                }
                counts[measure.tenant, default: 0] += 1
                keep(new, rule, nil)
            }
        }
        // Those that nothing was measured for: over, or their rule is off.
        for old in known.values.sorted(by: { $0.id < $1.id }) {
            let found = rules(of: old.tenant)[old.rule]
            let rule = found?.isEnabled == true ? found : nil
            keep(AlertMachine.next(of: old, under: rule, measured: nil, at: now), rule, old)
        }

        let firing = Dictionary(
            grouping: now_.map(\.alert).filter { $0.state == .firing }, by: \.tenant)
        for (alert, rule, old) in now_ {
            var alert = alert
            alert.isSilenced = silences.contains { $0.covers(alert, at: now) }
            alert.isInhibited = isInhibited(alert, rule, by: firing[alert.tenant] ?? [])
            if let cause = AlertMachine.notice(of: &alert, under: rule, at: now) {
                result.notices.append(
                    AlertNotice(alert: alert, cause: cause, kind: rule?.kind, at: now))
            }
            if alert.state != old?.state { result.moves.append((alert, old?.state)) }
            if alert != old { result.changed.append(alert) }
        }
        return result

        func keep(_ alert: Alert?, _ rule: AlertRule?, _ old: Alert?) {
            if let alert {
                now_.append((alert, rule, old))
            } else if let old {
                result.dropped.append(old)
            }
        }
    }

    func rules(of tenant: Tenant.ID) -> [String: AlertRule] {
        rules[tenant] ?? AlertRule.defaults(of: tenant)
    }

    /// Every measure with every rule that looks at it, those that are off left out.
    private func watched() -> [(name: String, rule: AlertRule, measure: Measure)] {
        var watched: [(String, AlertRule, Measure)] = []
        var sorted: [Tenant.ID: [(key: String, value: AlertRule)]] = [:]
        for measure in measures {
            let own =
                sorted[measure.tenant]
                ?? rules(of: measure.tenant).filter(\.value.isEnabled).sorted { $0.key < $1.key }
            sorted[measure.tenant] = own
            for (name, rule) in own
            where rule.kind == measure.kind
                && (!rule.kind.hasWindow || rule.window == measure.window)
            {
                watched.append((name, rule, measure))
            }
        }
        return watched
    }

    private func isInhibited(_ alert: Alert, _ rule: AlertRule?, by firing: [Alert]) -> Bool {
        guard let rule, !rule.inhibitedBy.isEmpty else { return false }
        return firing.contains { other in
            other.id != alert.id && rule.inhibitedBy.contains(other.rule)
                && other.labels.allSatisfy {
                    alert.labels[$0.key] == nil || alert.labels[$0.key] == $0.value
                }
        }
    }
}
