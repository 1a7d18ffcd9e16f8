-- Limits as data, and decisions that know them.
--
-- An instance remembers a tenant's policies and tells the database with which version of them it
-- decided; the database refuses to decide with an outdated one. So a change is in force everywhere
-- when its call is answered, without a poll, and a tenant that never had a policy (version 0) costs
-- an instance no look-up.
SET LOCAL ROLE bw_owner;

CREATE TABLE policy (
    tenant_id       uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    operation       text NOT NULL,
    version         bigint NOT NULL DEFAULT 1,
    limits          jsonb NOT NULL,
    on_outage       text NOT NULL DEFAULT 'deny',
    hot_window_s    int NOT NULL,
    long_window_s   int NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_by      text NOT NULL,
    override        jsonb,
    override_until  timestamptz,
    override_reason text,
    override_by     text,
    PRIMARY KEY (tenant_id, operation),
    CONSTRAINT policy_operation_form CHECK (operation ~ '^([a-z0-9_.-]{1,64}|\*)$'),
    CONSTRAINT policy_on_outage_known CHECK (on_outage IN ('deny', 'allow')),
    CONSTRAINT policy_windows CHECK (hot_window_s BETWEEN 0 AND 86400
        AND (long_window_s = 0 OR long_window_s BETWEEN 86401 AND 2678400)),
    CONSTRAINT policy_override_whole CHECK ((override IS NULL) = (override_until IS NULL)
        AND (override IS NULL) = (override_by IS NULL))
);
COMMENT ON TABLE policy IS 'The limits of one operation of a tenant, or of all its operations together (*).';
COMMENT ON COLUMN policy.limits IS 'As on the wire: [{"limit", "windowS", "mode", "warnAt"}].';
COMMENT ON COLUMN policy.hot_window_s IS 'Its longest window up to 24 h, override included: usage_log is kept as long.';
COMMENT ON COLUMN policy.long_window_s IS 'Its longest window over 24 h, 0 if none: then the key also writes usage_log_long.';
COMMENT ON COLUMN policy.override IS 'Limits that stand in for `limits` until override_until.';
ALTER TABLE policy ENABLE ROW LEVEL SECURITY;
ALTER TABLE policy FORCE ROW LEVEL SECURITY;
CREATE POLICY policy_own ON policy USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant());
CREATE POLICY policy_fleet ON policy FOR SELECT TO bw_operator USING (true);
CREATE POLICY policy_ledger ON policy FOR SELECT TO bw_ledger USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON policy TO bw_app;
GRANT SELECT ON policy TO bw_ledger, bw_operator;

CREATE TABLE policy_set (
    tenant_id            uuid PRIMARY KEY REFERENCES tenant (id) ON DELETE CASCADE,
    version              bigint NOT NULL,
    counts_all           boolean NOT NULL DEFAULT false,
    long_ops             smallint[] NOT NULL DEFAULT '{}',
    default_max_per_hour bigint
);
COMMENT ON TABLE policy_set IS 'One row for a tenant that ever had a policy or a default.';
COMMENT ON COLUMN policy_set.version IS 'Rises with every change; decisions name the one that they know.';
COMMENT ON COLUMN policy_set.counts_all IS 'Whether operation 0, all operations together, is kept in the logs.';
COMMENT ON COLUMN policy_set.long_ops IS 'The operations that also write usage_log_long.';
COMMENT ON COLUMN policy_set.default_max_per_hour IS 'The limit of operations without a policy; NULL: none.';
ALTER TABLE policy_set ENABLE ROW LEVEL SECURITY;
ALTER TABLE policy_set FORCE ROW LEVEL SECURITY;
CREATE POLICY policy_set_own ON policy_set USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant());
CREATE POLICY policy_set_fleet ON policy_set FOR SELECT TO bw_operator USING (true);
CREATE POLICY policy_set_ledger ON policy_set TO bw_ledger USING (true) WITH CHECK (true);
GRANT SELECT ON policy_set TO bw_app, bw_operator;
GRANT SELECT, INSERT, UPDATE ON policy_set TO bw_ledger;

