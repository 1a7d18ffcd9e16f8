-- The rate-limit ledger: one row per (tenant, operation, batch) with the key's running total.
--
-- The exact count of a window is last.cum - (first_in_window.cum - first_in_window.units): two index
-- descents, whatever the number of records. A denial writes nothing. No answer ever depends on a row
-- older than its window, so cleanup cannot change one.
SET LOCAL ROLE bw_owner;

CREATE TABLE operation (
    tenant_id  uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    op         smallint NOT NULL,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, op),
    CONSTRAINT operation_name_unique UNIQUE (tenant_id, name),
    CONSTRAINT operation_name_form CHECK (name ~ '^[a-z0-9_.-]{1,64}$'),
    CONSTRAINT operation_number_range CHECK (op BETWEEN 1 AND 1000)
);
COMMENT ON TABLE operation IS 'A tenant''s operation names and the numbers that stand for them in usage_log. Never changed.';
ALTER TABLE operation ENABLE ROW LEVEL SECURITY;
ALTER TABLE operation FORCE ROW LEVEL SECURITY;
CREATE POLICY operation_own ON operation USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant());
CREATE POLICY operation_fleet ON operation TO bw_operator USING (true);
CREATE POLICY operation_ledger ON operation TO bw_ledger USING (true) WITH CHECK (true);
GRANT SELECT ON operation TO bw_app, bw_operator;
GRANT SELECT, INSERT ON operation TO bw_ledger;

CREATE TABLE usage_log (
    at        timestamptz NOT NULL,
    cum       bigint NOT NULL,
    tenant_id uuid NOT NULL,
    units     int NOT NULL,
    op        smallint NOT NULL,
    CONSTRAINT usage_log_units_positive CHECK (units > 0)
) PARTITION BY RANGE (at);
COMMENT ON TABLE usage_log IS 'Append-only. 8-byte columns first: 68 bytes a row with its line pointer. Partitions of an hour.';
COMMENT ON COLUMN usage_log.at IS 'The database''s clock, read while the key''s lock is held; strictly rising for a key.';
COMMENT ON COLUMN usage_log.units IS 'Sum of the costs that this batch admitted for this key.';
COMMENT ON COLUMN usage_log.cum IS 'Running total of the key with this row. Restarts at 0 for a key with no rows left.';
-- Tenant first; unique as a safety net under the locks.
CREATE UNIQUE INDEX usage_log_key ON usage_log (tenant_id, op, at);
ALTER TABLE usage_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_log FORCE ROW LEVEL SECURITY;
CREATE POLICY usage_log_own ON usage_log FOR SELECT USING (tenant_id = bw_tenant());
CREATE POLICY usage_log_fleet ON usage_log FOR SELECT TO bw_operator USING (true);
CREATE POLICY usage_log_ledger ON usage_log TO bw_ledger USING (true) WITH CHECK (true);
GRANT SELECT ON usage_log TO bw_app, bw_operator;
GRANT SELECT, INSERT, DELETE ON usage_log TO bw_ledger;

