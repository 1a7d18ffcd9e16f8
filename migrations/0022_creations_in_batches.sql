-- What creations write, for many at a time and of several tenants: a statement costs what it costs, and a commit too.
-- As their caller: each tenant's rows are touched as that tenant's, so that row-level security holds.
--
-- Rows are found one by one, by their whole primary key. Joined to a list of ids, a plan made while the tables are
-- small reads all rows of its tenant until they are analyzed, and always where one tenant has most of them (2.3 to
-- 3.5 ms for the three instead of 0.7, measured).
SET LOCAL ROLE bw_owner;

-- How many sandboxes more a tenant may have, if it may have `most`: those that run count, and those that may. With
-- `holds` its transaction has the tenant's place until its end, so that no two count the same room.
CREATE FUNCTION bw_sandbox_space(most int, holds boolean) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    IF holds THEN PERFORM pg_advisory_xact_lock(uuid_hash_extended(bw_tenant(), -6)); END IF;
    RETURN greatest(0, most - (
        SELECT count(*) FROM public.sandbox AS s
        WHERE s.tenant_id = bw_tenant() AND s.ended_at IS NULL AND s.state NOT IN ('paused', 'orphan')));
END $$;
GRANT EXECUTE ON FUNCTION bw_sandbox_space TO bw_app, bw_operator;

-- Adds tries, with the first of a request the request. `most` sandboxes may the tenant have, these among them; NULL:
-- any number. Answers the rows; there is none where there was no room, or the request is over.
CREATE FUNCTION bw_sandboxes_plan(
    t uuid[], ids uuid[], requests uuid[], attempts int2[], vias text[], templates text[], fallbacks text[],
    frameworks text[], regions text[], lives_ms int8[], metadata text[], traces text[], deadlines_ms int8[],
    lease_margin_ms int8, holder_ text, most int)
RETURNS SETOF sandbox LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    tenant_ uuid;
    space int;
    i record;
BEGIN
    FOR i IN
        SELECT * FROM unnest(t, ids, requests, attempts, vias, templates, fallbacks, frameworks, regions, lives_ms,
                             bw_sandboxes_plan.metadata, traces, deadlines_ms)
            AS i (t, id, request_id, attempt, via, template, fallback, framework, region, life_ms, metadata, trace_id,
                  deadline_ms)
        ORDER BY i.t, i.id
    LOOP
        IF i.t IS DISTINCT FROM tenant_ THEN
            tenant_ := i.t;
            PERFORM set_config('app.tenant_id', tenant_::text, true);
            IF most IS NOT NULL THEN space := bw_sandbox_space(most, true); END IF;
        END IF;
        IF space <= 0 THEN CONTINUE; END IF;
        IF i.attempt > 1 THEN
            UPDATE public.sandbox_request AS r
            SET    attempts = i.attempt, fell_back = r.fell_back OR i.fallback IS NOT NULL
            WHERE  r.tenant_id = tenant_ AND r.id = i.request_id AND r.state = 'dispatching';
            IF NOT FOUND THEN CONTINUE; END IF;
        END IF;
        space := space - 1;
        RETURN QUERY
        WITH asked AS (
            INSERT INTO public.sandbox_request (
                tenant_id, id, state, via, template, framework, region, life_ms, metadata, trace_id, holder, attempts,
                fell_back, deadline_at, lease_until)
            SELECT tenant_, i.request_id, 'dispatching', i.via, i.template, i.framework, i.region, i.life_ms,
                   i.metadata::jsonb, i.trace_id, holder_, i.attempt, i.fallback IS NOT NULL,
                   clock_timestamp() + i.deadline_ms * interval '1 millisecond',
                   clock_timestamp() + (i.deadline_ms + lease_margin_ms) * interval '1 millisecond'
            WHERE  i.attempt = 1),
        told AS (
            INSERT INTO public.sandbox_event (tenant_id, sandbox_id, version, to_state, actor)
            VALUES (tenant_, i.id, 1, 'creating', holder_))
        INSERT INTO public.sandbox (tenant_id, id, request_id, attempt, state, region, template, framework, metadata)
        VALUES (tenant_, i.id, i.request_id, i.attempt, 'creating', i.region, coalesce(i.fallback, i.template),
                i.framework, i.metadata::jsonb)
        RETURNING *;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandboxes_plan TO bw_app, bw_operator;

-- Takes sandboxes that the provider has made, `facts` of each: binds each to its request while that is open, else has
-- it killed. As `booting` they are held back: their requests stay open until they are `running`. A life that the
-- provider was not given yet is a task, by the sandbox's own id. Answers the rows of those that stood in `sources`.
CREATE FUNCTION bw_sandboxes_made(
    t uuid[], ids uuid[], sources text[], target text, why text, who text, facts text[])
RETURNS SETOF sandbox LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    i record;
    was record;
    asked text;
    now_ timestamptz;
    next text;
    reason_ text;
