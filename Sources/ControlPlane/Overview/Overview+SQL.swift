internal import Postgres

/// One member of an overview: a statement whose one row is its JSON.
struct OverviewPart: Sendable {
    let name: String
    let statement: Statement
    /// Whether $1 bounds its rows.
    var isBounded = true
}

// `now()` is the time of the transaction, which has just begun: an index can be searched for it.
extension Statement {
    static let tenantOverview = overview("tenant", "= bw_tenant()")
    static let fleetOverview =
        overview("fleet", "IS NOT NULL") + [
            OverviewPart(
                name: "failingJobs",
                statement: Statement(
                    "overview_jobs",
                    """
                    SELECT coalesce(json_agg(name ORDER BY name), '[]')::text FROM job
                    WHERE  failures > 0 OR outcome = 'failed'
                    """), isBounded: false)
        ]

    private static func overview(_ whose: String, _ tenant: String) -> [OverviewPart] {
        [
            OverviewPart(name: "creations", statement: creations(whose, tenant)),
            OverviewPart(name: "sandboxes", statement: sandboxes(whose, tenant)),
            OverviewPart(name: "denials", statement: denials(whose, tenant), isBounded: false),
            OverviewPart(name: "alerts", statement: alerts(whose, tenant)),
        ]
    }

    private static func time(_ column: String) -> String {
        "to_char(\(column) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
    }

