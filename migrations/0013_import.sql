-- Records of another system, merged into the ledger at their own times.
-- min-binary: 9
--
-- A file's rows wait in import_row and are merged a few thousand at a time, the newest first, each time
-- in one transaction that also takes them out of there. So what was begun can be gone on with after
-- any death, and nothing is counted twice; a file that is done is known by its hash.

-- What migrates made the table; dumps and restores must not need that login.
ALTER TABLE schema_migration OWNER TO bw_owner;
SET LOCAL ROLE bw_owner;

CREATE TABLE import (
    tenant_id   uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    id          bytea NOT NULL,
    state       text NOT NULL DEFAULT 'staging',
    records     bigint,
    skipped     bigint,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT import_id_length CHECK (octet_length(id) = 32),
    CONSTRAINT import_state_known CHECK (state IN ('staging', 'merging', 'done'))
);
COMMENT ON TABLE import IS 'Files of records that were imported, so that none is twice.';
COMMENT ON COLUMN import.id IS 'SHA-256 of the file.';

CREATE TABLE import_row (
    tenant_id uuid NOT NULL,
    import_id bytea NOT NULL,
    op        smallint NOT NULL,
    at        timestamptz NOT NULL,
    units     bigint NOT NULL,
    PRIMARY KEY (tenant_id, import_id, op, at),
    CONSTRAINT import_row_of_import FOREIGN KEY (tenant_id, import_id)
        REFERENCES import (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT import_row_units CHECK (units BETWEEN 1 AND 1000000000)
);
COMMENT ON TABLE import_row IS 'Rows of a file that are not merged yet.';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['import', 'import_row'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY %I ON %I FOR SELECT USING (tenant_id = bw_tenant())', name || '_own', name);
        EXECUTE format('CREATE POLICY %I ON %I TO bw_operator USING (true)', name || '_fleet', name);
        EXECUTE format('CREATE POLICY %I ON %I TO bw_ledger USING (true) WITH CHECK (true)', name || '_ledger', name);
        EXECUTE format('GRANT SELECT ON %I TO bw_app', name);
        EXECUTE format('GRANT SELECT, DELETE ON %I TO bw_operator', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO bw_ledger', name);
    END LOOP;
END $$;
GRANT UPDATE ON usage_log, usage_log_long TO bw_ledger;

-- Begins an import or goes on with it; answers its state. What was staged before a death goes.
CREATE FUNCTION bw_import_begin(tenant uuid, file bytea) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    known text;
BEGIN
    INSERT INTO import (tenant_id, id) VALUES (tenant, file) ON CONFLICT DO NOTHING;
    SELECT i.state INTO known FROM import AS i WHERE i.tenant_id = tenant AND i.id = file FOR UPDATE;
    IF known = 'staging' THEN
        DELETE FROM import_row AS r WHERE r.tenant_id = tenant AND r.import_id = file;
    END IF;
    RETURN known;
END $$;
GRANT EXECUTE ON FUNCTION bw_import_begin TO bw_app;
ALTER FUNCTION bw_import_begin OWNER TO bw_ledger;

-- Stages rows: units of operation o at a time, added up.
CREATE FUNCTION bw_import_stage(tenant uuid, file bytea, o int2[], at timestamptz[], units int8[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    INSERT INTO public.import_row AS r (tenant_id, import_id, op, at, units)
    SELECT tenant, file, i.o, i.at, sum(i.units) FROM unnest(o, at, units) AS i (o, at, units)
    GROUP  BY i.o, i.at
    ON CONFLICT (tenant_id, import_id, op, at) DO UPDATE SET units = r.units + excluded.units;
END;
GRANT EXECUTE ON FUNCTION bw_import_stage TO bw_app;
ALTER FUNCTION bw_import_stage OWNER TO bw_ledger;

-- The whole file is staged: from here on it is merged.
CREATE FUNCTION bw_import_staged(tenant uuid, file bytea, records int8, skipped int8) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    UPDATE public.import AS i SET state = 'merging', records = bw_import_staged.records, skipped = bw_import_staged.skipped
    WHERE  i.tenant_id = tenant AND i.id = file AND i.state = 'staging';
END;
GRANT EXECUTE ON FUNCTION bw_import_staged TO bw_app;
ALTER FUNCTION bw_import_staged OWNER TO bw_ledger;

-- Merges rows of one key into a log. The key's lock is held.
--
-- Running totals only count by their differences, so rows that are newer than all of these keep theirs
-- and the older ones are lowered, below 0 if need be: what callers append to stays as it is, and
-- history that is older than the log costs no update at all.
CREATE FUNCTION bw_import_merge(log regclass, tenant uuid, o int2, at timestamptz[], units int8[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    first_ timestamptz := (SELECT min(a) FROM unnest(at) AS a);
    last_ timestamptz := (SELECT max(a) FROM unnest(at) AS a);
    added bigint := (SELECT sum(u) FROM unnest(units) AS u);
    top bigint;
    has_newer boolean;
BEGIN
    IF first_ IS NULL THEN RETURN; END IF;
    EXECUTE format('SELECT l.cum - l.units FROM %s AS l WHERE l.tenant_id = $1 AND l.op = $2 AND l.at > $3
                    ORDER BY l.at LIMIT 1', log) INTO top USING tenant, o, last_;
    has_newer := top IS NOT NULL;
    IF NOT has_newer THEN
        EXECUTE format('SELECT l.cum FROM %s AS l WHERE l.tenant_id = $1 AND l.op = $2
                        ORDER BY l.at DESC LIMIT 1', log) INTO top USING tenant, o;
        top := coalesce(top, 0) + added;
    END IF;
    EXECUTE format('
        WITH gone AS (
            DELETE FROM %1$s AS l WHERE l.tenant_id = $1 AND l.op = $2 AND l.at BETWEEN $3 AND $4
            RETURNING l.at, l.units),
        span AS (
            SELECT u.at, sum(u.units) AS units
            FROM  (SELECT at, units::int8 FROM gone UNION ALL SELECT * FROM unnest($5, $6)) AS u (at, units)
            GROUP  BY u.at)
        INSERT INTO %1$s (tenant_id, op, at, units, cum)
        SELECT $1, $2, s.at, s.units, $7 - coalesce(sum(s.units) OVER (
                   ORDER BY s.at DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
        FROM   span AS s', log) USING tenant, o, first_, last_, at, units, top;
    IF has_newer THEN
        EXECUTE format('UPDATE %s AS l SET cum = l.cum - $4
                        WHERE l.tenant_id = $1 AND l.op = $2 AND l.at < $3', log)
        USING tenant, o, first_, added;
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION bw_import_merge TO bw_ledger;

-- Merges up to max_rows of a file's rows, of one operation, the newest first; `merged` is 0 once none is
-- left. Into the logs go those that a window may still count (`keep` or the longest window of a
-- policy, whichever is longer; 31 days where the key has such a policy), into the roll-ups those
-- that are not older than keep_rollups. Units of each: counted, rolled (recent ones by the job,
-- which makes the last minutes anew from the log), and those too old for either.
CREATE FUNCTION bw_import_step(tenant uuid, file bytea, max_rows int, keep interval, keep_rollups interval,
                               now_in timestamptz)
RETURNS TABLE (merged int, counted bigint, rolled bigint, too_old bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public SET timezone = 'UTC' AS $$
#variable_conflict use_column
DECLARE
    now_ timestamptz; hot_from timestamptz; long_from timestamptz; rolled_from timestamptz; anew_from timestamptz;
    op_ smallint; ats timestamptz[]; amounts int8[]; hot_ats timestamptz[]; hot_amounts int8[];
    long_ats timestamptz[]; long_amounts int8[];
    known policy_set; part record;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'bw_import_step needs READ COMMITTED: it must see what it waited for';
    END IF;
    merged := 0; counted := 0; rolled := 0; too_old := 0;
    PERFORM FROM import AS i WHERE i.tenant_id = tenant AND i.id = file AND i.state = 'merging' FOR UPDATE;
    IF NOT FOUND THEN RETURN NEXT; RETURN; END IF;
    SELECT r.op INTO op_ FROM import_row AS r
    WHERE  r.tenant_id = tenant AND r.import_id = file ORDER BY r.op LIMIT 1;
    IF NOT FOUND THEN
        UPDATE import AS i SET state = 'done', finished_at = clock_timestamp()
        WHERE  i.tenant_id = tenant AND i.id = file;
        RETURN NEXT; RETURN;
    END IF;
    WITH gone AS (
        DELETE FROM import_row AS r
        WHERE  r.tenant_id = tenant AND r.import_id = file AND r.op = op_ AND r.at >= (
            SELECT min(n.at) FROM (
                SELECT r.at FROM import_row AS r
                WHERE  r.tenant_id = tenant AND r.import_id = file AND r.op = op_
                ORDER  BY r.at DESC LIMIT max_rows) AS n)
        RETURNING r.at, r.units)
    SELECT array_agg(gone.at ORDER BY gone.at), array_agg(gone.units ORDER BY gone.at), count(*)
    INTO   ats, amounts, merged FROM gone;

    -- The job that rolls up waits for us, or we for it: a row is rolled up by one of the two.
    SELECT u.upto INTO anew_from FROM usage_rollup AS u FOR UPDATE;
    IF anew_from < coalesce(now_in, clock_timestamp()) - interval '30 minutes' THEN
        PERFORM bw_roll_up(now_in);
        SELECT u.upto INTO anew_from FROM usage_rollup AS u;
    END IF;
    anew_from := anew_from - interval '5 minutes';
    -- in the order of every batch
    PERFORM count(pg_advisory_xact_lock(s.k)) FROM (
        SELECT DISTINCT uuid_hash_extended(tenant, o.op) AS k
        FROM  (VALUES (op_), (0::smallint)) AS o (op) ORDER BY 1) AS s;
    now_ := coalesce(now_in, clock_timestamp());  -- after the locks
    IF ats[cardinality(ats)] > now_ THEN
        RAISE EXCEPTION 'a row of the future would stop the key''s clock' USING ERRCODE = 'check_violation';
    END IF;
    SELECT * INTO known FROM policy_set AS s WHERE s.tenant_id = tenant;
    hot_from := now_ - greatest(keep, bw_longest_window(NULL));
    long_from := now_ - interval '31 days';
    rolled_from := now_ - keep_rollups;

    SELECT array_agg(i.at), array_agg(i.units), coalesce(sum(i.units), 0) INTO hot_ats, hot_amounts, counted
    FROM   unnest(ats, amounts) AS i (at, units) WHERE i.at > hot_from;
    SELECT array_agg(i.at), array_agg(i.units) INTO long_ats, long_amounts
    FROM   unnest(ats, amounts) AS i (at, units) WHERE i.at > long_from;
    FOR part IN
        SELECT p.parent, p.at FROM (
            SELECT DISTINCT 'usage_log' AS parent, date_trunc('hour', a) AS at FROM unnest(hot_ats) AS a
            UNION ALL
            SELECT DISTINCT 'usage_log_long', date_trunc('day', a) FROM unnest(long_ats) AS a
            WHERE  known.long_ops && ARRAY[op_, 0::smallint]
            UNION ALL
            SELECT DISTINCT 'usage_minute', date_trunc('day', a) FROM unnest(ats) AS a
            WHERE  a > rolled_from) AS p
        WHERE  to_regclass(format('public.%I', p.parent || to_char(p.at, '"_"YYYYMMDDHH24'))) IS NULL
        ORDER  BY 1, 2
    LOOP
        PERFORM bw_make_partitions(part.parent, part.at, 0);
    END LOOP;

    PERFORM bw_import_merge('usage_log', tenant, op_, hot_ats, hot_amounts);
    IF known.counts_all THEN
        PERFORM bw_import_merge('usage_log', tenant, 0::smallint, hot_ats, hot_amounts);
    END IF;
    IF op_ = ANY (known.long_ops) THEN
        PERFORM bw_import_merge('usage_log_long', tenant, op_, long_ats, long_amounts);
    END IF;
    IF 0 = ANY (known.long_ops) THEN
        PERFORM bw_import_merge('usage_log_long', tenant, 0::smallint, long_ats, long_amounts);
    END IF;

    INSERT INTO usage_minute AS m (tenant_id, op, at, units)
    SELECT tenant, op_, date_trunc('minute', i.at), sum(i.units) FROM unnest(ats, amounts) AS i (at, units)
    WHERE  i.at < anew_from AND i.at > rolled_from GROUP BY 3 ORDER BY 3
    ON CONFLICT (tenant_id, op, at) DO UPDATE SET units = m.units + excluded.units;
    INSERT INTO usage_hour AS h (tenant_id, op, at, units)
    SELECT tenant, op_, date_trunc('hour', i.at), sum(i.units) FROM unnest(ats, amounts) AS i (at, units)
    WHERE  i.at < anew_from AND i.at > rolled_from GROUP BY 3 ORDER BY 3
    ON CONFLICT (tenant_id, op, at) DO UPDATE SET units = h.units + excluded.units;
    SELECT coalesce(sum(i.units) FILTER (WHERE i.at > rolled_from), 0),
           coalesce(sum(i.units) FILTER (WHERE i.at <= rolled_from AND i.at <= hot_from), 0)
    INTO   rolled, too_old FROM unnest(ats, amounts) AS i (at, units);
    RETURN NEXT;
END $$;
GRANT EXECUTE ON FUNCTION bw_import_step TO bw_app;
ALTER FUNCTION bw_import_step OWNER TO bw_ledger;

RESET ROLE;
