import Postgres

/// Which windows the rules look over, by what is measured.
struct AlertWindows: Hashable, Sendable {
    var creations: Set<Int32> = []
    var openings: Set<Int32> = []
    var quotas: Set<Int32> = []
    var dead: Set<Int32> = []
    var sandboxes: Set<Int32> = []
    /// The share of a limit from which a quota is worth reporting.
    var quotaFloor = 1.0

    init(_ rules: some Sequence<AlertRule>) {
        for rule in rules where rule.isEnabled {
            switch rule.kind {
            case .creationFailures, .creationFailureShare: creations.insert(rule.window)
            case .breakerOpenings: openings.insert(rule.window)
            case .quotaUsed:
                quotas.insert(rule.window)
                quotaFloor = min(quotaFloor, (rule.clearAt ?? rule.threshold) / 100)
            case .notificationsDead, .tasksDead: dead.insert(rule.window)
            case .orphanShare, .zombieShare: sandboxes.insert(rule.window)
            case .breakerOpen, .breakerNotClosed, .breakerOverride, .tenantsOpen, .jobLate,
                .killsHeldBack:
                break
            }
        }
    }

    /// - Parameters:
    ///   - standard: the deployment's hourly limit of operations without a policy.
    ///   - now: a test's clock; nil: the database's own.
    func parameters(standard: Int64?, now: Timestamp?) -> [Parameter] {
        [
            .timestamp(now), list(creations), list(openings), list(quotas), list(dead),
            list(sandboxes), .double(quotaFloor), .int8(standard),
        ]
    }

    private func list(_ windows: Set<Int32>) -> Parameter { .int4s(windows.sorted()) }
}

extension Measure {
    /// Nil of a kind that is not known here.
    init?(_ row: Row) throws(PostgresError) {
        guard let kind = AlertKind(rawValue: try row.text("kind")) else { return nil }
        self.init(
            tenant: Tenant.ID(try row.uuid("tenant_id")), kind: kind,
            labels: readLabels(try row.json("labels")), window: try row.int32("window_s"),
            value: try row.double("value"), volume: try row.int64("volume"))
    }
}

extension Statement {
    static let alertClock = Statement(
        "alert_clock", "SELECT coalesce($1, clock_timestamp()) AS now")