    /// Requests of the last hour that came to an end: those that the service worked off, and those of callers
    /// who call the provider themselves, as they told. What the caller gave up is no failure.
    private static func creations(_ whose: String, _ tenant: String) -> Statement {
        Statement(
            "overview_creations_\(whose)",
            """
            WITH ended AS MATERIALIZED (
                (SELECT r.tenant_id, r.id, r.ended_at, g.provider, r.region, r.state = 'fulfilled' AS ok,
                        coalesce(r.error_kind, r.state) AS kind, r.error, r.template, r.attempts AS tries,
                        r.fell_back, extract(epoch FROM r.ended_at - r.created_at) * 1000 AS ms
                 FROM   sandbox_request AS r
                 LEFT   JOIN region AS g ON g.tenant_id = r.tenant_id AND g.name = r.region
                 WHERE  r.tenant_id \(tenant) AND r.ended_at > now() - interval '1 hour'
                 AND    r.state IN ('fulfilled', 'failed', 'expired', 'dead')
                 ORDER  BY r.ended_at DESC LIMIT $1)
                UNION ALL
                (SELECT a.tenant_id, a.id, a.ended_at, split_part(a.breaker, ':', 1), split_part(a.breaker, ':', 2),
                        a.outcome = 'succeeded', a.kind, NULL, NULL, a.number, false,
                        extract(epoch FROM a.ended_at - a.at) * 1000
                 FROM   attempt AS a
                 WHERE  a.tenant_id \(tenant) AND a.at > now() - interval '70 minutes'
                 AND    a.ended_at > now() - interval '1 hour' AND a.breaker LIKE '%:create'
                 AND    (a.outcome = 'succeeded' OR a.outcome = 'failed' AND a.stop IS NOT NULL)
                 ORDER  BY a.at DESC LIMIT $1)),
            judged AS MATERIALIZED (
                SELECT *, ended_at > now() - interval '5 minutes' AS late FROM ended),
            total AS (
                SELECT json_build_object(
                    'succeeded', count(*) FILTER (WHERE ok), 'failed', count(*) FILTER (WHERE NOT ok),
                    'succeeded5m', count(*) FILTER (WHERE ok AND late),
                    'failed5m', count(*) FILTER (WHERE NOT ok AND late),
                    'fellBack', count(*) FILTER (WHERE fell_back),
                    'tenants5m', count(DISTINCT tenant_id) FILTER (WHERE late),
                    'tenantsHurt5m', count(DISTINCT tenant_id) FILTER (WHERE NOT ok AND late),
                    'latencyMs', \(latency)) AS json, count(*) >= $1 AS is_truncated
                FROM judged),
            minutes AS (
                SELECT json_agg(json_build_object(
                    'at', \(time("minute")), 'succeeded', succeeded, 'failed', failed, 'tries', tries,
                    'latencyMs', latency) ORDER BY minute) AS json
                FROM  (SELECT date_trunc('minute', ended_at) AS minute, count(*) FILTER (WHERE ok) AS succeeded,
                              count(*) FILTER (WHERE NOT ok) AS failed, sum(tries) AS tries, \(latency) AS latency
                       FROM judged GROUP BY 1) AS m),
            places AS (
                SELECT json_agg(json_build_object(
                    'provider', provider, 'region', region, 'succeeded', succeeded, 'failed', failed,
                    'succeeded5m', succeeded5m, 'failed5m', failed5m, 'latencyMs', latency)
                    ORDER BY failed5m DESC, failed DESC, provider, region) AS json
                FROM  (SELECT coalesce(provider, 'unknown') AS provider, region,
                              count(*) FILTER (WHERE ok) AS succeeded, count(*) FILTER (WHERE NOT ok) AS failed,
                              count(*) FILTER (WHERE ok AND late) AS succeeded5m,
                              count(*) FILTER (WHERE NOT ok AND late) AS failed5m, \(latency) AS latency
                       FROM judged GROUP BY 1, 2 ORDER BY 6 DESC, 4 DESC LIMIT 50) AS p),
            kinds AS (
                SELECT json_agg(json_build_object('kind', kind, 'count', n, 'count5m', n5m)
                                ORDER BY n DESC, kind) AS json
                FROM  (SELECT kind, count(*) AS n, count(*) FILTER (WHERE late) AS n5m
                       FROM judged WHERE NOT ok GROUP BY 1) AS k),
            tries AS (
                SELECT json_agg(json_build_object('tries', tries, 'succeeded', succeeded, 'failed', failed)
                                ORDER BY tries) AS json
                FROM  (SELECT least(tries, 5) AS tries, count(*) FILTER (WHERE ok) AS succeeded,
                              count(*) FILTER (WHERE NOT ok) AS failed FROM judged GROUP BY 1) AS t),
            failures AS (
                SELECT json_agg(json_build_object(
                    'at', \(time("ended_at")), 'tenantId', tenant_id, 'id', id, 'provider', provider,
                    'region', region, 'kind', kind, 'error', left(error, 200), 'template', template,
                    'tries', tries) ORDER BY ended_at DESC, id) AS json
                FROM  (SELECT * FROM judged WHERE NOT ok ORDER BY ended_at DESC, id LIMIT 15) AS f),
            waiting AS (
                SELECT json_build_object('count', count(*), 'oldestAt', \(time("min(created_at)"))) AS json
                FROM  (SELECT r.created_at FROM sandbox_request AS r
                       WHERE r.tenant_id \(tenant) AND r.ended_at IS NULL LIMIT $1) AS w)
            SELECT json_build_object(
                'total', total.json, 'minutes', coalesce(minutes.json, '[]'),
                'places', coalesce(places.json, '[]'), 'kinds', coalesce(kinds.json, '[]'),
                'tries', coalesce(tries.json, '[]'), 'failures', coalesce(failures.json, '[]'),
                'waiting', waiting.json, 'isTruncated', total.is_truncated)::text
            FROM total, minutes, places, kinds, tries, failures, waiting
            """)
    }

    /// Of what succeeded, in whole milliseconds; null for none.
    private static let latency = """
        CASE WHEN count(*) FILTER (WHERE ok) > 0 THEN json_build_object(
            'p50', round(percentile_disc(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE ok)),
            'p95', round(percentile_disc(0.95) WITHIN GROUP (ORDER BY ms) FILTER (WHERE ok)),
            'p99', round(percentile_disc(0.99) WITHIN GROUP (ORDER BY ms) FILTER (WHERE ok))) END
        """

