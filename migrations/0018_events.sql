-- Events are kept in one order for all tenants and instances, which streams follow and go on in.
--
-- Writers take turns: each batch of events moves the one row of event_clock and holds its lock to the
-- commit. So rows show up in the order of `at`, no two have the same, and whoever has read up to a
-- time never misses one that comes later with an earlier time.
SET LOCAL ROLE bw_owner;

COMMENT ON COLUMN event.at IS 'When it was stored, by the database''s clock; unique, and rising in order of commit. When it happened is in fields, as timestamp (ms).';
COMMENT ON COLUMN event.id IS 'Of no use any more: an event is known by its time.';
ALTER TABLE event
    ALTER COLUMN id SET DEFAULT gen_random_uuid(),
    ADD COLUMN region text GENERATED ALWAYS AS (fields ->> 'region') STORED,
    ADD COLUMN sandbox_id text GENERATED ALWAYS AS (fields ->> 'sandboxId') STORED,
    ADD COLUMN breaker_state text GENERATED ALWAYS AS (fields ->> 'circuitBreakerState') STORED;
COMMENT ON COLUMN event.region IS 'As columns, since row-level security lets an index serve no function of fields.';
CREATE INDEX event_name ON event (tenant_id, name, at);
CREATE INDEX event_sandbox ON event (tenant_id, sandbox_id, at) WHERE sandbox_id IS NOT NULL;
-- The fleet's events, and what streams ask for.
CREATE INDEX event_at ON event (at);
CREATE POLICY event_ledger ON event TO bw_ledger USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON event TO bw_ledger;

CREATE TABLE event_clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    at       timestamptz NOT NULL
);
COMMENT ON TABLE event_clock IS 'The time of the event that was stored last; its lock is the writers'' turn. On Citus a reference table.';
INSERT INTO event_clock (at) VALUES ('epoch');
GRANT SELECT ON event_clock TO bw_app, bw_operator;
GRANT SELECT, UPDATE ON event_clock TO bw_ledger;

CREATE TABLE event_writer (
    id    uuid PRIMARY KEY,
    batch bigint NOT NULL,
    at    timestamptz NOT NULL
);
COMMENT ON TABLE event_writer IS 'An instance''s last batch: one whose answer was lost is sent again and stored once. On Citus a reference table.';
GRANT SELECT, INSERT, UPDATE ON event_writer TO bw_ledger;
GRANT SELECT, DELETE ON event_writer TO bw_operator;

-- Stores a writer's next batch, unless it is stored already; answers how many events.
-- Those of a tenant that is gone are left out.
CREATE FUNCTION bw_events_write(writer uuid, batch int8, t uuid[], names text[], fields text[]) RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    count_ int := cardinality(t);
    last timestamptz;
    written int;
BEGIN
    UPDATE public.event_clock AS c
    SET    at = greatest(clock_timestamp(), c.at + interval '1 microsecond') + (count_ - 1) * interval '1 microsecond'
    RETURNING c.at INTO last;
    INSERT INTO public.event_writer AS w (id, batch, at)
    VALUES (bw_events_write.writer, bw_events_write.batch, last)
    ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, at = excluded.at WHERE w.batch < excluded.batch;
    IF NOT FOUND THEN RETURN 0; END IF;
    INSERT INTO public.event (tenant_id, at, name, fields)
    SELECT i.t, last - (count_ - i.ord) * interval '1 microsecond', i.name, i.fields::jsonb
    FROM   unnest(bw_events_write.t, names, bw_events_write.fields) WITH ORDINALITY AS i (t, name, fields, ord)
    WHERE  EXISTS (SELECT FROM public.tenant WHERE tenant.id = i.t);
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END $$;
GRANT EXECUTE ON FUNCTION bw_events_write TO bw_app;
ALTER FUNCTION bw_events_write OWNER TO bw_ledger;

-- Events of all tenants that were stored after `since`, in order.
CREATE FUNCTION bw_events_after(since timestamptz, most int)
RETURNS TABLE (tenant_id uuid, at timestamptz, name text, fields text, region text, sandbox_id text, breaker_state text,
               template text, operation text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    -- Mostly there is none, and this tells without a look at the partitions.
    IF (SELECT c.at FROM public.event_clock AS c) <= since THEN RETURN; END IF;
    RETURN QUERY
    SELECT e.tenant_id, e.at, e.name, e.fields::text, e.region, e.sandbox_id, e.breaker_state,
           e.fields ->> 'template', e.fields ->> 'operation'
    FROM   public.event AS e WHERE e.at > since ORDER BY e.at LIMIT most;
END $$;
GRANT EXECUTE ON FUNCTION bw_events_after TO bw_app;
ALTER FUNCTION bw_events_after OWNER TO bw_ledger;

RESET ROLE;