    /// Everything that rules look at and that is not as good as it can be, for every tenant that is not
    /// suspended. $1: the time; then windows in seconds of creations, openings, quotas, dead letters and
    /// sandboxes; the least share of a quota; the deployment's hourly limit.
    static let alertMeasures = Statement(
        "alert_measures",
        """
        WITH live AS (SELECT id FROM tenant WHERE suspended_at IS NULL),
        fleet AS (SELECT '00000000-0000-0000-0000-000000000000'::uuid AS id),
        breakers AS (
            SELECT b.tenant_id, b.id, b.machine, o.override, e.at AS moved_at,
                   CASE WHEN o.override = 'FORCED_OPEN' THEN 'OPEN' WHEN o.override = 'DISABLED' THEN 'CLOSED'
                   ELSE b.machine ->> 'state' END AS state
            FROM   breaker AS b JOIN live ON live.id = b.tenant_id
            CROSS  JOIN LATERAL (
                SELECT CASE WHEN (b.machine ->> 'overrideUntil')::int8 <= extract(epoch FROM $1::timestamptz) * 1000000
                       THEN NULL ELSE b.machine ->> 'override' END AS override) AS o
            LEFT   JOIN LATERAL (
                SELECT at FROM breaker_event AS e WHERE e.tenant_id = b.tenant_id AND e.breaker = b.id
                ORDER BY generation DESC LIMIT 1) AS e ON true
            WHERE  b.state <> 'CLOSED'),
        timed AS (
            SELECT b.*, CASE WHEN override = 'FORCED_OPEN' THEN moved_at
                        ELSE timestamptz 'epoch' + (machine ->> 'openedAt')::int8 * interval '1 microsecond' END AS open_at,
                   coalesce(timestamptz 'epoch' + (machine ->> 'unclosedSince')::int8 * interval '1 microsecond',
                            moved_at) AS unclosed_at
            FROM   breakers AS b),
        creations AS (
            SELECT w.s, x.tenant_id, count(*) FILTER (WHERE x.failed) AS failed, count(*) AS ended
            FROM   unnest($2::int[]) AS w (s)
            CROSS  JOIN LATERAL (
                SELECT r.tenant_id, r.state <> 'fulfilled' AS failed FROM sandbox_request AS r
                WHERE  r.ended_at > $1 - w.s * interval '1 second' AND r.ended_at <= $1
                AND    r.state IN ('fulfilled', 'failed', 'expired', 'dead')
                UNION  ALL
                -- Of callers who call the provider themselves: the last try of a permit. A permit lasts an hour.
                SELECT a.tenant_id, a.outcome = 'failed' FROM attempt AS a
                WHERE  a.at > $1 - w.s * interval '1 second' - interval '1 hour'
                AND    a.ended_at > $1 - w.s * interval '1 second' AND a.ended_at <= $1
                AND    a.breaker LIKE '%:create'
                AND   (a.outcome = 'succeeded' OR a.outcome = 'failed' AND a.stop IS NOT NULL)) AS x
            JOIN   live ON live.id = x.tenant_id
            GROUP  BY 1, 2),
        made AS (
            SELECT w.s, count(*) AS n, count(*) FILTER (WHERE b.health = 'zombie') AS zombies,
                   (SELECT count(*) FROM sandbox_event AS e
                    WHERE e.to_state = 'orphan' AND e.at > $1 - w.s * interval '1 second' AND e.at <= $1) AS orphans
            FROM   unnest($6::int[]) AS w (s)
            JOIN   sandbox AS b ON b.created_at > $1 - w.s * interval '1 second' AND b.created_at <= $1
            GROUP  BY w.s)
        SELECT 'breaker_open' AS kind, tenant_id, jsonb_build_object('breaker', id) AS labels, 0 AS window_s,
               extract(epoch FROM $1 - open_at)::float8 AS value, 0::int8 AS volume
        FROM   timed WHERE state = 'OPEN' AND open_at IS NOT NULL
        UNION  ALL
        SELECT 'breaker_not_closed', tenant_id, jsonb_build_object('breaker', id), 0,
               extract(epoch FROM $1 - unclosed_at)::float8, 0
        FROM   timed WHERE state <> 'CLOSED' AND unclosed_at IS NOT NULL
        UNION  ALL
        SELECT 'breaker_override', tenant_id, jsonb_build_object('breaker', id, 'override', override), 0,
               extract(epoch FROM $1 - moved_at)::float8, 0
        FROM   timed WHERE override IS NOT NULL AND NOT machine ? 'overrideUntil' AND moved_at IS NOT NULL
        UNION  ALL
        SELECT 'breaker_openings', e.tenant_id, jsonb_build_object('breaker', e.breaker), w.s, count(*)::float8, 0
        FROM   unnest($3::int[]) AS w (s)
        JOIN   breaker_event AS e ON e.at > $1 - w.s * interval '1 second' AND e.at <= $1
        JOIN   live ON live.id = e.tenant_id
        WHERE  e.from_state = 'CLOSED' AND e.to_state = 'OPEN'
        GROUP  BY e.tenant_id, e.breaker, w.s
        UNION  ALL
        SELECT 'creation_failures', tenant_id, '{}', s, failed::float8, ended FROM creations WHERE failed > 0
        UNION  ALL
        SELECT 'creation_failure_share', tenant_id, '{}', s, 100.0 * failed / ended, ended
        FROM   creations WHERE failed > 0
        UNION  ALL
        SELECT 'quota_used', q.tenant_id,
               jsonb_build_object('operation', q.operation, 'windowS', q.window_s::text), q.window_s,
               100.0 * q.used / q.cap, q.used
        FROM   bw_alert_quotas($4::int[], $7::float8, $8::int8, $1) AS q
        UNION  ALL
        SELECT 'notifications_dead', n.tenant_id, jsonb_build_object('channel', n.channel_id::text), w.s,
               count(*)::float8, 0
        FROM   unnest($5::int[]) AS w (s)
        JOIN   alert_notification AS n ON n.dead_at > $1 - w.s * interval '1 second' AND n.dead_at <= $1
        JOIN   live ON live.id = n.tenant_id
        GROUP  BY n.tenant_id, n.channel_id, w.s
        UNION  ALL
        SELECT 'tenants_open', fleet.id, '{}', 0, 100.0 * open.n / nullif(every.n, 0), every.n
        FROM   fleet,
               (SELECT count(DISTINCT tenant_id) AS n FROM timed, fleet
                WHERE state = 'OPEN' AND tenant_id <> fleet.id) AS open,
               (SELECT count(*) AS n FROM live, fleet WHERE live.id <> fleet.id) AS every
        WHERE  open.n > 0 AND every.n > 0
        UNION  ALL
        SELECT 'job_late', fleet.id, jsonb_build_object('job', j.name), 0,
               extract(epoch FROM $1 - j.next_run_at)::float8, 0
        FROM   job AS j, fleet
        WHERE  j.next_run_at < $1 AND (j.holder IS NULL OR j.lease_until <= $1)
        UNION  ALL
        SELECT 'tasks_dead', fleet.id, jsonb_build_object('kind', t.kind), w.s, count(*)::float8, 0
        FROM   fleet, unnest($5::int[]) AS w (s)
        JOIN   task AS t ON coalesce(t.done_at, t.dead_at) > $1 - w.s * interval '1 second'
               AND coalesce(t.done_at, t.dead_at) <= $1 AND t.dead_at IS NOT NULL
        GROUP  BY fleet.id, t.kind, w.s
        UNION  ALL
        SELECT 'kills_held_back', fleet.id, '{}', 0, (j.detail ->> 'overBudget')::float8, 0
        FROM   job AS j, fleet WHERE j.name = 'sandboxes.reconcile' AND j.detail ? 'overBudget'
        UNION  ALL
        SELECT 'orphan_share', fleet.id, '{}', s, 100.0 * orphans / n, n FROM made, fleet WHERE orphans > 0
        UNION  ALL
        SELECT 'zombie_share', fleet.id, '{}', s, 100.0 * zombies / n, n FROM made, fleet WHERE zombies > 0
        """)
}
