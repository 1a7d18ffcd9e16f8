-- Decisions that never scan the log, whatever the statistics say, and that are cheaper alone.

-- A plan that was made while a partition was empty, or a page long, reads it from end to end, and is kept
-- until something analyzes it anew: autovacuum within 10 s here, within a minute on a server with its own
-- settings. A partition that was analyzed empty and then filled made 256 connections fall from 36,700 to
-- 3,400 requests a second (measured). These functions only ever look up keys.
SET LOCAL ROLE bw_ledger;
ALTER FUNCTION bw_check SET enable_seqscan = off SET enable_bitmapscan = off;
ALTER FUNCTION bw_stats SET enable_seqscan = off SET enable_bitmapscan = off;
ALTER FUNCTION bw_decide SET enable_seqscan = off SET enable_bitmapscan = off;

-- When a call that needs `need` units to leave fits: the time of the row with which they have left the
-- window of win seconds that ends at upto, and the window. `base` is the running total before it.
--
-- A function, because few decisions ask: as a subquery it would be set up for each of them.
CREATE FUNCTION bw_fits_at(tenant uuid, o int2, win int, upto timestamptz, base bigint, need bigint,
                           has_refunds boolean) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
    after timestamptz := upto - win * interval '1 second';
BEGIN
    RETURN coalesce((
        SELECT l.at FROM public.usage_log AS l
        WHERE  l.tenant_id = tenant AND l.op = o AND l.at > after
        AND    l.cum - base - CASE WHEN has_refunds
                   THEN public.bw_refunded(tenant, o, after, l.at) ELSE 0 END >= need
        ORDER  BY l.at LIMIT 1),
        upto  -- the room must come from this very batch
    ) + win * interval '1 second';
END $$;
REVOKE EXECUTE ON FUNCTION bw_fits_at FROM PUBLIC;

-- As before. What is only now and then needed is no part of the plan; a single key needs no sorted
-- locks; arrays are taken apart side by side, not each into a table of its own; OFFSET 0 keeps what is
-- computed once from being written out, and set up, wherever it is used. 81 us of CPU for a lone
-- decision became 63, 8.2 for one of 950 keys 7.1 (measured).
CREATE OR REPLACE FUNCTION bw_acquire(
    t uuid[], o int2[], c int[], n int[], lim int8[], win int[], round int2[], version int8[], now_in timestamptz)
RETURNS TABLE (ord int, admitted int, used bigint, at timestamptz, retry_at timestamptz, first_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    now_ timestamptz;
    last_round int2 := 0;
    outdated uuid[];
    has_refunds boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'bw_acquire needs READ COMMITTED: it must see what it waited for';
    END IF;
    IF cardinality(t) = 1 THEN
        -- an expression, since PERFORM would run a statement
        IF pg_advisory_xact_lock(uuid_hash_extended(t[1], o[1])) IS NULL THEN END IF;
    ELSE
        -- in key order: two batches cannot deadlock
        PERFORM count(pg_advisory_xact_lock(s.k)) FROM (
            SELECT DISTINCT uuid_hash_extended(g.t, g.o) AS k
            FROM (SELECT unnest(t) AS t, unnest(o) AS o) AS g ORDER BY 1) AS s;
    END IF;
    now_ := coalesce(now_in, clock_timestamp());  -- after the locks
    outdated := public.bw_outdated(t, version);
    has_refunds := EXISTS (SELECT FROM public.refund);
    IF 0 <> ANY (round) THEN last_round := (SELECT max(r) FROM unnest(round) AS r); END IF;
    FOR current_round IN 0..last_round LOOP
        RETURN QUERY
        WITH g AS MATERIALIZED (
            SELECT d.ord, d.t, d.o, d.adm, d.used, d.eff, d.first_at,
                   d.c * d.adm AS units, coalesce(d.total, 0) + d.c * d.adm AS cum,
                   CASE WHEN d.adm >= 0 AND d.adm < d.n AND d.c <= d.lim THEN public.bw_fits_at(
                       d.t, d.o, d.win, d.eff, d.base, d.used + d.c::bigint * d.adm + d.c - d.lim, has_refunds)
                   END AS retry_at
            FROM (
                SELECT u.*,
                       CASE WHEN u.t = ANY (outdated) THEN -1
                            WHEN u.lim < 0 THEN u.n
                            ELSE least(u.n, greatest(0, (u.lim - u.used) / u.c))
                       END::int AS adm
                FROM (
                    SELECT e.*, h.total, s.eff, f.base, f.first_at,
                           coalesce(h.total - f.base, 0) - CASE WHEN has_refunds THEN public.bw_refunded(
                               e.t, e.o, s.eff - e.win * interval '1 second', s.eff) ELSE 0 END AS used
                    FROM (SELECT generate_subscripts(t, 1) AS ord, unnest(t) AS t, unnest(o) AS o, unnest(c) AS c,
                                 unnest(n) AS n, unnest(lim) AS lim, unnest(win) AS win, unnest(round) AS round) AS e
                    LEFT JOIN LATERAL (
                        SELECT l.cum AS total, l.at AS last_at FROM public.usage_log AS l
                        WHERE  l.tenant_id = e.t AND l.op = e.o ORDER BY l.at DESC LIMIT 1) AS h ON true
                    -- a key's time never goes back and never stands still, whatever the clock does
                    CROSS JOIN LATERAL (
                        SELECT greatest(now_, h.last_at + interval '1 microsecond') AS eff) AS s
                    LEFT JOIN LATERAL (
                        SELECT l.cum - l.units AS base, l.at AS first_at FROM public.usage_log AS l
                        WHERE  l.tenant_id = e.t AND l.op = e.o AND l.at > s.eff - e.win * interval '1 second'
                        ORDER  BY l.at LIMIT 1) AS f ON true
                    WHERE e.round = current_round OFFSET 0) AS u
                OFFSET 0) AS d),
        i AS (
            INSERT INTO public.usage_log (tenant_id, op, at, units, cum)
            SELECT g.t, g.o, g.eff, g.units, g.cum FROM g WHERE g.adm > 0)
        SELECT g.ord, g.adm, g.used, g.eff, g.retry_at, g.first_at FROM g;
    END LOOP;
END $$;

RESET ROLE;
