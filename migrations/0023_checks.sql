-- What creations write beside their answers: what checks found, and intents that came to nothing.
SET LOCAL ROLE bw_owner;

-- Notes what checks found, of many sandboxes and tenants at a time: it is written after the answer, and nobody waits.
-- As their caller, and found one by one by their whole primary key, as 0022 does. Answers the rows of those that are
-- not over.
CREATE FUNCTION bw_sandboxes_checked(t uuid[], ids uuid[], healths text[], details text[], who text[])
RETURNS SETOF sandbox LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    i record;
BEGIN
    FOR i IN
        SELECT * FROM unnest(t, ids, healths, details, who) WITH ORDINALITY AS i (t, id, health, detail, actor, n)
        ORDER BY i.t, i.id, i.n
    LOOP
        PERFORM set_config('app.tenant_id', i.t::text, true);
        RETURN QUERY
        WITH noted AS (
            UPDATE public.sandbox AS s SET version = s.version + 1, health = coalesce(i.health, s.health)
            WHERE  s.tenant_id = i.t AND s.id = i.id AND s.ended_at IS NULL
            RETURNING s.*),
        told AS (
            INSERT INTO public.sandbox_event (
                tenant_id, sandbox_id, version, at, from_state, to_state, reason, actor, detail)
            SELECT n.tenant_id, n.id, n.version, clock_timestamp(), n.state, n.state, 'health_check', i.actor,
                   i.detail
            FROM   noted AS n)
        SELECT * FROM noted;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandboxes_checked TO bw_app, bw_operator;

-- One of them, as the release before asks.
CREATE OR REPLACE FUNCTION bw_sandbox_checked(sandbox_id uuid, found_health text, found_detail text, who text)
RETURNS SETOF sandbox LANGUAGE sql AS $$
    SELECT * FROM bw_sandboxes_checked(
        ARRAY[bw_tenant()], ARRAY[bw_sandbox_checked.sandbox_id], ARRAY[found_health], ARRAY[found_detail], ARRAY[who]);
$$;

-- Takes back the first try of a request, which the provider never heard of, with all that was written of it. False: it
-- does not stand where it was planned any more.
CREATE FUNCTION bw_sandbox_withdraw(tenant uuid, sandbox uuid) RETURNS boolean LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    request uuid;
BEGIN
    DELETE FROM public.sandbox AS s
    WHERE  s.tenant_id = tenant AND s.id = sandbox AND s.state = 'creating' AND s.attempt = 1
    RETURNING s.request_id INTO request;
    IF NOT FOUND THEN RETURN false; END IF;
    DELETE FROM public.sandbox_event AS e WHERE e.tenant_id = tenant AND e.sandbox_id = sandbox;
    DELETE FROM public.sandbox_request AS r WHERE r.tenant_id = tenant AND r.id = request;
    RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandbox_withdraw TO bw_operator;

RESET ROLE;
