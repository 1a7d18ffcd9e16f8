-- Sandboxes from request to end: what was asked for, what was made of it, and every step between.
SET LOCAL ROLE bw_owner;

CREATE TABLE deployment (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id       uuid NOT NULL DEFAULT gen_random_uuid()
);
COMMENT ON TABLE deployment IS 'What our sandboxes are tagged with at providers: without it nothing there is ours. On Citus a reference table.';
INSERT INTO deployment DEFAULT VALUES;
GRANT SELECT ON deployment TO bw_app, bw_operator;

CREATE TABLE sandbox_request (
    tenant_id     uuid NOT NULL,
    id            uuid NOT NULL,
    state         text NOT NULL,
    via           text NOT NULL,
    template      text NOT NULL,
    framework     text,
    region        text NOT NULL,
    life_ms       bigint NOT NULL,
    metadata      jsonb NOT NULL DEFAULT '{}',
    trace_id      text,
    holder        text,
    lease_until   timestamptz,
    deadline_at   timestamptz NOT NULL,
    sandbox_id    uuid,
    attempts      int NOT NULL DEFAULT 0,
    fell_back     boolean NOT NULL DEFAULT false,
    error_kind    text,
    error         text,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at      timestamptz,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT sandbox_request_state CHECK (
        state IN ('queued', 'dispatching', 'fulfilled', 'expired', 'cancelled', 'failed', 'dead')),
    CONSTRAINT sandbox_request_bound CHECK ((state = 'fulfilled') = (sandbox_id IS NOT NULL)),
    CONSTRAINT sandbox_request_ended CHECK ((state IN ('queued', 'dispatching')) = (ended_at IS NULL))
);
COMMENT ON TABLE sandbox_request IS 'What a tenant asked for. One that is over never begins again.';
COMMENT ON COLUMN sandbox_request.holder IS 'The instance that works on it; its tries are settled by others once lease_until has passed.';
COMMENT ON COLUMN sandbox_request.sandbox_id IS 'The one sandbox that is bound to it.';
CREATE INDEX sandbox_request_open ON sandbox_request (lease_until) WHERE ended_at IS NULL;
CREATE INDEX sandbox_request_ended_at ON sandbox_request (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE sandbox (
    tenant_id        uuid NOT NULL,
    id               uuid NOT NULL,
    request_id       uuid NOT NULL,
    attempt          smallint NOT NULL,
    version          int NOT NULL DEFAULT 1,
    state            text NOT NULL,
    reason           text,
    region           text NOT NULL,
    template         text NOT NULL,
    framework        text,
    metadata         jsonb NOT NULL DEFAULT '{}',
    provider_id      text,
    domain           text,
    health           text NOT NULL DEFAULT 'unknown',
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    ends_at          timestamptz,
    provider_ends_at timestamptz,
    seen_at          timestamptz,
    misses           smallint NOT NULL DEFAULT 0,
    missed_at        timestamptz,
    ended_at         timestamptz,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT sandbox_state CHECK (
        state IN ('creating', 'create_unknown', 'booting', 'running', 'paused', 'stopping', 'stopped',
                  'failed', 'lost', 'orphan')),
    CONSTRAINT sandbox_health CHECK (health IN ('unknown', 'healthy', 'zombie')),
    CONSTRAINT sandbox_known CHECK (
        provider_id IS NOT NULL OR state IN ('creating', 'create_unknown', 'stopping', 'stopped', 'failed')),
    CONSTRAINT sandbox_ended CHECK ((state IN ('stopped', 'failed', 'lost')) = (ended_at IS NOT NULL))
);
COMMENT ON TABLE sandbox IS 'One allocation at a provider, or a try at one: its id goes with the call, as metadata.';
COMMENT ON COLUMN sandbox.version IS 'Rises with each move; sandbox_event has one row for each.';
COMMENT ON COLUMN sandbox.ends_at IS 'The end of life that its tenant was given.';
COMMENT ON COLUMN sandbox.provider_ends_at IS 'When the provider ends it by itself, as last told.';
COMMENT ON COLUMN sandbox.misses IS 'Complete lists in a row that did not hold it.';
CREATE INDEX sandbox_provider_id ON sandbox (tenant_id, provider_id, created_at) WHERE provider_id IS NOT NULL;
CREATE UNIQUE INDEX sandbox_provider_id_live ON sandbox (tenant_id, region, provider_id)
    WHERE provider_id IS NOT NULL AND ended_at IS NULL;
-- At most one live sandbox is bound to a request.
CREATE UNIQUE INDEX sandbox_bound ON sandbox (tenant_id, request_id)
    WHERE state IN ('booting', 'running', 'paused');
CREATE INDEX sandbox_live ON sandbox (tenant_id, region, id) WHERE ended_at IS NULL;
CREATE INDEX sandbox_ends_at ON sandbox (ends_at) WHERE state IN ('booting', 'running', 'paused');
CREATE INDEX sandbox_ended_at ON sandbox (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE sandbox_event (
    tenant_id  uuid NOT NULL,
    sandbox_id uuid NOT NULL,
    version    int NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    from_state text,
    to_state   text NOT NULL,
    reason     text,
    actor      text NOT NULL,
    PRIMARY KEY (tenant_id, sandbox_id, version)
);
COMMENT ON TABLE sandbox_event IS 'Every move of a sandbox, written in the statement that makes it.';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['sandbox_request', 'sandbox', 'sandbox_event'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY %I ON %I USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant())',
                       name || '_own', name);
        EXECUTE format('CREATE POLICY %I ON %I TO bw_operator USING (true) WITH CHECK (true)', name || '_fleet', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO bw_app', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO bw_operator', name);
    END LOOP;
END $$;

-- Moves a sandbox if it stands in one of `sources`, and writes its event; with `stopping` goes the task that
-- kills it. Facts that are given replace what was known. Answers the row, none if it stood elsewhere.
-- As its caller: row-level security holds.
CREATE FUNCTION bw_sandbox_move(sandbox_id uuid, sources text[], target text, why text, who text, facts jsonb)
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
    INSERT INTO public.sandbox_event (tenant_id, sandbox_id, version, at, from_state, to_state, reason, actor)
    VALUES (was.tenant_id, was.id, was.version + 1, now_, was.state, target, why, who);
    IF target = 'stopping' THEN
        INSERT INTO public.task (tenant_id, id, kind, payload, max_attempts)
        VALUES (was.tenant_id, gen_random_uuid(), 'sandbox.kill', jsonb_build_object('sandbox', was.id), 1000);
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION bw_sandbox_move TO bw_app, bw_operator;

-- Takes a sandbox that the provider has made: binds it to its request while that is open, else has it
-- killed. A life that the provider was not given yet is a task. Answers the row.
CREATE FUNCTION bw_sandbox_made(sandbox_id uuid, sources text[], target text, why text, who text, facts jsonb)
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
    IF NOT FOUND THEN RETURN; END IF;
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
GRANT EXECUTE ON FUNCTION bw_sandbox_made TO bw_app, bw_operator;

RESET ROLE;
