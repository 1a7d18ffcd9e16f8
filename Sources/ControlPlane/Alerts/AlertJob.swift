internal import IO
internal import JSON
package import Postgres

/// Evaluates the rules of all tenants and of the fleet, and leaves what is to be told in the outbox.
///
/// All in one transaction that holds a lock: of two instances that both believe to have the job, the second
/// sees what the first has decided.
package struct AlertJob: Job {
    package struct Settings: Sendable {
        package var interval: Duration = .seconds(15)
        /// Alerts of a tenant that may be at a time; what is over it waits until one is gone.
        package var maxPerTenant = 500
        /// Notifications of a channel that may wait; what is over it is given up at once.
        package var maxWaiting = 1000
        /// The deployment's hourly limit of operations without a policy.
        package var defaultMaxPerHour: Int64?

        package init() {}
    }

    package static let name = "alerts"
    package var name: String { Self.name }
    package var interval: Duration { settings.interval }
    private let settings: Settings
    private let tell: Tell
    /// A test's clock; nil: the database's own.
    private let now: (@Sendable () -> Timestamp)?

    package init(
        _ settings: Settings = Settings(), now: (@Sendable () -> Timestamp)? = nil,
        tell: @escaping Tell = { _ in }
    ) {
        self.settings = settings
        self.now = now
        self.tell = tell
    }

    package func run(_ pipeline: Pipeline) async throws(ControlPlaneError) -> String {
        let result: AlertEvaluation.Result
        do throws(PostgresError) {
            result = try await pipeline.withTransaction { transaction throws(PostgresError) in
                let evaluation = try await facts(transaction)
                let result = evaluation.result()
                try await write(result, at: evaluation.now, transaction)
                return result
            }
        } catch {
            throw .postgres(error)
        }
        if !result.notices.isEmpty { CrashPoint.alertDecided.reached() }
        for (alert, from) in result.moves { tell(.alertMoved(alert, from: from)) }
        return report([
            ("fired", result.moves.count { $0.alert.state == .firing }),
            ("resolved", result.moves.count { $0.alert.state == .resolved }),
            ("notices", result.notices.count), ("skipped", result.skipped),
        ])
    }

    private func facts(
        _ transaction: Pipeline.Transaction
    ) async throws(PostgresError) -> AlertEvaluation {
        _ = try await transaction.execute(.enterOperator)
        _ = try await transaction.execute(.alertLock)
        // After the lock: what another evaluation wrote is before this time.
        let now = try await transaction.execute(.alertClock, [.timestamp(self.now?())]).only()
            .timestamp("now")
        var rules: [Tenant.ID: [String: AlertRule]] = [:]
        for row in try await transaction.execute(.alertRulesAll) {
            let tenant = Tenant.ID(try row.uuid("tenant_id"))
            let rule = AlertRule(stored: try row.json("rule"))
            rules[tenant, default: AlertRule.defaults(of: tenant)][try row.text("name")] = rule
        }
        var (alerts, silences, measures) = ([Alert](), [AlertSilence](), [Measure]())
        for row in try await transaction.execute(.alertsActive) { alerts.append(try Alert(row)) }
        for row in try await transaction.execute(.alertSilencesAll, [.timestamp(now)]) {
            silences.append(try AlertSilence(row))
        }
        let all =
            rules.values.flatMap(\.values) + AlertRule.defaults(of: .fleet).values
            + AlertRule.ownDefaults.values
        let parameters = AlertWindows(all).parameters(
            standard: settings.defaultMaxPerHour, now: now)
        for row in try await transaction.execute(.alertMeasures, parameters) {
            if let measure = try Measure(row) { measures.append(measure) }
        }
        return AlertEvaluation(
            now: now, maxPerTenant: settings.maxPerTenant, rules: rules, alerts: alerts,
            measures: measures, silences: silences)
    }

    private func write(
        _ result: AlertEvaluation.Result, at now: Timestamp, _ transaction: Pipeline.Transaction
    ) async throws(PostgresError) {
        if !result.changed.isEmpty {
            _ = try await transaction.execute(
                .alertsWrite, [.jsonb(rows(result.changed)), .timestamp(now)])
        }
        if !result.dropped.isEmpty {
            _ = try await transaction.execute(
                .alertsDrop, [.uuids(result.dropped.map(\.tenant.uuid)), .uuids(result.dropped.map(\.id))])
        }
        if !result.notices.isEmpty {
            _ = try await transaction.execute(
                .alertsTell,
                [.jsonb(notices(result.notices)), .timestamp(now), .int8(Int64(settings.maxWaiting))])
        }
        _ = try await transaction.execute(
            .alertHeartbeats, [.timestamp(now), .jsonb(AlertBody.heartbeat(at: now))])
    }

    private func rows(_ alerts: [Alert]) -> String {
        var writer = JSONWriter(capacity: 512 * alerts.count)
        writer.array { writer in
            for alert in alerts {
                writer.object {
                    $0.member("tenant_id", alert.tenant.description)
                    $0.member("id", alert.id.description)
                    $0.member("rule", alert.rule)
                    $0.member("severity", alert.severity.rawValue)
                    $0.member("labels", raw: Array(jsonText(alert.labels).utf8))
                    $0.member("fingerprint", alert.fingerprint)
                    $0.member("state", alert.state.rawValue)
                    $0.member("value", alert.value)
                    $0.member("threshold", alert.threshold)
                    $0.member("started_at", alert.startedAt.microseconds)
                    $0.member("fired_at", orNull: alert.firedAt?.microseconds)
                    $0.member("clear_since", orNull: alert.clearSince?.microseconds)
                    $0.member("resolved_at", orNull: alert.resolvedAt?.microseconds)
                    $0.member("notified_at", orNull: alert.notifiedAt?.microseconds)
                    $0.member("notifications", alert.notifications)
                    $0.member("silenced", alert.isSilenced)
                    $0.member("inhibited", alert.isInhibited)
                }
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    private func notices(_ notices: [AlertNotice]) -> String {
        var writer = JSONWriter(capacity: 1024 * notices.count)
        writer.array { writer in
            for notice in notices {
                writer.object {
                    $0.member("tenant_id", notice.alert.tenant.description)
                    $0.member("alert_id", notice.alert.id.description)
                    $0.member("number", notice.alert.notifications)
                    $0.member("rule", notice.alert.rule)
                    $0.member("severity", notice.alert.severity.rawValue)
                    $0.member("cause", notice.cause.rawValue)
                    $0.member("body", raw: AlertBody.bytes(notice))
                }
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}

extension Event {
    /// Whether rules may be broken by it: they are looked at then, not when their time has come. Users are hurt,
    /// or are well again.
    package var mayMoveAlerts: Bool {
        switch self {
        case .breakerMoved, .rateLimitDenied: true
        case .creation(let event):
            if case .criticalFailure = event.step { true } else { false }
        default: false
        }
    }
}

extension Statement {
    fileprivate static let alertLock = Statement(
        "alert_lock", "SELECT pg_advisory_xact_lock(hashtextextended('breakwater.alerts', 0))")
    fileprivate static let alertRulesAll = Statement(
        "alert_rules_all", "SELECT tenant_id, name, rule FROM alert_rule")
    fileprivate static let alertsActive = Statement(
        "alerts_active", "SELECT * FROM alert WHERE state <> 'resolved'")
    fileprivate static let alertSilencesAll = Statement(
        "alert_silences_all", "SELECT * FROM alert_silence WHERE ends_at > $1")

    /// What people write (acknowledged_...) is not touched. A tenant that is gone makes no row.
    fileprivate static let alertsWrite = Statement(
        "alerts_write",
        """
        INSERT INTO alert AS a (tenant_id, id, rule, severity, labels, fingerprint, state, value, threshold,
                                started_at, fired_at, clear_since, resolved_at, notified_at, notifications,
                                silenced, inhibited, updated_at)
        SELECT i.tenant_id, i.id, i.rule, i.severity, i.labels, i.fingerprint, i.state, i.value, i.threshold,
               \(time("started_at")), \(time("fired_at")), \(time("clear_since")), \(time("resolved_at")),
               \(time("notified_at")), i.notifications, i.silenced, i.inhibited, $2
        FROM   jsonb_to_recordset($1) AS i (
                   tenant_id uuid, id uuid, rule text, severity text, labels jsonb, fingerprint text, state text,
                   value float8, threshold float8, started_at int8, fired_at int8, clear_since int8,
                   resolved_at int8, notified_at int8, notifications int, silenced boolean, inhibited boolean)
        JOIN   tenant AS t ON t.id = i.tenant_id
        ON CONFLICT (tenant_id, id) DO UPDATE
        SET    severity = excluded.severity, state = excluded.state, value = excluded.value,
               threshold = excluded.threshold, fired_at = excluded.fired_at, clear_since = excluded.clear_since,
               resolved_at = excluded.resolved_at, notified_at = excluded.notified_at,
               notifications = excluded.notifications, silenced = excluded.silenced,
               inhibited = excluded.inhibited, updated_at = excluded.updated_at
        """)
    fileprivate static let alertsDrop = Statement(
        "alerts_drop",
        """
        DELETE FROM alert WHERE state = 'pending'
        AND   (tenant_id, id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
        """)

    /// One notification for each channel that wants it: of the tenant, and of the fleet where those are told
    /// of all tenants. That it is over is told to whom it was told that it fires.
    fileprivate static let alertsTell = Statement(
        "alerts_tell",
        """
        INSERT INTO alert_notification (tenant_id, channel_id, alert_tenant, alert_id, number, event, body,
                                        created_at, not_before, dead_at, last_error)
        SELECT c.tenant_id, c.id, i.tenant_id, i.alert_id, i.number,
               CASE i.cause WHEN 'resolved' THEN 'alert.resolved' ELSE 'alert.firing' END, i.body, $2, $2,
               CASE WHEN w.n >= $3 THEN $2 END, CASE WHEN w.n >= $3 THEN 'the channel''s queue was full' END
        FROM   jsonb_to_recordset($1) AS i (
                   tenant_id uuid, alert_id uuid, number int, rule text, severity text, cause text, body jsonb)
        JOIN   alert_channel AS c ON c.enabled
               AND (c.tenant_id = i.tenant_id OR c.all_tenants)
        CROSS  JOIN LATERAL (
            SELECT count(*) AS n FROM alert_notification AS n
            WHERE  n.tenant_id = c.tenant_id AND n.channel_id = c.id AND n.sent_at IS NULL AND n.dead_at IS NULL
        ) AS w
        WHERE  CASE i.cause WHEN 'resolved' THEN EXISTS (
                   SELECT FROM alert_notification AS n
                   WHERE  n.tenant_id = c.tenant_id AND n.channel_id = c.id AND n.alert_id = i.alert_id)
               ELSE array_position(ARRAY['info', 'warning', 'critical'], i.severity)
                    >= array_position(ARRAY['info', 'warning', 'critical'], c.min_severity)
               AND (c.rules = '{}' OR i.rule = ANY (c.rules)) END
        """)

    /// A sign of life to channels that ask for one, unless the last is still on its way.
    fileprivate static let alertHeartbeats = Statement(
        "alert_heartbeats",
        """
        WITH due AS (
            UPDATE alert_channel AS c SET heartbeat_at = $1
            WHERE  c.enabled AND c.heartbeat_s IS NOT NULL
            AND   (c.heartbeat_at IS NULL OR c.heartbeat_at <= $1 - c.heartbeat_s * interval '1 second')
            AND    NOT EXISTS (
                SELECT FROM alert_notification AS n
                WHERE  n.tenant_id = c.tenant_id AND n.channel_id = c.id AND n.event = 'alert.heartbeat'
                AND    n.sent_at IS NULL AND n.dead_at IS NULL)
            RETURNING c.tenant_id, c.id)
        INSERT INTO alert_notification (tenant_id, channel_id, number, event, body, created_at, not_before)
        SELECT tenant_id, id, 0, 'alert.heartbeat', $2, $1, $1 FROM due
        """)

    private static func time(_ column: String) -> String {
        "timestamptz 'epoch' + i.\(column) * interval '1 microsecond'"
    }
}