-- Numbers for operation names, made where they are missing and wanted. A tenant's 1,001st name, or one of a
-- wrong form, gets NULL: one item never fails its neighbours.
CREATE FUNCTION bw_operations(t uuid[], names text[], wanted boolean[])
RETURNS TABLE (ord int, op smallint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
#variable_conflict use_column
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT DISTINCT i.tenant_id, i.name FROM unnest(t, names, wanted) AS i (tenant_id, name, wanted)
        WHERE  i.wanted AND i.name ~ '^[a-z0-9_.-]{1,64}$'
        AND    NOT EXISTS (SELECT FROM public.operation AS o
                           WHERE o.tenant_id = i.tenant_id AND o.name = i.name)
        ORDER  BY 1, 2  -- in one order: two callers cannot deadlock
    LOOP
        -- One at a time for a tenant, so that numbers are dense and the bound holds.
        PERFORM pg_advisory_xact_lock(uuid_hash_extended(item.tenant_id, -1));
        INSERT INTO public.operation (tenant_id, op, name)
        SELECT item.tenant_id, n.next, item.name
        FROM  (SELECT coalesce(max(o.op), 0) + 1 AS next FROM public.operation AS o
               WHERE o.tenant_id = item.tenant_id) AS n
        WHERE n.next <= 1000
        AND   EXISTS (SELECT FROM public.tenant WHERE id = item.tenant_id)
        ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN QUERY
        SELECT i.ord::int, o.op
        FROM   unnest(t, names) WITH ORDINALITY AS i (tenant_id, name, ord)
        LEFT JOIN public.operation AS o ON o.tenant_id = i.tenant_id AND o.name = i.name;
END $$;
GRANT EXECUTE ON FUNCTION bw_operations TO bw_app;
ALTER FUNCTION bw_operations OWNER TO bw_ledger;

-- Checks and records in one atomic step, for a batch of keys of any tenants.
--
-- An element is n equal calls of cost c for key (t, o) under limit lim in a rolling window of win
-- seconds; lim -1 records unconditionally. Elements of one key must be in different rounds:
-- rounds are decided one after the other. now_in is a test's clock.
--
-- Row by row: `ord` of the element, how many of its n calls were admitted, the units `used` in the
-- window before the first of them, the time that counts, and when a denied call of this cost would
-- fit (NULL: never, or none was denied).
--
-- Correct because: key locks in sorted order (no deadlock), then the clock, then a new snapshot
-- for each statement (VOLATILE, READ COMMITTED only), and the locks last until the commit.
CREATE FUNCTION bw_acquire(t uuid[], o int2[], c int[], n int[], lim int8[], win int[], round int2[],
                           now_in timestamptz)
RETURNS TABLE (ord int, admitted int, used bigint, at timestamptz, retry_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    now_ timestamptz;
    last_round int2 := coalesce((SELECT max(r) FROM unnest(round) AS r), 0);
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'bw_acquire needs READ COMMITTED: it must see what it waited for';
    END IF;
    -- in key order: two batches cannot deadlock
    PERFORM count(pg_advisory_xact_lock(s.k)) FROM (
        SELECT DISTINCT uuid_hash_extended(g.t, g.o) AS k FROM unnest(t, o) AS g (t, o) ORDER BY 1) AS s;
    now_ := coalesce(now_in, clock_timestamp());  -- after the locks
    FOR current_round IN 0..last_round LOOP
        RETURN QUERY
        WITH g AS MATERIALIZED (
            SELECT g.ord, g.t, g.o, g.c, g.n, g.lim, g.win, e.eff, h.total, f.base,
                   coalesce(h.total - f.base, 0) AS used,
                   CASE WHEN g.lim < 0 THEN g.n
                        ELSE least(g.n, greatest(0, (g.lim - coalesce(h.total - f.base, 0)) / g.c))
                   END::int AS adm
            FROM   unnest(t, o, c, n, lim, win, round) WITH ORDINALITY
                   AS g (t, o, c, n, lim, win, round, ord)
            LEFT   JOIN LATERAL (
                SELECT l.cum AS total, l.at AS last_at FROM public.usage_log AS l
                WHERE  l.tenant_id = g.t AND l.op = g.o ORDER BY l.at DESC LIMIT 1) AS h ON true
            -- a key's time never goes back and never stands still, whatever the clock does
            CROSS  JOIN LATERAL (
                SELECT greatest(now_, h.last_at + interval '1 microsecond') AS eff) AS e
            LEFT   JOIN LATERAL (
                SELECT l.cum - l.units AS base FROM public.usage_log AS l
                WHERE  l.tenant_id = g.t AND l.op = g.o AND l.at > e.eff - g.win * interval '1 second'
                ORDER  BY l.at LIMIT 1) AS f ON true
            WHERE  g.round = current_round),
        i AS (
            INSERT INTO public.usage_log (tenant_id, op, at, units, cum)
            SELECT g.t, g.o, g.eff, g.c * g.adm, coalesce(g.total, 0) + g.c * g.adm
            FROM   g WHERE g.adm > 0)
        SELECT g.ord::int, g.adm, g.used, g.eff,
               CASE WHEN g.adm < g.n AND g.c <= g.lim THEN coalesce((
                   SELECT l.at FROM public.usage_log AS l
                   WHERE  l.tenant_id = g.t AND l.op = g.o
                   AND    l.at > g.eff - g.win * interval '1 second'
                   AND    l.cum - g.base >= g.used + g.c::bigint * g.adm + g.c - g.lim
                   ORDER  BY l.at LIMIT 1),
                   g.eff  -- the room must come from this very batch
               ) + g.win * interval '1 second' END
        FROM g;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_acquire TO bw_app;
ALTER FUNCTION bw_acquire OWNER TO bw_ledger;

-- The exact count of each key's window: (t, o) in win seconds. Takes no lock, writes nothing.
CREATE FUNCTION bw_check(t uuid[], o int2[], win int[], now_in timestamptz)
RETURNS TABLE (ord int, used bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    now_ timestamptz := coalesce(now_in, clock_timestamp());
BEGIN
    RETURN QUERY
    SELECT g.ord::int, coalesce(h.total - f.base, 0)
    FROM   unnest(t, o, win) WITH ORDINALITY AS g (t, o, win, ord)
    LEFT   JOIN LATERAL (
        SELECT l.cum AS total, l.at AS last_at FROM public.usage_log AS l
        WHERE  l.tenant_id = g.t AND l.op = g.o ORDER BY l.at DESC LIMIT 1) AS h ON true
    LEFT   JOIN LATERAL (
        SELECT l.cum - l.units AS base FROM public.usage_log AS l
        WHERE  l.tenant_id = g.t AND l.op = g.o
        AND    l.at > greatest(now_, h.last_at) - g.win * interval '1 second'
        ORDER  BY l.at LIMIT 1) AS f ON true;
END $$;
GRANT EXECUTE ON FUNCTION bw_check TO bw_app;
ALTER FUNCTION bw_check OWNER TO bw_ledger;

-- One tenant's units by operation in its last win seconds, those with any.
CREATE FUNCTION bw_stats(tenant uuid, win int, now_in timestamptz)
RETURNS TABLE (operation text, used bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    now_ timestamptz := coalesce(now_in, clock_timestamp());
BEGIN
    RETURN QUERY
    SELECT n.name, h.total - f.base
    FROM   public.operation AS n
    CROSS  JOIN LATERAL (
        SELECT l.cum AS total, l.at AS last_at FROM public.usage_log AS l
        WHERE  l.tenant_id = tenant AND l.op = n.op ORDER BY l.at DESC LIMIT 1) AS h
    CROSS  JOIN LATERAL (
        SELECT l.cum - l.units AS base FROM public.usage_log AS l
        WHERE  l.tenant_id = tenant AND l.op = n.op
        AND    l.at > greatest(now_, h.last_at) - win * interval '1 second'
        ORDER  BY l.at LIMIT 1) AS f
    WHERE  n.tenant_id = tenant
    ORDER  BY n.op;  -- as first recorded
END $$;
GRANT EXECUTE ON FUNCTION bw_stats TO bw_app;
ALTER FUNCTION bw_stats OWNER TO bw_ledger;

-- Deletes up to max_rows rows that are older than keep, one tenant's or (NULL) all tenants'.
CREATE FUNCTION bw_cleanup(tenant uuid, keep interval, max_rows int, now_in timestamptz)
RETURNS TABLE (deleted bigint, requests bigint)
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_column
DECLARE
    horizon timestamptz := coalesce(now_in, clock_timestamp()) - greatest(keep, interval '1 hour');
BEGIN
    RETURN QUERY
    WITH old AS (
        SELECT l.tableoid AS part, l.ctid AS row FROM public.usage_log AS l
        WHERE  l.at <= horizon AND (tenant IS NULL OR l.tenant_id = tenant)
        ORDER  BY l.at LIMIT max_rows),
    gone AS (
        DELETE FROM public.usage_log AS l USING old
        WHERE  l.at <= horizon AND l.tableoid = old.part AND l.ctid = old.row
        RETURNING l.units)
    SELECT count(*), coalesce(sum(gone.units), 0)::bigint FROM gone;
END $$;
GRANT EXECUTE ON FUNCTION bw_cleanup TO bw_app;
ALTER FUNCTION bw_cleanup OWNER TO bw_ledger;

-- Whether rows older than keep are left, and the oldest row that is not.
CREATE FUNCTION bw_cleanup_state(tenant uuid, keep interval, now_in timestamptz)
RETURNS TABLE (has_more boolean, oldest timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
#variable_conflict use_column
DECLARE
    horizon timestamptz := coalesce(now_in, clock_timestamp()) - greatest(keep, interval '1 hour');
BEGIN
    RETURN QUERY
    SELECT EXISTS (SELECT FROM public.usage_log AS l
                   WHERE l.at <= horizon AND (tenant IS NULL OR l.tenant_id = tenant)),
           (SELECT min(l.at) FROM public.usage_log AS l
            WHERE l.at > horizon AND (tenant IS NULL OR l.tenant_id = tenant));
END $$;
GRANT EXECUTE ON FUNCTION bw_cleanup_state TO bw_app;
ALTER FUNCTION bw_cleanup_state OWNER TO bw_ledger;

RESET ROLE;
