-- Circuit breakers. What a breaker is and how it moves is code of the service (BreakerMachine); a row
-- holds it. A change reads the row and the clock, decides, and writes on condition that nobody wrote
-- meanwhile: whoever was overtaken reads anew. No lock is held between, and no clock is used that was
-- read before another's change.
SET LOCAL ROLE bw_owner;

CREATE TABLE breaker (
    tenant_id  uuid NOT NULL,
    id         text NOT NULL,
    version    bigint NOT NULL,
    generation bigint NOT NULL,
    state      text NOT NULL,
    machine    jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT breaker_id_form CHECK (id ~ '^[a-z0-9_.-]{1,40}:[a-z0-9_.-]{1,40}:(create|manage)$')
) WITH (fillfactor = 70);
COMMENT ON TABLE breaker IS 'No row: CLOSED, nothing counted. Tenant nil: over all tenants. A row once made stays, so that its generation never starts again.';
COMMENT ON COLUMN breaker.id IS 'provider:region:class.';
COMMENT ON COLUMN breaker.version IS 'Rises with each write; a write names the one that it read.';
COMMENT ON COLUMN breaker.generation IS 'Rises with each move; results of another generation count for nothing.';
COMMENT ON COLUMN breaker.state IS 'For people: the override, or the automatic state.';
COMMENT ON COLUMN breaker.machine IS 'All of it, as the service reads it; times in microseconds since 1970.';
-- What changed lately, which instances poll.
CREATE INDEX breaker_updated ON breaker (updated_at);
ALTER TABLE breaker ENABLE ROW LEVEL SECURITY;
ALTER TABLE breaker FORCE ROW LEVEL SECURITY;
CREATE POLICY breaker_own ON breaker FOR SELECT USING (tenant_id = bw_tenant());
CREATE POLICY breaker_fleet ON breaker TO bw_operator USING (true);
CREATE POLICY breaker_ledger ON breaker TO bw_ledger USING (true) WITH CHECK (true);
GRANT SELECT ON breaker TO bw_app;
GRANT SELECT, DELETE ON breaker TO bw_operator;
GRANT SELECT, INSERT, UPDATE ON breaker TO bw_ledger;

CREATE TABLE breaker_event (
    tenant_id  uuid NOT NULL,
    breaker    text NOT NULL,
    generation bigint NOT NULL,
    at         timestamptz NOT NULL,
    from_state text NOT NULL,
    to_state   text NOT NULL,
    cause      text NOT NULL,
    failures   bigint NOT NULL,
    open_until timestamptz,
    instance   text NOT NULL,
    actor      text,
    reason     text,
    PRIMARY KEY (tenant_id, breaker, generation)
);
COMMENT ON TABLE breaker_event IS 'Every move of a breaker, written in the transaction of the move. The key holds a double one off.';
CREATE INDEX breaker_event_at ON breaker_event (at);
ALTER TABLE breaker_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE breaker_event FORCE ROW LEVEL SECURITY;
CREATE POLICY breaker_event_own ON breaker_event FOR SELECT USING (tenant_id = bw_tenant());
CREATE POLICY breaker_event_fleet ON breaker_event TO bw_operator USING (true);
CREATE POLICY breaker_event_ledger ON breaker_event TO bw_ledger USING (true) WITH CHECK (true);
GRANT SELECT ON breaker_event TO bw_app;
GRANT SELECT, DELETE ON breaker_event TO bw_operator;
GRANT SELECT, INSERT ON breaker_event TO bw_ledger;

CREATE POLICY audit_entry_ledger ON audit_entry FOR INSERT TO bw_ledger WITH CHECK (true);
GRANT INSERT ON audit_entry TO bw_ledger;

