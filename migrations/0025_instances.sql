-- Who is alive: creations and jobs that an instance had in hand when it died are settled in seconds, not when their
-- leases are over.
SET LOCAL ROLE bw_owner;

CREATE TABLE instance (
    name       text PRIMARY KEY,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    beats_from timestamptz NOT NULL
);
COMMENT ON TABLE instance IS 'Processes that serve, by host and process id. On Citus a reference table.';
COMMENT ON COLUMN instance.beats_from IS 'Since when it has been seen without a gap.';
GRANT SELECT, INSERT, UPDATE, DELETE ON instance TO bw_app, bw_operator;

-- Whether the instance that took something at `since` is known to be gone: begun anew under the same name, or silent for
-- so long, while another was heard all the time: when the database was away nobody was. One that never said that it
-- lives (a release before) is not known to be.
CREATE FUNCTION bw_is_gone(holder text, since timestamptz, silent_ms bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM public.instance AS i
        WHERE  i.name = bw_is_gone.holder
        AND   (i.started_at > since
               OR greatest(i.seen_at, since) < clock_timestamp() - silent_ms * interval '1 millisecond'
               AND EXISTS (
                   SELECT FROM public.instance AS j
                   WHERE  j.beats_from < clock_timestamp() - silent_ms * interval '1 millisecond'
                   AND    j.seen_at > clock_timestamp() - silent_ms * interval '1 millisecond')))
$$;
GRANT EXECUTE ON FUNCTION bw_is_gone TO bw_app, bw_operator;

RESET ROLE;
