-- Alerts: rules as data, what fires, whom it is told, and what must be kept silent.
--
-- One instance at a time evaluates (a job under lease, and a lock inside for two that both believe to have
-- it): it reads what the rules measure, decides (code of the service, AlertMachine), and writes the alerts
-- with their notifications in one transaction. Any instance sends notifications, under a lease, until the
-- receiver takes them or the tries are used up.
SET LOCAL ROLE bw_owner;

CREATE TABLE alert_rule (
    tenant_id  uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    name       text NOT NULL,
    version    bigint NOT NULL DEFAULT 1,
    rule       jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_by text NOT NULL,
    PRIMARY KEY (tenant_id, name),
    CONSTRAINT alert_rule_name_form CHECK (name ~ '^[a-z0-9-]{1,64}$')
);
COMMENT ON TABLE alert_rule IS 'Rules that differ from those of the service, and further ones. Tenant nil: over the fleet.';
COMMENT ON COLUMN alert_rule.rule IS 'As on the wire.';

CREATE TABLE alert (
    tenant_id           uuid NOT NULL,
    id                  uuid NOT NULL,
    rule                text NOT NULL,
    severity            text NOT NULL,
    labels              jsonb NOT NULL,
    fingerprint         text NOT NULL,
    state               text NOT NULL,
    value               double precision NOT NULL,
    threshold           double precision NOT NULL,
    started_at          timestamptz NOT NULL,
    fired_at            timestamptz,
    clear_since         timestamptz,
    resolved_at         timestamptz,
    notified_at         timestamptz,
    notifications       int NOT NULL DEFAULT 0,
    silenced            boolean NOT NULL DEFAULT false,
    inhibited           boolean NOT NULL DEFAULT false,
    acknowledged_at     timestamptz,
    acknowledged_by     text,
    acknowledged_reason text,
    updated_at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT alert_state CHECK (state IN ('pending', 'firing', 'resolved')),
    CONSTRAINT alert_severity CHECK (severity IN ('info', 'warning', 'critical')),
    CONSTRAINT alert_fired CHECK ((state = 'pending') = (fired_at IS NULL)),
    CONSTRAINT alert_resolved CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
);
COMMENT ON TABLE alert IS 'One time that a rule was broken, from its beginning to its end.';
COMMENT ON COLUMN alert.fingerprint IS 'Of the rule and the labels: what is the same trouble has the same one.';
COMMENT ON COLUMN alert.clear_since IS 'Since when the rule is kept again, while it still fires.';
COMMENT ON COLUMN alert.notifications IS 'How often it was told.';
-- The same trouble is told once.
CREATE UNIQUE INDEX alert_active ON alert (tenant_id, fingerprint) WHERE state <> 'resolved';
CREATE INDEX alert_resolved_at ON alert (resolved_at) WHERE state = 'resolved';

CREATE TABLE alert_channel (
    tenant_id         uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    id                uuid NOT NULL,
    version           bigint NOT NULL DEFAULT 1,
    name              text NOT NULL,
    kind              text NOT NULL,
    host              text NOT NULL,
    target            bytea NOT NULL,
    secret            bytea,
    min_severity      text NOT NULL,
    rules             text[] NOT NULL,
    all_tenants       boolean NOT NULL,
    heartbeat_s       int,
    heartbeat_at      timestamptz,
    enabled           boolean NOT NULL,
    disabled_reason   text,
    blocked_until     timestamptz,
    last_delivered_at timestamptz,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_by        text NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT alert_channel_kind CHECK (kind IN ('webhook', 'slack', 'sentry')),
    CONSTRAINT alert_channel_severity CHECK (min_severity IN ('info', 'warning', 'critical')),
    CONSTRAINT alert_channel_secret CHECK ((kind = 'webhook') = (secret IS NOT NULL)),
    CONSTRAINT alert_channel_all CHECK (
        NOT all_tenants OR tenant_id = '00000000-0000-0000-0000-000000000000'),
    CONSTRAINT alert_channel_heartbeat CHECK (heartbeat_s BETWEEN 30 AND 86400)
);
COMMENT ON TABLE alert_channel IS 'Where alerts are told.';
COMMENT ON COLUMN alert_channel.host IS 'What may be shown of the target.';
COMMENT ON COLUMN alert_channel.target IS 'URL or DSN, sealed (SecretBox): either may hold a secret.';
COMMENT ON COLUMN alert_channel.secret IS 'What a webhook is signed with, sealed.';
COMMENT ON COLUMN alert_channel.all_tenants IS 'Of the fleet: told of every tenant''s alerts too.';
COMMENT ON COLUMN alert_channel.heartbeat_s IS 'How often it is told that alerts are evaluated; NULL: never.';
COMMENT ON COLUMN alert_channel.blocked_until IS 'The receiver asked for a pause.';

