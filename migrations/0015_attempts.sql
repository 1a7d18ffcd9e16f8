-- Tries of permitted calls, as their callers report them; and the key that permits are signed with.
SET LOCAL ROLE bw_owner;

CREATE OR REPLACE FUNCTION bw_partition_step(parent text) RETURNS interval LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN parent = 'usage_log' THEN interval '1 hour'
                WHEN parent IN ('event', 'usage_log_long', 'request_record', 'usage_minute', 'attempt')
                THEN interval '1 day' END;

CREATE TABLE signing_key (
    name       text PRIMARY KEY,
    secret     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT signing_key_length CHECK (octet_length(secret) = 32)
);
COMMENT ON TABLE signing_key IS 'What the service signs for itself: who holds a key could report outcomes without a permit, no more. On Citus a reference table.';
-- Of two random UUIDs, 244 bits.
INSERT INTO signing_key (name, secret)
VALUES ('attempt', sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));
GRANT SELECT ON signing_key TO bw_app;

CREATE TABLE attempt (
    tenant_id   uuid NOT NULL,
    id          uuid NOT NULL,
    number      smallint NOT NULL,
    at          timestamptz NOT NULL,
    ended_at    timestamptz NOT NULL,
    operation   text NOT NULL,
    breaker     text NOT NULL,
    outcome     text NOT NULL,
    kind        text,
    duration_ms bigint NOT NULL,
    wait_ms     bigint,
    stop        text,
    PRIMARY KEY (tenant_id, at, id, number),
    CONSTRAINT attempt_number CHECK (number > 0),
    CONSTRAINT attempt_outcome CHECK (outcome IN ('succeeded', 'failed', 'cancelled')),
    CONSTRAINT attempt_kind CHECK ((kind IS NOT NULL) = (outcome = 'failed'))
) PARTITION BY RANGE (at);
COMMENT ON TABLE attempt IS 'One try at a provider. Partitions of a day.';
COMMENT ON COLUMN attempt.id IS 'The permit''s, which all tries of an operation share.';
COMMENT ON COLUMN attempt.at IS 'When the permit was given: with it a try has one place, however often it is reported.';
COMMENT ON COLUMN attempt.wait_ms IS 'The wait that was advised; with a stop: until the whole call is worth another try.';
COMMENT ON COLUMN attempt.stop IS 'Why no further try was advised; NULL: one was, or none is needed.';
ALTER TABLE attempt ENABLE ROW LEVEL SECURITY;
ALTER TABLE attempt FORCE ROW LEVEL SECURITY;
CREATE POLICY attempt_own ON attempt FOR SELECT USING (tenant_id = bw_tenant());
CREATE POLICY attempt_fleet ON attempt TO bw_operator USING (true);
CREATE POLICY attempt_ledger ON attempt TO bw_ledger USING (true) WITH CHECK (true);
CREATE POLICY attempt_kept ON attempt AS RESTRICTIVE FOR DELETE TO bw_operator
    USING (tenant_id IN (SELECT id FROM tenant WHERE deleted_at IS NOT NULL));
GRANT SELECT ON attempt TO bw_app;
GRANT SELECT, DELETE ON attempt TO bw_operator;
GRANT SELECT, INSERT ON attempt TO bw_ledger;
SELECT bw_make_partitions('attempt', NULL, 2);

-- Stores tries; of one that is there already, what was stored first. Rows by item.
CREATE FUNCTION bw_attempts_note(t uuid[], ids uuid[], numbers int2[], at timestamptz[], ended timestamptz[],
                                 operations text[], breakers text[], outcomes text[], kinds text[],
                                 durations int8[], waits int8[], stops text[])
RETURNS TABLE (ord int, is_new boolean, number smallint, ended_at timestamptz, outcome text, kind text,
               duration_ms int8, wait_ms int8, stop text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    item record;
BEGIN
    FOR item IN  -- in key order: two writers cannot deadlock
        SELECT * FROM unnest(t, ids, numbers, at, ended, operations, breakers, outcomes, kinds, durations, waits, stops)
               WITH ORDINALITY AS i (t, id, number, at, ended, operation, breaker, outcome, kind, duration, wait, stop, ord)
        ORDER BY i.t, i.at, i.id, i.number, i.ord
    LOOP
        INSERT INTO public.attempt (tenant_id, id, number, at, ended_at, operation, breaker, outcome, kind,
                                    duration_ms, wait_ms, stop)
        VALUES (item.t, item.id, item.number, item.at, item.ended, item.operation, item.breaker, item.outcome,
                item.kind, item.duration, nullif(item.wait, -1), item.stop)
        ON CONFLICT DO NOTHING;
        is_new := FOUND; ord := item.ord; number := item.number;
        -- Read back: what was first stored is what counts.
        SELECT a.ended_at, a.outcome, a.kind, a.duration_ms, a.wait_ms, a.stop
        INTO   ended_at, outcome, kind, duration_ms, wait_ms, stop
        FROM   public.attempt AS a
        WHERE  a.tenant_id = item.t AND a.at = item.at AND a.id = item.id AND a.number = item.number;
        RETURN NEXT;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_attempts_note TO bw_app;
ALTER FUNCTION bw_attempts_note OWNER TO bw_ledger;

RESET ROLE;
