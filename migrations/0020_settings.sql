-- What a tenant sets for its sandboxes, the operators' switch of all killing, where a region's data plane is, and
-- checks of sandboxes: those that are made and not handed out yet, and results in their history.
SET LOCAL ROLE bw_owner;

-- With the policies, since every decision proves that those are known as they are.
ALTER TABLE policy_set ADD COLUMN settings jsonb NOT NULL DEFAULT '{}';
ALTER TABLE policy_set ADD COLUMN settings_version bigint NOT NULL DEFAULT 0;
ALTER TABLE policy_set ADD COLUMN settings_at timestamptz;
ALTER TABLE policy_set ADD COLUMN settings_by text;
ALTER TABLE policy_set ADD CONSTRAINT policy_set_settings_form CHECK (jsonb_typeof(settings) = 'object');
COMMENT ON COLUMN policy_set.settings IS 'What the tenant has set for its sandboxes, by the names of the wire; what is not there is the deployment''s.';
COMMENT ON COLUMN policy_set.settings_version IS 'Rises with each change of settings or default_max_per_hour; the wire''s ETag.';

-- As bw_policies, with the settings.
CREATE FUNCTION bw_tenant_policies(tenants uuid[])
RETURNS TABLE (tenant_id uuid, version bigint, default_max_per_hour bigint, counts_all boolean, settings jsonb,
               operation text, op smallint, limits jsonb, on_outage text, is_long boolean,
               override jsonb, override_ms bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    SELECT s.tenant_id, s.version, s.default_max_per_hour, s.counts_all, s.settings, p.operation, o.op, p.limits,
           p.on_outage, coalesce(o.op, 0) = ANY (s.long_ops) AND (o.op IS NOT NULL OR p.operation = '*'),
           p.override,
           ceil(extract(epoch FROM p.override_until - clock_timestamp()) * 1000)::bigint
    FROM   public.policy_set AS s
    LEFT   JOIN public.policy AS p ON p.tenant_id = s.tenant_id
    LEFT   JOIN public.operation AS o ON o.tenant_id = p.tenant_id AND o.name = p.operation
    WHERE  s.tenant_id = ANY (tenants);
END;
GRANT EXECUTE ON FUNCTION bw_tenant_policies TO bw_app;
ALTER FUNCTION bw_tenant_policies OWNER TO bw_ledger;

-- Replaces a tenant's settings, and the limit of its operations without a policy.
CREATE FUNCTION bw_set_settings(tenant uuid, wanted jsonb, max_per_hour bigint, who text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM bw_policies_changed(tenant);
    UPDATE policy_set
    SET    settings = wanted, default_max_per_hour = max_per_hour, settings_version = settings_version + 1,
           settings_at = clock_timestamp(), settings_by = who
    WHERE  tenant_id = tenant;
    RETURN (SELECT s.settings_version FROM policy_set AS s WHERE s.tenant_id = tenant);
END $$;
GRANT EXECUTE ON FUNCTION bw_set_settings TO bw_app;
ALTER FUNCTION bw_set_settings OWNER TO bw_ledger;

CREATE TABLE killing (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    enabled    boolean NOT NULL DEFAULT true,
    reason     text,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by text NOT NULL DEFAULT 'system'
);
COMMENT ON TABLE killing IS 'The operators'' switch of all killing at providers; read before each kill. On Citus a reference table.';
INSERT INTO killing DEFAULT VALUES;
GRANT SELECT ON killing TO bw_app, bw_operator;
GRANT UPDATE ON killing TO bw_operator;

ALTER TABLE region ADD COLUMN data_plane_url text;
COMMENT ON COLUMN region.data_plane_url IS 'One address for all its sandboxes, which are told apart by fields. NULL: each has a host of its own under the domain.';

-- As bw_regions, with the address of the data plane.
CREATE FUNCTION bw_tenant_regions(tenants uuid[])
RETURNS TABLE (tenant_id uuid, name text, version bigint, provider text, account text,
               creates_per_second double precision, concurrency int, api_url text, domain text,
               data_plane_url text, api_key bytea, api_key_hint text, priority int, templates jsonb,
               enabled boolean, created_at timestamptz, updated_at timestamptz, updated_by text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    SELECT r.tenant_id, r.name, r.version, r.provider, r.account, a.creates_per_second, a.concurrency,
           r.api_url, r.domain, r.data_plane_url, r.api_key, r.api_key_hint, r.priority, r.templates, r.enabled,
           r.created_at, r.updated_at, r.updated_by
    FROM   public.region AS r JOIN public.provider_account AS a ON a.id = r.account
    WHERE  r.tenant_id = ANY (tenants) ORDER BY r.tenant_id, r.priority, r.name;
END;
GRANT EXECUTE ON FUNCTION bw_tenant_regions TO bw_app;
ALTER FUNCTION bw_tenant_regions OWNER TO bw_ledger;

ALTER TABLE sandbox_event ADD COLUMN detail text;
COMMENT ON COLUMN sandbox_event.detail IS 'For people: what a health check found, for one.';
COMMENT ON TABLE sandbox_event IS 'Every move of a sandbox, written in the statement that makes it; and every health check, which moves it nowhere.';

-- As before, with facts ->> 'detail' for the event.
CREATE OR REPLACE FUNCTION bw_sandbox_move(
    sandbox_id uuid, sources text[], target text, why text, who text, facts jsonb)
RETURNS SETOF sandbox LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    was record;
    now_ timestamptz;
    is_end boolean := target IN ('stopped', 'failed', 'lost');
BEGIN
    SELECT s.* INTO was FROM public.sandbox AS s
    WHERE  s.tenant_id = bw_tenant() AND s.id = bw_sandbox_move.sandbox_id FOR NO KEY UPDATE;
    IF NOT FOUND OR NOT was.state = ANY (sources) THEN RETURN; END IF;
    now_ := clock_timestamp();  -- after the lock
    RETURN QUERY
    UPDATE public.sandbox AS s
    SET    state = target, version = was.version + 1, reason = why, changed_at = now_, misses = 0, missed_at = NULL,
           provider_id = coalesce(facts ->> 'providerId', s.provider_id),
           domain = coalesce(facts ->> 'domain', s.domain),
           health = coalesce(facts ->> 'health', s.health),
           started_at = coalesce((facts ->> 'startedAt')::timestamptz, s.started_at),
           ends_at = coalesce((facts ->> 'endsAt')::timestamptz, s.ends_at),
           provider_ends_at = coalesce((facts ->> 'providerEndsAt')::timestamptz, s.provider_ends_at),
           ended_at = CASE WHEN is_end THEN now_ END
    WHERE  s.tenant_id = was.tenant_id AND s.id = was.id
    RETURNING s.*;
    INSERT INTO public.sandbox_event (tenant_id, sandbox_id, version, at, from_state, to_state, reason, actor, detail)
    VALUES (was.tenant_id, was.id, was.version + 1, now_, was.state, target, why, who, facts ->> 'detail');
    IF target = 'stopping' THEN
        INSERT INTO public.task (tenant_id, id, kind, payload, max_attempts)
        VALUES (was.tenant_id, gen_random_uuid(), 'sandbox.kill', jsonb_build_object('sandbox', was.id), 1000);
    END IF;
END $$;

-- Takes a sandbox that the provider has made: binds it to its request while that is open, else has it
-- killed. As `booting` it is held back: its request stays open until it is `running`. A life that the provider was
-- not given yet is a task. Answers the row.
CREATE OR REPLACE FUNCTION bw_sandbox_made(
    sandbox_id uuid, sources text[], target text, why text, who text, facts jsonb)
RETURNS SETOF sandbox LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    asked uuid;
    open_ boolean;
BEGIN
    SELECT s.request_id INTO asked FROM public.sandbox AS s
    WHERE  s.tenant_id = bw_tenant() AND s.id = bw_sandbox_made.sandbox_id;
    IF NOT FOUND THEN RETURN; END IF;
    -- The request before the sandbox, always: two tries of one request meet here.
    SELECT r.state = 'dispatching' INTO open_ FROM public.sandbox_request AS r
    WHERE  r.tenant_id = bw_tenant() AND r.id = asked FOR NO KEY UPDATE;
    IF NOT coalesce(open_, false) THEN
        RETURN QUERY SELECT * FROM bw_sandbox_move(
            bw_sandbox_made.sandbox_id, sources, 'stopping',
            CASE WHEN (SELECT r.state FROM public.sandbox_request AS r
                       WHERE r.tenant_id = bw_tenant() AND r.id = asked) = 'fulfilled'
                 THEN 'superseded' ELSE 'abandoned' END, who, facts);
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM bw_sandbox_move(bw_sandbox_made.sandbox_id, sources, target, why, who, facts);
    IF NOT FOUND OR target = 'booting' THEN RETURN; END IF;
    UPDATE public.sandbox_request AS r
    SET    state = 'fulfilled', sandbox_id = bw_sandbox_made.sandbox_id, ended_at = clock_timestamp(),
           holder = NULL, lease_until = NULL
    WHERE  r.tenant_id = bw_tenant() AND r.id = asked;
    -- The instance that made it tries at once.
    INSERT INTO public.task (tenant_id, id, kind, payload, max_attempts, not_before)
    SELECT s.tenant_id, gen_random_uuid(), 'sandbox.extend', jsonb_build_object('sandbox', s.id), 20,
           clock_timestamp() + interval '2 seconds'
    FROM   public.sandbox AS s
    WHERE  s.tenant_id = bw_tenant() AND s.id = bw_sandbox_made.sandbox_id AND s.ends_at > s.provider_ends_at;
END $$;

-- Notes what a health check found (NULL: nothing that could be told) in the history of a sandbox that is not
-- over. Answers the row.
CREATE FUNCTION bw_sandbox_checked(sandbox_id uuid, found_health text, found_detail text, who text)
RETURNS SETOF sandbox LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    was record;
BEGIN
    SELECT s.* INTO was FROM public.sandbox AS s
    WHERE  s.tenant_id = bw_tenant() AND s.id = bw_sandbox_checked.sandbox_id FOR NO KEY UPDATE;
    IF NOT FOUND OR was.ended_at IS NOT NULL THEN RETURN; END IF;
    INSERT INTO public.sandbox_event (tenant_id, sandbox_id, version, at, from_state, to_state, reason, actor, detail)
    VALUES (was.tenant_id, was.id, was.version + 1, clock_timestamp(), was.state, was.state, 'health_check', who,
            found_detail);
    RETURN QUERY
    UPDATE public.sandbox AS s SET version = was.version + 1, health = coalesce(found_health, s.health)
    WHERE  s.tenant_id = was.tenant_id AND s.id = was.id RETURNING s.*;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandbox_checked TO bw_app, bw_operator;

-- Raises check_violation of `sandbox_room` where the tenant has as many sandboxes as `most` already: those that run,
-- and those that may. The transaction that adds one holds the tenant's place until its end, so that no two count
-- the same room.
CREATE FUNCTION bw_sandbox_room(most int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(uuid_hash_extended(bw_tenant(), -6));
    IF (SELECT count(*) FROM public.sandbox AS s
        WHERE s.tenant_id = bw_tenant() AND s.ended_at IS NULL AND s.state NOT IN ('paused', 'orphan')) >= most
    THEN
        RAISE check_violation USING CONSTRAINT = 'sandbox_room',
            MESSAGE = 'the tenant has as many sandboxes as it may';
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandbox_room TO bw_app, bw_operator;

RESET ROLE;