BEGIN
    FOR i IN
        SELECT i.t, i.id, i.facts::jsonb AS facts FROM unnest(t, ids, bw_sandboxes_made.facts) AS i (t, id, facts)
        ORDER BY i.t, i.id
    LOOP
        PERFORM set_config('app.tenant_id', i.t::text, true);
        -- The request before the sandbox, always: two tries of one request meet here.
        SELECT r.state INTO asked FROM public.sandbox_request AS r
        WHERE  r.tenant_id = i.t AND r.id = (
            SELECT s.request_id FROM public.sandbox AS s WHERE s.tenant_id = i.t AND s.id = i.id)
        FOR NO KEY UPDATE;
        SELECT s.request_id, s.version, s.state INTO was FROM public.sandbox AS s
        WHERE  s.tenant_id = i.t AND s.id = i.id FOR NO KEY UPDATE;
        IF NOT FOUND OR NOT was.state = ANY (sources) THEN CONTINUE; END IF;
        next := CASE WHEN asked = 'dispatching' THEN target ELSE 'stopping' END;
        reason_ := CASE asked WHEN 'dispatching' THEN why WHEN 'fulfilled' THEN 'superseded' ELSE 'abandoned' END;
        now_ := clock_timestamp();  -- after the locks
        RETURN QUERY
        WITH bound AS (
            UPDATE public.sandbox_request AS r
            SET    state = 'fulfilled', sandbox_id = i.id, ended_at = now_, holder = NULL, lease_until = NULL
            WHERE  r.tenant_id = i.t AND r.id = was.request_id AND next = 'running'),
        told AS (
            INSERT INTO public.sandbox_event (
                tenant_id, sandbox_id, version, at, from_state, to_state, reason, actor, detail)
            VALUES (i.t, i.id, was.version + 1, now_, was.state, next, reason_, who, i.facts ->> 'detail')),
        moved AS (
            UPDATE public.sandbox AS s
            SET    state = next, version = was.version + 1, reason = reason_, changed_at = now_, misses = 0,
                   missed_at = NULL,
                   provider_id = coalesce(i.facts ->> 'providerId', s.provider_id),
                   domain = coalesce(i.facts ->> 'domain', s.domain),
                   health = coalesce(i.facts ->> 'health', s.health),
                   started_at = coalesce((i.facts ->> 'startedAt')::timestamptz, s.started_at),
                   ends_at = coalesce((i.facts ->> 'endsAt')::timestamptz, s.ends_at),
                   provider_ends_at = coalesce((i.facts ->> 'providerEndsAt')::timestamptz, s.provider_ends_at)
            WHERE  s.tenant_id = i.t AND s.id = i.id
            RETURNING *),
        due AS (
            INSERT INTO public.task (tenant_id, id, kind, payload, max_attempts, not_before)
            SELECT m.tenant_id, CASE next WHEN 'stopping' THEN gen_random_uuid() ELSE m.id END,
                   CASE next WHEN 'stopping' THEN 'sandbox.kill' ELSE 'sandbox.extend' END,
                   jsonb_build_object('sandbox', m.id), CASE next WHEN 'stopping' THEN 1000 ELSE 20 END,
                   -- The instance that made it tries at once to give it its life.
                   now_ + CASE next WHEN 'stopping' THEN interval '0' ELSE interval '2 seconds' END
            FROM   moved AS m WHERE next = 'stopping' OR next = 'running' AND m.ends_at > m.provider_ends_at
            ON CONFLICT (tenant_id, id) DO NOTHING)
        SELECT * FROM moved;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandboxes_made TO bw_app, bw_operator;

-- Notes lives that the provider has given, until `ends`, and takes back the tasks that would give them. One that was
-- promised another life meanwhile stays as it is: that has a task of its own.
CREATE FUNCTION bw_sandboxes_extended(t uuid[], ids uuid[], ends timestamptz[])
RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    i record;
BEGIN
    FOR i IN SELECT * FROM unnest(t, ids, ends) AS i (t, id, ends_at) ORDER BY i.t, i.id LOOP
        PERFORM set_config('app.tenant_id', i.t::text, true);
        UPDATE public.sandbox AS s SET provider_ends_at = i.ends_at
        WHERE  s.tenant_id = i.t AND s.id = i.id AND s.ends_at = i.ends_at;
        IF FOUND THEN
            DELETE FROM public.task AS k
            WHERE  k.tenant_id = i.t AND k.id = i.id AND k.kind = 'sandbox.extend' AND k.holder IS NULL
            AND    k.done_at IS NULL;
        END IF;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandboxes_extended TO bw_app, bw_operator;

-- One of them, as the release before asks.
CREATE OR REPLACE FUNCTION bw_sandbox_made(
    sandbox_id uuid, sources text[], target text, why text, who text, facts jsonb)
RETURNS SETOF sandbox LANGUAGE sql AS $$
    SELECT * FROM bw_sandboxes_made(
        ARRAY[bw_tenant()], ARRAY[bw_sandbox_made.sandbox_id], sources, target, why, who,
        ARRAY[bw_sandbox_made.facts::text]);
$$;

RESET ROLE;
SET LOCAL ROLE bw_ledger;

-- As before; its plan is kept. 0.25 ms a call became 0.06 (measured): it is asked at each creation.
CREATE OR REPLACE FUNCTION bw_tenant_policies(tenants uuid[])
RETURNS TABLE (tenant_id uuid, version bigint, default_max_per_hour bigint, counts_all boolean, settings jsonb,
               operation text, op smallint, limits jsonb, on_outage text, is_long boolean,
               override jsonb, override_ms bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT s.tenant_id, s.version, s.default_max_per_hour, s.counts_all, s.settings, p.operation, o.op, p.limits,
           p.on_outage, coalesce(o.op, 0) = ANY (s.long_ops) AND (o.op IS NOT NULL OR p.operation = '*'),
           p.override,
           ceil(extract(epoch FROM p.override_until - clock_timestamp()) * 1000)::bigint
    FROM   public.policy_set AS s
    LEFT   JOIN public.policy AS p ON p.tenant_id = s.tenant_id
    LEFT   JOIN public.operation AS o ON o.tenant_id = p.tenant_id AND o.name = p.operation
    WHERE  s.tenant_id = ANY (tenants);
END $$;

RESET ROLE;
