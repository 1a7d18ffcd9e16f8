-- Roll-ups for charts: units by minute and hour, made from the log by a job, and denials, which write
-- nothing else: instances add them up and bring them each second.
SET LOCAL ROLE bw_owner;

CREATE OR REPLACE FUNCTION bw_partition_step(parent text) RETURNS interval LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN parent = 'usage_log' THEN interval '1 hour'
                WHEN parent IN ('event', 'usage_log_long', 'request_record', 'usage_minute')
                THEN interval '1 day' END;

-- Rows arrive in order of time: a range of it is a range of pages.
CREATE INDEX usage_log_at ON usage_log USING brin (at) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE usage_minute (
    tenant_id    uuid NOT NULL,
    op           smallint NOT NULL,
    at           timestamptz NOT NULL,
    units        bigint NOT NULL DEFAULT 0,
    denied_calls bigint NOT NULL DEFAULT 0,
    denied_units bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, op, at)
) PARTITION BY RANGE (at);
COMMENT ON TABLE usage_minute IS 'What an operation used and was denied in a minute. Partitions of a day.';
COMMENT ON COLUMN usage_minute.units IS 'The log''s sum for the minute; refunds are not taken off.';
COMMENT ON COLUMN usage_minute.denied_calls IS 'As instances brought them; one that is killed loses its last second.';
CREATE INDEX usage_minute_at ON usage_minute USING brin (at) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE usage_hour (
    tenant_id    uuid NOT NULL,
    op           smallint NOT NULL,
    at           timestamptz NOT NULL,
    units        bigint NOT NULL DEFAULT 0,
    denied_calls bigint NOT NULL DEFAULT 0,
    denied_units bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, op, at)
);
COMMENT ON TABLE usage_hour IS 'usage_minute, added up by hour.';
CREATE INDEX usage_hour_at ON usage_hour (at);

CREATE TABLE usage_rollup (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    upto     timestamptz NOT NULL
);
COMMENT ON TABLE usage_rollup IS 'Up to when the log has been rolled up. On Citus a reference table.';
INSERT INTO usage_rollup (upto) VALUES (date_trunc('minute', clock_timestamp()) - interval '1 hour');
GRANT SELECT ON usage_rollup TO bw_app, bw_operator, bw_ledger;
GRANT UPDATE ON usage_rollup TO bw_ledger;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['usage_minute', 'usage_hour'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY %I ON %I FOR SELECT USING (tenant_id = bw_tenant())', name || '_own', name);
        EXECUTE format('CREATE POLICY %I ON %I TO bw_operator USING (true)', name || '_fleet', name);
        EXECUTE format('CREATE POLICY %I ON %I TO bw_ledger USING (true) WITH CHECK (true)', name || '_ledger', name);
        EXECUTE format('GRANT SELECT ON %I TO bw_app', name);
        EXECUTE format('GRANT SELECT, DELETE ON %I TO bw_operator', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO bw_ledger', name);
    END LOOP;
END $$;
SELECT bw_make_partitions('usage_minute', NULL, 2);

-- Rolls the log up to the last whole minute; answers how many minutes of operations were written.
--
-- The last 15 s are left: a batch's time is read before its commit, and no statement lasts longer. The
-- last five minutes are made anew each time, for rows of a clock that stepped back. A run that was
-- missed is caught up as far as the log goes back. Writing the same again changes nothing.
CREATE FUNCTION bw_roll_up(now_in timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public SET timezone = 'UTC' AS $$
DECLARE
    now_ timestamptz := coalesce(now_in, clock_timestamp());
    upto_ timestamptz := date_trunc('minute', now_ - interval '15 seconds');
    from_ timestamptz;
    written bigint;
BEGIN
    SELECT least(r.upto, upto_) - interval '5 minutes' INTO from_ FROM usage_rollup AS r FOR UPDATE;
    from_ := greatest(from_, upto_ - interval '26 hours');
    PERFORM bw_make_partitions('usage_minute', from_, 2);
    INSERT INTO usage_minute AS m (tenant_id, op, at, units)
    SELECT l.tenant_id, l.op, date_trunc('minute', l.at), sum(l.units)
    FROM   usage_log AS l WHERE l.at >= from_ AND l.at < upto_ AND l.op > 0
    GROUP  BY 1, 2, 3
    ON CONFLICT (tenant_id, op, at) DO UPDATE SET units = excluded.units
    WHERE  m.units <> excluded.units;
    GET DIAGNOSTICS written = ROW_COUNT;
    INSERT INTO usage_hour AS h (tenant_id, op, at, units, denied_calls, denied_units)
    SELECT m.tenant_id, m.op, date_trunc('hour', m.at), sum(m.units), sum(m.denied_calls), sum(m.denied_units)
    FROM   usage_minute AS m
    WHERE  m.at >= date_trunc('hour', from_) AND m.at < date_trunc('hour', upto_) + interval '1 hour'
    GROUP  BY 1, 2, 3
    ON CONFLICT (tenant_id, op, at) DO UPDATE
    SET    units = excluded.units, denied_calls = excluded.denied_calls, denied_units = excluded.denied_units
    WHERE  (h.units, h.denied_calls, h.denied_units)
           IS DISTINCT FROM (excluded.units, excluded.denied_calls, excluded.denied_units);
    UPDATE usage_rollup SET upto = greatest(upto, upto_);
    RETURN written;
END $$;
GRANT EXECUTE ON FUNCTION bw_roll_up TO bw_app;
ALTER FUNCTION bw_roll_up OWNER TO bw_ledger;

-- Adds denials to their minutes.
CREATE FUNCTION bw_count_denied(t uuid[], o int2[], minutes timestamptz[], calls int8[], denied int8[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public SET timezone = 'UTC' AS $$
BEGIN
    INSERT INTO usage_minute AS m (tenant_id, op, at, denied_calls, denied_units)
    SELECT i.t, i.o, date_trunc('minute', i.at), sum(i.calls), sum(i.denied)
    FROM   unnest(t, o, minutes, calls, denied) AS i (t, o, at, calls, denied)
    WHERE  EXISTS (SELECT FROM tenant WHERE id = i.t)
    GROUP  BY 1, 2, 3 ORDER BY 1, 2, 3  -- in key order: two instances cannot deadlock
    ON CONFLICT (tenant_id, op, at) DO UPDATE
    SET    denied_calls = m.denied_calls + excluded.denied_calls,
           denied_units = m.denied_units + excluded.denied_units;
END $$;
GRANT EXECUTE ON FUNCTION bw_count_denied TO bw_app;
ALTER FUNCTION bw_count_denied OWNER TO bw_ledger;

RESET ROLE;
