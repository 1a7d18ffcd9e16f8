-- Who is alive: what an instance had in hand when it died is settled in seconds, not when its leases are over.
SET LOCAL ROLE bw_owner;

CREATE TABLE instance (
    name       text PRIMARY KEY,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL
);
COMMENT ON TABLE instance IS 'Processes that serve, by host and process id. On Citus a reference table.';
GRANT SELECT, INSERT, UPDATE, DELETE ON instance TO bw_app, bw_operator;

-- Whether the instance that took something at `since` is known to be gone: silent for so long, or begun anew under the
-- same name. One that never said that it lives (a release before) is not known to be.
CREATE FUNCTION bw_is_gone(holder text, since timestamptz, silent_ms bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM public.instance AS i
        WHERE  i.name = bw_is_gone.holder
        AND   (i.started_at > since OR i.seen_at < clock_timestamp() - silent_ms * interval '1 millisecond'))
$$;
GRANT EXECUTE ON FUNCTION bw_is_gone TO bw_app, bw_operator;

RESET ROLE;