CREATE TABLE alert_notification (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL DEFAULT gen_random_uuid(),
    channel_id   uuid NOT NULL,
    alert_tenant uuid,
    alert_id     uuid,
    number       int NOT NULL,
    event        text NOT NULL,
    body         jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    not_before   timestamptz NOT NULL,
    attempts     int NOT NULL DEFAULT 0,
    fence        bigint NOT NULL DEFAULT 0,
    holder       text,
    lease_until  timestamptz,
    last_status  int,
    last_error   text,
    sent_at      timestamptz,
    dead_at      timestamptz,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT alert_notification_channel FOREIGN KEY (tenant_id, channel_id)
        REFERENCES alert_channel (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT alert_notification_once UNIQUE (tenant_id, channel_id, alert_id, number),
    CONSTRAINT alert_notification_ended CHECK (sent_at IS NULL OR dead_at IS NULL)
);
COMMENT ON TABLE alert_notification IS 'The outbox: written with the move that it tells, sent at least once, always under its id.';
COMMENT ON COLUMN alert_notification.id IS 'Random (version 4), as Sentry asks of an event_id; a webhook''s webhook-id.';
COMMENT ON COLUMN alert_notification.event IS 'The body''s type.';
COMMENT ON COLUMN alert_notification.number IS 'The alert''s count of notifications: they are sent in this order.';
COMMENT ON COLUMN alert_notification.dead_at IS 'Given up: the tries are used up, or the channel''s queue was full.';
CREATE INDEX alert_notification_due ON alert_notification (not_before)
    WHERE sent_at IS NULL AND dead_at IS NULL;
CREATE INDEX alert_notification_waiting ON alert_notification (tenant_id, channel_id, created_at)
    WHERE sent_at IS NULL AND dead_at IS NULL;
CREATE INDEX alert_notification_log ON alert_notification (tenant_id, channel_id, created_at, id);
CREATE INDEX alert_notification_dead ON alert_notification (dead_at) WHERE dead_at IS NOT NULL;
CREATE INDEX alert_notification_created ON alert_notification (created_at);

CREATE TABLE alert_silence (
    tenant_id  uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    id         uuid NOT NULL,
    rule       text,
    labels     jsonb NOT NULL,
    starts_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ends_at    timestamptz NOT NULL,
    reason     text NOT NULL,
    author     text NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT alert_silence_ends CHECK (ends_at >= starts_at)
);
COMMENT ON TABLE alert_silence IS 'Alerts of that rule (NULL: any) whose labels are these are not told until it ends.';
CREATE INDEX alert_silence_ends_at ON alert_silence (ends_at);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['alert_rule', 'alert', 'alert_channel', 'alert_notification', 'alert_silence'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY %I ON %I USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant())',
                       name || '_own', name);
        EXECUTE format('CREATE POLICY %I ON %I TO bw_operator USING (true) WITH CHECK (true)', name || '_fleet', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO bw_app, bw_operator', name);
    END LOOP;
END $$;

-- What rules measure over time is found by time.
CREATE INDEX sandbox_created_at ON sandbox USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX sandbox_event_orphan ON sandbox_event (at) WHERE to_state = 'orphan';
CREATE INDEX attempt_ended_at ON attempt USING brin (ended_at) WITH (pages_per_range = 32, autosummarize = on);

-- Use of every tenant's limits with one of these windows, from `floor` (a share) on. A tenant's default
-- (or, where it has none, the deployment's) is the hourly limit of operations without a policy. Counts are exact.
CREATE FUNCTION bw_alert_quotas(windows int[], floor double precision, standard bigint, now_in timestamptz)
RETURNS TABLE (tenant_id uuid, operation text, window_s int, used bigint, cap bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
#variable_conflict use_column
DECLARE
    now_ timestamptz := coalesce(now_in, clock_timestamp());
    t uuid[];
    o int2[];
    names text[];
    w int[];
    v int8[];
    caps int8[];
BEGIN
    WITH live AS (
        SELECT t.id, coalesce(s.version, 0) AS version, coalesce(s.default_max_per_hour, standard) AS per_hour
        FROM   tenant AS t LEFT JOIN policy_set AS s ON s.tenant_id = t.id
        WHERE  t.suspended_at IS NULL),
    known AS (
        SELECT l.id, l.version, p.operation, CASE p.operation WHEN '*' THEN 0::int2 ELSE o.op END AS op,
               (i ->> 'windowS')::int AS win, min((i ->> 'limit')::int8) AS cap
        FROM   live AS l JOIN policy AS p ON p.tenant_id = l.id
        LEFT   JOIN operation AS o ON o.tenant_id = p.tenant_id AND o.name = p.operation
        CROSS  JOIN LATERAL jsonb_array_elements(
            CASE WHEN p.override_until > now_ THEN p.override ELSE p.limits END) AS i
        WHERE  coalesce(i ->> 'mode', 'enforce') = 'enforce'
        GROUP  BY 1, 2, 3, 4, 5
        UNION  ALL
        SELECT l.id, l.version, o.name, o.op, 3600, l.per_hour
        FROM   live AS l JOIN operation AS o ON o.tenant_id = l.id
        WHERE  l.per_hour IS NOT NULL
        AND    NOT EXISTS (SELECT FROM policy AS p WHERE p.tenant_id = l.id AND p.operation = o.name))
    SELECT array_agg(k.id), array_agg(k.op), array_agg(k.operation), array_agg(k.win),
           array_agg(k.version), array_agg(k.cap)
    INTO   t, o, names, w, v, caps
    FROM   known AS k WHERE k.op IS NOT NULL AND k.cap > 0 AND k.win = ANY (windows);
    IF t IS NULL THEN RETURN; END IF;
    RETURN QUERY
    SELECT t[c.ord], names[c.ord], w[c.ord], c.used, caps[c.ord]
    FROM   bw_check(t, o, w, v, now_) AS c
    WHERE  c.used >= floor * caps[c.ord];
END $$;
GRANT EXECUTE ON FUNCTION bw_alert_quotas TO bw_app, bw_operator;
ALTER FUNCTION bw_alert_quotas OWNER TO bw_ledger;

RESET ROLE;