-- The rows of some breakers and the clock, read no earlier than they.
CREATE FUNCTION bw_breakers_read(t uuid[], ids text[])
RETURNS TABLE (ord int, version bigint, machine text, clock timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    item record;
BEGIN
    FOR item IN SELECT i.ord, i.t, i.id FROM unnest(t, ids) WITH ORDINALITY AS i (t, id, ord) LOOP
        ord := item.ord; version := 0; machine := NULL;
        SELECT b.version, b.machine::text INTO version, machine FROM public.breaker AS b
        WHERE  b.tenant_id = item.t AND b.id = item.id;
        version := coalesce(version, 0);
        clock := clock_timestamp();
        RETURN NEXT;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_breakers_read TO bw_app;
ALTER FUNCTION bw_breakers_read OWNER TO bw_ledger;

-- Writes those that are still at the version that was read (0: no row), with their moves:
-- [{"breaker": ord, "generation", "from", "to", "cause", "at", "failures", "openUntil", "actor", "reason",
-- "auditId", "requestId"}]; with an auditId it is an act, and audited.
-- A tenant that is gone makes no row.
CREATE FUNCTION bw_breakers_write(t uuid[], ids text[], expected int8[], generations int8[], states text[],
                                  machines text[], moves text, instance text)
RETURNS TABLE (ord int, written boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    item record;
BEGIN
    FOR item IN  -- in key order: two writers cannot deadlock
        SELECT * FROM unnest(t, ids, expected, generations, states, machines) WITH ORDINALITY
               AS i (t, id, expected, generation, state, machine, ord)
        ORDER BY i.t, i.id
    LOOP
        IF item.expected = 0 THEN
            INSERT INTO public.breaker (tenant_id, id, version, generation, state, machine)
            SELECT item.t, item.id, 1, item.generation, item.state, item.machine::jsonb
            WHERE  EXISTS (SELECT FROM public.tenant WHERE tenant.id = item.t)
            ON CONFLICT DO NOTHING;
        ELSE
            UPDATE public.breaker AS b
            SET    version = b.version + 1, generation = item.generation, state = item.state,
                   machine = item.machine::jsonb, updated_at = clock_timestamp()
            WHERE  b.tenant_id = item.t AND b.id = item.id AND b.version = item.expected;
        END IF;
        ord := item.ord; written := FOUND;
        IF written THEN
            INSERT INTO public.breaker_event (tenant_id, breaker, generation, at, from_state, to_state, cause,
                                              failures, open_until, instance, actor, reason)
            SELECT item.t, item.id, m.generation, timestamptz 'epoch' + m.at * interval '1 microsecond', m."from", m."to", m.cause,
                   m.failures, timestamptz 'epoch' + m."openUntil" * interval '1 microsecond', bw_breakers_write.instance, m.actor, m.reason
            FROM   jsonb_to_recordset(moves::jsonb) AS m (breaker int, generation int8, at int8, "from" text,
                       "to" text, cause text, failures int8, "openUntil" int8, actor text, reason text)
            WHERE  m.breaker = item.ord;
            INSERT INTO public.audit_entry (tenant_id, id, actor, action, target, reason, request_id)
            SELECT item.t, m."auditId", m.actor, 'breaker.' || m.cause, item.id, m.reason, m."requestId"
            FROM   jsonb_to_recordset(moves::jsonb) AS m (breaker int, cause text, actor text, reason text,
                       "auditId" uuid, "requestId" text)
            WHERE  m.breaker = item.ord AND m."auditId" IS NOT NULL;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_breakers_write TO bw_app;
ALTER FUNCTION bw_breakers_write OWNER TO bw_ledger;

-- Breakers that were written within `span`, or (NULL) all; and the clock. The span must be longer than a
-- write lasts, since rows show up in order of commit.
CREATE FUNCTION bw_breakers_changed(span interval)
RETURNS TABLE (tenant_id uuid, id text, version bigint, machine text, clock timestamptz)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    SELECT b.tenant_id, b.id, b.version, b.machine::text, clock_timestamp() FROM public.breaker AS b
    WHERE  span IS NULL OR b.updated_at > clock_timestamp() - span;
END;
GRANT EXECUTE ON FUNCTION bw_breakers_changed TO bw_app;
ALTER FUNCTION bw_breakers_changed OWNER TO bw_ledger;

RESET ROLE;