-- The policies of some tenants, for an instance to remember. A tenant without any has no row; one
-- with a default alone has a row without an operation. `op` is the operation's number if it has one.
CREATE FUNCTION bw_policies(tenants uuid[])
RETURNS TABLE (tenant_id uuid, version bigint, default_max_per_hour bigint, counts_all boolean,
               operation text, op smallint, limits jsonb, on_outage text, is_long boolean,
               override jsonb, override_ms bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    SELECT s.tenant_id, s.version, s.default_max_per_hour, s.counts_all, p.operation, o.op, p.limits,
           p.on_outage, coalesce(o.op, 0) = ANY (s.long_ops) AND (o.op IS NOT NULL OR p.operation = '*'),
           p.override,
           ceil(extract(epoch FROM p.override_until - clock_timestamp()) * 1000)::bigint
    FROM   public.policy_set AS s
    LEFT   JOIN public.policy AS p ON p.tenant_id = s.tenant_id
    LEFT   JOIN public.operation AS o ON o.tenant_id = p.tenant_id AND o.name = p.operation
    WHERE  s.tenant_id = ANY (tenants);
END;
GRANT EXECUTE ON FUNCTION bw_policies TO bw_app;
ALTER FUNCTION bw_policies OWNER TO bw_ledger;

-- Makes the logs fit a tenant's changed policies and raises its version; the last step of each change.
--
-- It holds every key of the tenant: a decision is before it, or after it and then refused as outdated.
CREATE FUNCTION bw_policies_changed(tenant uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    known policy_set;
    wants_all boolean;
    wanted_long smallint[];
    op_ smallint;
BEGIN
    -- No name gets its number meanwhile; then all keys, in the order of every batch.
    PERFORM pg_advisory_xact_lock(uuid_hash_extended(tenant, -1));
    PERFORM count(pg_advisory_xact_lock(s.k)) FROM (
        SELECT DISTINCT uuid_hash_extended(tenant, o.op) AS k FROM (
            SELECT op FROM operation WHERE tenant_id = tenant UNION ALL SELECT 0) AS o ORDER BY 1) AS s;
    SELECT * INTO known FROM policy_set WHERE tenant_id = tenant FOR UPDATE;
    wants_all := EXISTS (SELECT FROM policy AS p WHERE p.tenant_id = tenant AND p.operation = '*');
    wanted_long := ARRAY(
        SELECT CASE p.operation WHEN '*' THEN 0::smallint ELSE o.op END FROM policy AS p
        LEFT JOIN operation AS o ON o.tenant_id = p.tenant_id AND o.name = p.operation
        WHERE p.tenant_id = tenant AND p.long_window_s > 0 AND (o.op IS NOT NULL OR p.operation = '*'));
    IF wants_all AND NOT coalesce(known.counts_all, false) THEN
        DELETE FROM usage_log AS l WHERE l.tenant_id = tenant AND l.op = 0;
        INSERT INTO usage_log (tenant_id, op, at, units, cum)
        SELECT tenant, 0, l.at, sum(l.units), sum(sum(l.units)) OVER (ORDER BY l.at)
        FROM   usage_log AS l WHERE l.tenant_id = tenant AND l.op > 0 GROUP BY l.at;
    END IF;
    FOREACH op_ IN ARRAY wanted_long LOOP
        CONTINUE WHEN op_ = ANY (coalesce(known.long_ops, '{}'));
        PERFORM bw_make_partitions('usage_log_long', clock_timestamp() - interval '2 days', 4);
        DELETE FROM usage_log_long AS l WHERE l.tenant_id = tenant AND l.op = op_;
        INSERT INTO usage_log_long (tenant_id, op, at, units, cum)
        SELECT tenant, op_, l.at, l.units, sum(l.units) OVER (ORDER BY l.at)
        FROM   usage_log AS l WHERE l.tenant_id = tenant AND l.op = op_
        AND    l.at > clock_timestamp() - interval '2 days';
    END LOOP;
    INSERT INTO policy_set AS s (tenant_id, version, counts_all, long_ops)
    VALUES (tenant, 1, wants_all, wanted_long)
    ON CONFLICT (tenant_id) DO UPDATE
    SET    version = s.version + 1, counts_all = wants_all, long_ops = wanted_long;
    RETURN (SELECT s.version FROM policy_set AS s WHERE s.tenant_id = tenant);
END $$;
GRANT EXECUTE ON FUNCTION bw_policies_changed TO bw_app;
ALTER FUNCTION bw_policies_changed OWNER TO bw_ledger;

-- Sets the limit of a tenant's operations without a policy (NULL: none).
CREATE FUNCTION bw_set_default(tenant uuid, max_per_hour bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM bw_policies_changed(tenant);
    UPDATE policy_set SET default_max_per_hour = max_per_hour WHERE tenant_id = tenant;
    RETURN (SELECT version FROM policy_set WHERE tenant_id = tenant);
END $$;
GRANT EXECUTE ON FUNCTION bw_set_default TO bw_app;
ALTER FUNCTION bw_set_default OWNER TO bw_ledger;

-- How long usage_log must be kept for the policies of one tenant or (NULL) all.
CREATE FUNCTION bw_longest_window(tenant uuid) RETURNS interval
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    SELECT greatest(3600, max(p.hot_window_s)) * interval '1 second' FROM public.policy AS p
    WHERE  tenant IS NULL OR p.tenant_id = tenant;
END;
GRANT EXECUTE ON FUNCTION bw_longest_window TO bw_app;
ALTER FUNCTION bw_longest_window OWNER TO bw_ledger;

-- Tenants of a batch whose policies are not those of the version that it was made with.
CREATE FUNCTION bw_outdated(t uuid[], version int8[]) RETURNS uuid[]
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(array_agg(d.t), '{}')
    FROM   (SELECT DISTINCT i.t, i.v FROM unnest(t, version) AS i (t, v)) AS d
    LEFT   JOIN public.policy_set AS s ON s.tenant_id = d.t
    WHERE  coalesce(s.version, 0) <> d.v;
END;
GRANT EXECUTE ON FUNCTION bw_outdated TO bw_ledger;

-- What is replaced here belongs to bw_ledger, which owns the functions that span tenants.
SET LOCAL ROLE bw_ledger;

-- As before, and: `version` is that of the tenant's policies as the caller knows them. A row with
-- admitted = -1 was not decided: they have changed. first_at is the oldest row of the window, which
-- leaves it first. Refunds are subtracted while their records are in the window.
DROP FUNCTION bw_acquire;
CREATE FUNCTION bw_acquire(t uuid[], o int2[], c int[], n int[], lim int8[], win int[], round int2[],
                           version int8[], now_in timestamptz)
RETURNS TABLE (ord int, admitted int, used bigint, at timestamptz, retry_at timestamptz, first_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    now_ timestamptz;
    last_round int2 := coalesce((SELECT max(r) FROM unnest(round) AS r), 0);
    outdated uuid[];
    has_refunds boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'bw_acquire needs READ COMMITTED: it must see what it waited for';
    END IF;
    -- in key order: two batches cannot deadlock
    PERFORM count(pg_advisory_xact_lock(s.k)) FROM (
        SELECT DISTINCT uuid_hash_extended(g.t, g.o) AS k FROM unnest(t, o) AS g (t, o) ORDER BY 1) AS s;
    now_ := coalesce(now_in, clock_timestamp());  -- after the locks
    outdated := public.bw_outdated(t, version);
    has_refunds := EXISTS (SELECT FROM public.refund);
    FOR current_round IN 0..last_round LOOP
        RETURN QUERY
        WITH g AS MATERIALIZED (
            SELECT g.ord, g.t, g.o, g.c, g.n, g.lim, g.win, e.eff, h.total, f.base, f.first_at, u.used,
                   CASE WHEN g.t = ANY (outdated) THEN -1
                        WHEN g.lim < 0 THEN g.n
                        ELSE least(g.n, greatest(0, (g.lim - u.used) / g.c))
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
                SELECT l.cum - l.units AS base, l.at AS first_at FROM public.usage_log AS l
                WHERE  l.tenant_id = g.t AND l.op = g.o AND l.at > e.eff - g.win * interval '1 second'
                ORDER  BY l.at LIMIT 1) AS f ON true
            CROSS  JOIN LATERAL (
                SELECT coalesce(h.total - f.base, 0) - CASE WHEN has_refunds THEN public.bw_refunded(
                    g.t, g.o, e.eff - g.win * interval '1 second', e.eff) ELSE 0 END AS used) AS u
            WHERE  g.round = current_round),
        i AS (
            INSERT INTO public.usage_log (tenant_id, op, at, units, cum)
            SELECT g.t, g.o, g.eff, g.c * g.adm, coalesce(g.total, 0) + g.c * g.adm
            FROM   g WHERE g.adm > 0)
        SELECT g.ord::int, g.adm, g.used, g.eff,
               CASE WHEN g.adm >= 0 AND g.adm < g.n AND g.c <= g.lim THEN coalesce((
                   SELECT l.at FROM public.usage_log AS l
                   WHERE  l.tenant_id = g.t AND l.op = g.o
                   AND    l.at > g.eff - g.win * interval '1 second'
                   AND    l.cum - g.base - CASE WHEN has_refunds THEN public.bw_refunded(
                              g.t, g.o, g.eff - g.win * interval '1 second', l.at) ELSE 0 END
                          >= g.used + g.c::bigint * g.adm + g.c - g.lim
                   ORDER  BY l.at LIMIT 1),
                   g.eff  -- the room must come from this very batch
               ) + g.win * interval '1 second' END,
               g.first_at
        FROM g;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_acquire TO bw_app;

-- The exact count of each key's window: (t, o) in win seconds; o is 0 for all operations together.
-- Takes no lock, writes nothing. used is NULL where the policies are not those of `version`.
DROP FUNCTION bw_check;
CREATE FUNCTION bw_check(t uuid[], o int2[], win int[], version int8[], now_in timestamptz)
RETURNS TABLE (ord int, used bigint, at timestamptz, first_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    now_ timestamptz := coalesce(now_in, clock_timestamp());
    outdated uuid[] := public.bw_outdated(t, version);
    has_refunds boolean := EXISTS (SELECT FROM public.refund);
BEGIN
    RETURN QUERY
    SELECT g.ord::int,
           CASE WHEN NOT g.t = ANY (outdated) THEN
               coalesce(h.total - f.base, 0) - CASE WHEN has_refunds THEN public.bw_refunded(
                   g.t, g.o, e.eff - g.win * interval '1 second', e.eff) ELSE 0 END END,
           e.eff, f.first_at
    FROM   unnest(t, o, win) WITH ORDINALITY AS g (t, o, win, ord)
    LEFT   JOIN LATERAL (
        SELECT l.cum AS total, l.at AS last_at FROM public.usage_log AS l
        WHERE  l.tenant_id = g.t AND l.op = g.o ORDER BY l.at DESC LIMIT 1) AS h ON true
    CROSS  JOIN LATERAL (SELECT greatest(now_, h.last_at) AS eff) AS e
    LEFT   JOIN LATERAL (
        SELECT l.cum - l.units AS base, l.at AS first_at FROM public.usage_log AS l
        WHERE  l.tenant_id = g.t AND l.op = g.o AND l.at > e.eff - g.win * interval '1 second'
        ORDER  BY l.at LIMIT 1) AS f ON true
    WHERE  g.win <= 86400;
    IF EXISTS (SELECT FROM unnest(win) AS w WHERE w > 86400) THEN
        RETURN QUERY
        SELECT g.ord::int,
               CASE WHEN NOT g.t = ANY (outdated) THEN
                   coalesce(h.total - f.base, 0) - CASE WHEN has_refunds THEN public.bw_refunded(
                       g.t, g.o, e.eff - g.win * interval '1 second', e.eff) ELSE 0 END END,
               e.eff, f.first_at
        FROM   unnest(t, o, win) WITH ORDINALITY AS g (t, o, win, ord)
        LEFT   JOIN LATERAL (
            SELECT l.cum AS total, l.at AS last_at FROM public.usage_log_long AS l
            WHERE  l.tenant_id = g.t AND l.op = g.o ORDER BY l.at DESC LIMIT 1) AS h ON true
        CROSS  JOIN LATERAL (SELECT greatest(now_, h.last_at) AS eff) AS e
        LEFT   JOIN LATERAL (
            SELECT l.cum - l.units AS base, l.at AS first_at FROM public.usage_log_long AS l
            WHERE  l.tenant_id = g.t AND l.op = g.o AND l.at > e.eff - g.win * interval '1 second'
            ORDER  BY l.at LIMIT 1) AS f ON true
        WHERE  g.win > 86400;
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION bw_check TO bw_app;

-- One tenant's units by operation in its last win seconds, those with any.
CREATE OR REPLACE FUNCTION bw_stats(tenant uuid, win int, now_in timestamptz)
RETURNS TABLE (operation text, used bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    now_ timestamptz := coalesce(now_in, clock_timestamp());
    has_refunds boolean := EXISTS (SELECT FROM public.refund AS r WHERE r.tenant_id = tenant);
BEGIN
    RETURN QUERY
    SELECT n.name, h.total - f.base - CASE WHEN has_refunds THEN public.bw_refunded(
               tenant, n.op, e.eff - win * interval '1 second', e.eff) ELSE 0 END
    FROM   public.operation AS n
    CROSS  JOIN LATERAL (
        SELECT l.cum AS total, l.at AS last_at FROM public.usage_log AS l
        WHERE  l.tenant_id = tenant AND l.op = n.op ORDER BY l.at DESC LIMIT 1) AS h
    CROSS  JOIN LATERAL (SELECT greatest(now_, h.last_at) AS eff) AS e
    CROSS  JOIN LATERAL (
        SELECT l.cum - l.units AS base FROM public.usage_log AS l
        WHERE  l.tenant_id = tenant AND l.op = n.op AND l.at > e.eff - win * interval '1 second'
        ORDER  BY l.at LIMIT 1) AS f
    WHERE  n.tenant_id = tenant
    ORDER  BY n.op;  -- as first recorded
END $$;

-- The manual cleanup keeps what the longest active window may count; operation 0 stands for no
-- requests of its own.
CREATE OR REPLACE FUNCTION bw_cleanup(tenant uuid, keep interval, max_rows int, now_in timestamptz)
RETURNS TABLE (deleted bigint, requests bigint)
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_column
DECLARE
    horizon timestamptz := coalesce(now_in, clock_timestamp())
                           - greatest(keep, public.bw_longest_window(tenant));
BEGIN
    RETURN QUERY
    WITH old AS (
        SELECT l.tableoid AS part, l.ctid AS row FROM public.usage_log AS l
        WHERE  l.at <= horizon AND (tenant IS NULL OR l.tenant_id = tenant)
        ORDER  BY l.at LIMIT max_rows),
    gone AS (
        DELETE FROM public.usage_log AS l USING old
        WHERE  l.at <= horizon AND l.tableoid = old.part AND l.ctid = old.row
        RETURNING l.units, l.op)
    SELECT count(*), coalesce(sum(gone.units) FILTER (WHERE gone.op > 0), 0)::bigint FROM gone;
END $$;

CREATE OR REPLACE FUNCTION bw_cleanup_state(tenant uuid, keep interval, now_in timestamptz)
RETURNS TABLE (has_more boolean, oldest timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
#variable_conflict use_column
DECLARE
    horizon timestamptz := coalesce(now_in, clock_timestamp())
                           - greatest(keep, public.bw_longest_window(tenant));
BEGIN
    RETURN QUERY
    SELECT EXISTS (SELECT FROM public.usage_log AS l
                   WHERE l.at <= horizon AND (tenant IS NULL OR l.tenant_id = tenant)),
           (SELECT min(l.at) FROM public.usage_log AS l
            WHERE l.at > horizon AND (tenant IS NULL OR l.tenant_id = tenant));
END $$;

RESET ROLE;
