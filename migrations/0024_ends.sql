-- Sandboxes that pause where others end, and ends of lives for many at a time.
SET LOCAL ROLE bw_owner;

ALTER TABLE sandbox ADD COLUMN pauses boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN sandbox.pauses IS 'Its provider pauses it when its life is over, rather than end it.';

-- One that is paused costs nothing and is its tenant's to keep: its life is not over.
CREATE INDEX sandbox_over ON sandbox (ends_at) WHERE state IN ('booting', 'running') AND NOT pauses;
DROP INDEX sandbox_ends_at;

-- As 0022 has it; of those planned, `pausing` are to pause at their end.
CREATE FUNCTION bw_sandboxes_plan_pausing(
    t uuid[], ids uuid[], requests uuid[], attempts int2[], vias text[], templates text[], fallbacks text[],
    frameworks text[], regions text[], lives_ms int8[], metadata text[], traces text[], deadlines_ms int8[],
    lease_margin_ms int8, holder_ text, most int, pausing uuid[])
RETURNS SETOF sandbox LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    planned public.sandbox;
BEGIN
    FOR planned IN
        SELECT * FROM bw_sandboxes_plan(
            t, ids, requests, attempts, vias, templates, fallbacks, frameworks, regions, lives_ms, metadata, traces,
            deadlines_ms, lease_margin_ms, holder_, most)
    LOOP
        IF planned.id = ANY (pausing) THEN
            planned.pauses := true;
            PERFORM set_config('app.tenant_id', planned.tenant_id::text, true);
            UPDATE public.sandbox AS s SET pauses = true WHERE s.tenant_id = planned.tenant_id AND s.id = planned.id;
        END IF;
        RETURN NEXT planned;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandboxes_plan_pausing TO bw_app, bw_operator;

-- Has at most `most` of those killed whose life is over; their number. Over all tenants. One whose life is being
-- changed is left out: it is looked at again when that is done.
CREATE FUNCTION bw_sandboxes_expire(most int, who text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    ended bigint := 0;
    i record;
BEGIN
    FOR i IN
        SELECT s.tenant_id, s.id, s.state FROM public.sandbox AS s
        WHERE  s.state IN ('booting', 'running') AND NOT s.pauses AND s.ends_at < clock_timestamp()
        ORDER  BY s.ends_at LIMIT most FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        PERFORM set_config('app.tenant_id', i.tenant_id::text, true);
        PERFORM FROM bw_sandbox_move(i.id, ARRAY[i.state], 'stopping', 'expired', who, '{}');
        ended := ended + 1;
    END LOOP;
    RETURN ended;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandboxes_expire TO bw_operator;

-- Moves those that stand in `sources`, one by one in the order in which all lock them; why is told of each. Answers
-- their ids.
CREATE FUNCTION bw_sandboxes_move(t uuid[], ids uuid[], sources text[], target text, whys text[], who text)
RETURNS SETOF uuid LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    i record;
BEGIN
    FOR i IN SELECT * FROM unnest(t, ids, whys) AS i (t, id, why) ORDER BY i.t, i.id LOOP
        PERFORM set_config('app.tenant_id', i.t::text, true);
        RETURN QUERY SELECT m.id FROM bw_sandbox_move(i.id, sources, target, i.why, who, '{}') AS m;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandboxes_move TO bw_app, bw_operator;

-- The rows of many tenants, each read as its own.
CREATE FUNCTION bw_sandboxes_get(t uuid[], ids uuid[]) RETURNS SETOF sandbox LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    i record;
BEGIN
    FOR i IN SELECT * FROM unnest(t, ids) AS i (t, id) LOOP
        PERFORM set_config('app.tenant_id', i.t::text, true);
        RETURN QUERY SELECT * FROM public.sandbox AS s WHERE s.tenant_id = i.t AND s.id = i.id;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandboxes_get TO bw_app, bw_operator;

-- Those of a tenant that a complete list holds, and when their provider will end them; NULL: it does not say.
CREATE FUNCTION bw_sandboxes_seen(ids uuid[], ends timestamptz[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    i record;
BEGIN
    FOR i IN SELECT * FROM unnest(ids, ends) AS i (id, ends_at) ORDER BY i.id LOOP
        UPDATE public.sandbox AS s
        SET    seen_at = clock_timestamp(), misses = 0, missed_at = NULL,
               provider_ends_at = coalesce(i.ends_at, s.provider_ends_at),
               -- One that pauses may have been woken since, for another life.
               ends_at = CASE WHEN s.pauses THEN greatest(s.ends_at, i.ends_at) ELSE s.ends_at END
        WHERE  s.tenant_id = bw_tenant() AND s.id = i.id AND s.ended_at IS NULL;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandboxes_seen TO bw_app, bw_operator;

-- What became of claimed tasks. Without an error one is done; with one it is due again after its delay, or dead if its
-- tries are used up. Answers the ids of those that were still their holder's.
CREATE FUNCTION bw_tasks_end(t uuid[], ids uuid[], fences int8[], errors text[], delays_ms int8[])
RETURNS SETOF uuid LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    i record;
BEGIN
    FOR i IN
        SELECT * FROM unnest(t, ids, fences, errors, delays_ms) AS i (t, id, fence, error, delay_ms) ORDER BY i.t, i.id
    LOOP
        PERFORM set_config('app.tenant_id', i.t::text, true);
        RETURN QUERY
        UPDATE public.task AS k
        SET    holder = NULL, lease_until = NULL, last_error = coalesce(i.error, k.last_error),
               done_at = CASE WHEN i.error IS NULL THEN clock_timestamp() END,
               not_before = CASE WHEN i.error IS NULL THEN k.not_before
                            ELSE clock_timestamp() + i.delay_ms * interval '1 millisecond' END,
               dead_at = CASE WHEN i.error IS NOT NULL AND k.attempts >= k.max_attempts THEN clock_timestamp() END
        WHERE  k.tenant_id = i.t AND k.id = i.id AND k.fence = i.fence AND k.done_at IS NULL
        RETURNING k.id;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_tasks_end TO bw_app, bw_operator;

RESET ROLE;