    /// Those that live, those that ended in the last hour, and those that somebody should look at.
    private static func sandboxes(_ whose: String, _ tenant: String) -> Statement {
        Statement(
            "overview_sandboxes_\(whose)",
            """
            WITH live AS MATERIALIZED (
                SELECT * FROM sandbox AS s WHERE s.tenant_id \(tenant) AND s.ended_at IS NULL LIMIT $1),
            over AS MATERIALIZED (
                SELECT * FROM sandbox AS s
                WHERE  s.tenant_id \(tenant) AND s.ended_at > now() - interval '1 hour'
                ORDER  BY s.ended_at DESC LIMIT $1),
            states AS (
                SELECT json_object_agg(state, n ORDER BY state) AS json
                FROM  (SELECT state, count(*) AS n FROM live GROUP BY 1) AS s),
            ended AS (
                SELECT json_object_agg(state, n ORDER BY state) AS json
                FROM  (SELECT state, count(*) AS n FROM over GROUP BY 1) AS s),
            regions AS (
                SELECT json_agg(json_build_object('region', region, 'live', n) ORDER BY n DESC, region) AS json
                FROM  (SELECT region, count(*) AS n FROM live GROUP BY 1 ORDER BY 2 DESC LIMIT 50) AS r),
            troubled AS (
                SELECT json_agg(json_build_object(
                    'tenantId', tenant_id, 'id', id, 'state', state, 'reason', reason, 'health', health,
                    'region', region, 'template', template, 'since', \(time("changed_at")))
                    ORDER BY changed_at DESC, id) AS json
                FROM  (SELECT * FROM (
                           SELECT * FROM live
                           WHERE  health = 'zombie' OR state = 'orphan'
                           OR     state IN ('creating', 'create_unknown', 'stopping')
                                  AND changed_at < now() - interval '1 minute'
                           UNION ALL SELECT * FROM over WHERE state = 'lost' OR health = 'zombie') AS t
                       ORDER BY changed_at DESC, id LIMIT 20) AS t)
            SELECT json_build_object(
                'live', (SELECT count(*) FROM live), 'states', coalesce(states.json, '{}'),
                'expiring5m', (SELECT count(*) FROM live WHERE state IN ('booting', 'running') AND NOT pauses
                               AND ends_at < now() + interval '5 minutes'),
                'endedLastHour', coalesce(ended.json, '{}'),
                'zombies', (SELECT count(*) FROM live WHERE health = 'zombie')
                         + (SELECT count(*) FROM over WHERE health = 'zombie'),
                'regions', coalesce(regions.json, '[]'), 'troubled', coalesce(troubled.json, '[]'))::text
            FROM states, ended, regions, troubled
            """)
    }

    /// Alerts that fire and those that may, the worst first.
    private static func alerts(_ whose: String, _ tenant: String) -> Statement {
        Statement(
            "overview_alerts_\(whose)",
            """
            WITH active AS MATERIALIZED (
                SELECT * FROM alert AS a WHERE a.tenant_id \(tenant) AND a.state <> 'resolved' LIMIT $1),
            listed AS (
                SELECT *, row_number() OVER (
                           ORDER BY state = 'firing' DESC, silenced OR inhibited,
                                    array_position(ARRAY['critical', 'warning', 'info'], severity),
                                    coalesce(fired_at, started_at) DESC, id) AS place
                FROM   active)
            SELECT json_build_object(
                'firing', count(*) FILTER (WHERE state = 'firing'),
                'pending', count(*) FILTER (WHERE state = 'pending'),
                'items', coalesce(json_agg(json_build_object(
                    'tenantId', tenant_id, 'id', id, 'rule', rule, 'severity', severity, 'state', state,
                    'labels', labels, 'since', \(time("coalesce(fired_at, started_at)")),
                    'silenced', silenced, 'inhibited', inhibited, 'acknowledged', acknowledged_at IS NOT NULL)
                    ORDER BY place) FILTER (WHERE place <= 50), '[]'))::text
            FROM listed
            """)
    }

    /// Calls that a limit refused in the last hour.
    private static func denials(_ whose: String, _ tenant: String) -> Statement {
        Statement(
            "overview_denials_\(whose)",
            """
            SELECT json_build_object('calls', coalesce(sum(denied_calls), 0),
                                     'units', coalesce(sum(denied_units), 0))::text
            FROM   usage_minute WHERE tenant_id \(tenant) AND at > now() - interval '1 hour'
            """)
    }
}
