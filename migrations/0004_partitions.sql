-- Partitions are made ahead by a job, at start, and by a write that finds none; dropped when old.
--
-- Made apart and then attached: CREATE ... PARTITION OF would lock the parent against everyone,
-- ATTACH lets reads and writes go on. Owned by bw_owner, since only a parent's owner may attach.
SET LOCAL ROLE bw_owner;

CREATE TABLE event (
    tenant_id uuid NOT NULL,
    id        uuid NOT NULL,
    at        timestamptz NOT NULL,
    name      text NOT NULL,
    fields    jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, at, id)
) PARTITION BY RANGE (at);
COMMENT ON TABLE event IS 'What is worth telling, by tenant. Partitions of a day.';
ALTER TABLE event ENABLE ROW LEVEL SECURITY;
ALTER TABLE event FORCE ROW LEVEL SECURITY;
CREATE POLICY event_own ON event USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant());
CREATE POLICY event_fleet ON event TO bw_operator USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON event TO bw_app, bw_operator;

-- The span of a parent's partitions.
CREATE FUNCTION bw_partition_step(parent text) RETURNS interval LANGUAGE sql IMMUTABLE
    RETURN CASE parent WHEN 'usage_log' THEN interval '1 hour' WHEN 'event' THEN interval '1 day' END;

-- Makes the partitions that hold from_time, and `ahead` more after it; answers how many were new.
CREATE FUNCTION bw_make_partitions(parent text, from_time timestamptz, ahead int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public SET timezone = 'UTC' AS $$
DECLARE
    step interval := bw_partition_step(parent);
    first timestamptz;
    lower_bound timestamptz;
    part text;
    made int := 0;
BEGIN
    IF step IS NULL THEN
        RAISE EXCEPTION 'no partitioned table %', parent USING ERRCODE = 'undefined_table';
    END IF;
    first := date_trunc(CASE parent WHEN 'usage_log' THEN 'hour' ELSE 'day' END,
                        coalesce(from_time, clock_timestamp()));
    PERFORM pg_advisory_xact_lock(hashtextextended('bw_make_partitions ' || parent, 0));
    FOR i IN 0..least(ahead, 366) LOOP
        lower_bound := first + i * step;
        part := format('%s_%s', parent, to_char(lower_bound, 'YYYYMMDDHH24'));
        IF to_regclass(format('public.%I', part)) IS NULL THEN
            EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL EXCLUDING STATISTICS)', part, parent);
            EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', part);
            EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', part);
            EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                           parent, part, lower_bound, lower_bound + step);
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;
GRANT EXECUTE ON FUNCTION bw_make_partitions TO bw_app;

-- Takes the partitions that hold nothing after `horizon` out of their parent, one a call; answers
-- its name, NULL when none is left. The lock on the parent is short: the files go with
-- bw_drop_detached, in a transaction of its own.
CREATE FUNCTION bw_detach_partition(parent text, horizon timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public SET timezone = 'UTC' AS $$
DECLARE
    part text;
BEGIN
    IF bw_partition_step(parent) IS NULL THEN
        RAISE EXCEPTION 'no partitioned table %', parent USING ERRCODE = 'undefined_table';
    END IF;
    SELECT c.relname INTO part
    FROM   pg_inherits AS i
    JOIN   pg_class AS c ON c.oid = i.inhrelid
    WHERE  i.inhparent = to_regclass(format('public.%I', parent))
    AND    to_timestamp(right(c.relname, 10), 'YYYYMMDDHH24') + bw_partition_step(parent) <= horizon
    ORDER  BY c.relname LIMIT 1;
    IF part IS NOT NULL THEN
        EXECUTE format('ALTER TABLE public.%I DETACH PARTITION public.%I', parent, part);
    END IF;
    RETURN part;
END $$;
GRANT EXECUTE ON FUNCTION bw_detach_partition TO bw_app;

-- Drops the partitions of `parent` that were taken out of it; answers their number.
CREATE FUNCTION bw_drop_detached(parent text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    part text;
    dropped int := 0;
BEGIN
    IF bw_partition_step(parent) IS NULL THEN
        RAISE EXCEPTION 'no partitioned table %', parent USING ERRCODE = 'undefined_table';
    END IF;
    FOR part IN
        SELECT c.relname FROM pg_class AS c
        WHERE  c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
        AND    c.relname ~ ('^' || parent || '_[0-9]{10}$')
    LOOP
        EXECUTE format('DROP TABLE public.%I', part);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
GRANT EXECUTE ON FUNCTION bw_drop_detached TO bw_app;

SELECT bw_make_partitions('usage_log', NULL, 2), bw_make_partitions('event', NULL, 2);

RESET ROLE;
