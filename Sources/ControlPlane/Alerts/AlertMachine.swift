internal import Postgres

/// How alerts come, stay and go. Pure: what is measured at a time is applied to what was.
///
/// pending: the rule is broken, not yet for long enough. firing: told. resolved: over for long enough; a
/// new breach is a new alert. A pending one whose rule is kept again is dropped without a word.
enum AlertMachine {
    /// What an alert becomes; nil: it is none. `rule` is nil where nothing of that name is on any more.
    static func next(
        of alert: Alert, under rule: AlertRule?, measured measure: Measure?, at now: Timestamp
    ) -> Alert? {
        var alert = alert
        let isBroken: Bool
        if let rule, let measure, measure.volume >= rule.minVolume || alert.state == .firing {
            isBroken = rule.isBroken(by: measure.value, isFiring: alert.state == .firing)
        } else {
            isBroken = false
        }
        if let measure { alert.value = measure.value }
        if let rule { (alert.severity, alert.threshold) = (rule.severity, rule.threshold) }
        switch (alert.state, isBroken) {
        case (.pending, false): return nil
        case (.pending, true):
            guard now - alert.startedAt >= .seconds(rule?.wait ?? 0) else { return alert }
            alert.state = .firing
            alert.firedAt = now
        case (.firing, true): alert.clearSince = nil
        case (.firing, false):
            let since = alert.clearSince ?? now
            alert.clearSince = since
            // A rule that was taken away has nothing to wait for.
            guard rule == nil || now - since >= .seconds(rule?.keepFiring ?? 0) else { return alert }
            alert.state = .resolved
            alert.resolvedAt = now
        case (.resolved, _): break
        }
        return alert
    }

    /// The alert that a breach begins; nil if there is none.
    static func first(
        _ name: String, _ rule: AlertRule, measured measure: Measure, at now: Timestamp
    ) -> Alert? {
        guard rule.isEnabled, measure.volume >= rule.minVolume,
            rule.isBroken(by: measure.value, isFiring: false)
        else { return nil }
        return next(
            of: Alert(measure.tenant, name, rule, measure, at: now), under: rule,
            measured: measure, at: now)
    }

    /// What is to be told of an alert now; it is marked as told.
    ///
    /// Muted (silenced or inhibited), it is told once that is over. Whoever was told that it fires is told
    /// that it is over, muted or not.
    static func notice(
        of alert: inout Alert, under rule: AlertRule?, at now: Timestamp
    ) -> AlertNotice.Cause? {
        let cause: AlertNotice.Cause
        switch (alert.state, alert.notifiedAt) {
        case (.pending, _), (.resolved, nil): return nil
        case (.resolved, _?): cause = .resolved
        case (.firing, nil):
            if alert.isSilenced || alert.isInhibited { return nil }
            cause = .firing
        case (.firing, let last?):
            guard !alert.isSilenced, !alert.isInhibited, alert.acknowledgedAt == nil,
                let interval = rule?.repeatInterval, now - last >= .seconds(interval)
            else { return nil }
            cause = .repeated
        }
        alert.notifiedAt = now
        alert.notifications += 1
        return cause
    }
}

/// One thing to be told of an alert, to all channels that want it.
package struct AlertNotice: Hashable, Sendable {
    package enum Cause: String, Hashable, Sendable, CaseIterable { case firing, repeated, resolved }

    package let alert: Alert
    package let cause: Cause
    let kind: AlertKind?
    let at: Timestamp
}
