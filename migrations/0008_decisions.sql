-- Decisions that need more than bw_acquire's one limit: several at once, shadow ones, limits over all
-- operations together, windows over 24 h, and requests that are told apart.
SET LOCAL ROLE bw_owner;

-- Decides elements one after the other, in order.
--
-- Element i is n equal calls of cost c for key (t, o). logs says where it is recorded beside
-- usage_log: 1 under operation 0 too, 2 in usage_log_long too, 4 in usage_log_long under operation 0
-- too. Limits are flat: limit j is of element le[j] (ascending), counts operation 0 where wide[j],
-- allows ll[j] units in lw[j] seconds, and only decides where enforced[j].
--
-- id, key_hash and request_hash are texts (hashes hexadecimal). An element with an id (n = 1) leaves a request_record. One with key_hash is decided once: again it
-- is 'replayed' with the first reply, with another request_hash it is a 'mismatch'. Denials are not
-- remembered: nothing happened, and the same key may try again.
--
-- used and first_at are by limit, before the element; decider is the limit (1-based) that denied,
-- the one that is free last. retry_at: when a denied call fits; NULL: never, or none was denied.
CREATE FUNCTION bw_decide(
    t uuid[], o int2[], c int[], n int[], version int8[], logs int2[],
    le int[], wide boolean[], lw int[], ll int8[], enforced boolean[],
    id text[], labels text[], key_hash text[], request_hash text[], now_in timestamptz)
RETURNS TABLE (ord int, outcome text, admitted int, at timestamptz, retry_at timestamptz, decider int,
               used int8[], first_at timestamptz[], reply text)
LANGUAGE plpgsql SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    now_ timestamptz;
    outdated uuid[];
    has_refunds boolean;
    total_own bigint; total_all bigint; long_own bigint; long_all bigint;
    eff timestamptz; last_ timestamptz;
    adm int; units_ int; j int := 1; first_limit int;
    key_op int2; start_ timestamptz; base_ bigint; oldest timestamptz; count_ bigint; bases bigint[];
    need bigint; free_at timestamptz; known record; limits_ jsonb;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'bw_decide needs READ COMMITTED: it must see what it waited for';
    END IF;
    -- one order for all locks of all batches: two cannot deadlock
    PERFORM count(pg_advisory_xact_lock(s.k)) FROM (
        SELECT DISTINCT a.k FROM (
            SELECT uuid_hash_extended(g.t, g.o) AS k FROM unnest(t, o) AS g (t, o)
            UNION ALL
            SELECT uuid_hash_extended(g.t, 0) FROM unnest(t, logs) AS g (t, logs) WHERE g.logs & 1 = 1
            UNION ALL
            SELECT hashtextextended(g.k, uuid_hash_extended(g.t, -2))
            FROM   unnest(t, key_hash) AS g (t, k) WHERE g.k IS NOT NULL) AS a
        ORDER BY 1) AS s;
    now_ := coalesce(now_in, clock_timestamp());  -- after the locks
    outdated := public.bw_outdated(t, version);
    has_refunds := EXISTS (SELECT FROM public.refund);

    FOR i IN 1..cardinality(t) LOOP
        ord := i; outcome := 'decided'; admitted := 0; at := NULL; retry_at := NULL; decider := NULL;
        used := '{}'; first_at := '{}'; reply := NULL;
        first_limit := j;
        WHILE j <= cardinality(le) AND le[j] = i LOOP j := j + 1; END LOOP;

        IF t[i] = ANY (outdated) THEN
            outcome := 'outdated';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF key_hash[i] IS NOT NULL THEN
            SELECT r.request_hash AS hash, r.body INTO known FROM public.idempotency AS r
            WHERE  r.tenant_id = t[i] AND r.key_hash = decode(bw_decide.key_hash[i], 'hex') AND r.expires_at > clock_timestamp();
            IF FOUND THEN
                outcome := CASE WHEN known.hash = decode(request_hash[i], 'hex') THEN 'replayed' ELSE 'mismatch' END;
                reply := known.body;
                RETURN NEXT;
                CONTINUE;
            END IF;
        END IF;

        total_own := 0; total_all := 0; long_own := 0; long_all := 0;
        eff := now_;
        SELECT l.cum, l.at INTO total_own, last_ FROM public.usage_log AS l
        WHERE  l.tenant_id = t[i] AND l.op = o[i] ORDER BY l.at DESC LIMIT 1;
        eff := greatest(eff, last_ + interval '1 microsecond');
        IF logs[i] & 1 = 1 THEN
            SELECT l.cum, l.at INTO total_all, last_ FROM public.usage_log AS l
            WHERE  l.tenant_id = t[i] AND l.op = 0 ORDER BY l.at DESC LIMIT 1;
            eff := greatest(eff, last_ + interval '1 microsecond');
        END IF;
        IF logs[i] & 2 = 2 THEN
            SELECT l.cum, l.at INTO long_own, last_ FROM public.usage_log_long AS l
            WHERE  l.tenant_id = t[i] AND l.op = o[i] ORDER BY l.at DESC LIMIT 1;
            eff := greatest(eff, last_ + interval '1 microsecond');
        END IF;
        IF logs[i] & 4 = 4 THEN
            SELECT l.cum, l.at INTO long_all, last_ FROM public.usage_log_long AS l
            WHERE  l.tenant_id = t[i] AND l.op = 0 ORDER BY l.at DESC LIMIT 1;
            eff := greatest(eff, last_ + interval '1 microsecond');
        END IF;

        adm := n[i];
        bases := '{}';
        FOR k IN first_limit..j - 1 LOOP
            key_op := CASE WHEN wide[k] THEN 0 ELSE o[i] END;
            start_ := eff - lw[k] * interval '1 second';
            base_ := NULL; oldest := NULL;
            IF lw[k] <= 86400 THEN
                SELECT l.cum - l.units, l.at INTO base_, oldest FROM public.usage_log AS l
                WHERE  l.tenant_id = t[i] AND l.op = key_op AND l.at > start_ ORDER BY l.at LIMIT 1;
                count_ := coalesce(CASE WHEN wide[k] THEN total_all ELSE total_own END - base_, 0);
            ELSE
                SELECT l.cum - l.units, l.at INTO base_, oldest FROM public.usage_log_long AS l
                WHERE  l.tenant_id = t[i] AND l.op = key_op AND l.at > start_ ORDER BY l.at LIMIT 1;
                count_ := coalesce(CASE WHEN wide[k] THEN long_all ELSE long_own END - base_, 0);
            END IF;
            IF has_refunds THEN count_ := count_ - public.bw_refunded(t[i], key_op, start_, eff); END IF;
            used := used || count_;
            first_at := first_at || oldest;
            bases := bases || base_;
            IF enforced[k] THEN adm := least(adm, greatest(0, (ll[k] - count_) / c[i])::int); END IF;
        END LOOP;
        admitted := adm;
        at := eff;

        IF adm < n[i] THEN
            retry_at := eff;
            FOR k IN first_limit..j - 1 LOOP
                need := used[k - first_limit + 1] + c[i]::bigint * (adm + 1) - ll[k];
                CONTINUE WHEN NOT enforced[k] OR need <= 0;
                key_op := CASE WHEN wide[k] THEN 0 ELSE o[i] END;
                start_ := eff - lw[k] * interval '1 second';
                free_at := NULL;
                IF c[i] > ll[k] THEN
                    free_at := 'infinity';
                ELSIF lw[k] <= 86400 THEN
                    SELECT l.at INTO free_at FROM public.usage_log AS l
                    WHERE  l.tenant_id = t[i] AND l.op = key_op AND l.at > start_
                    AND    l.cum - bases[k - first_limit + 1] - CASE WHEN has_refunds
                           THEN public.bw_refunded(t[i], key_op, start_, l.at) ELSE 0 END >= need
                    ORDER  BY l.at LIMIT 1;
                ELSE
                    SELECT l.at INTO free_at FROM public.usage_log_long AS l
                    WHERE  l.tenant_id = t[i] AND l.op = key_op AND l.at > start_
                    AND    l.cum - bases[k - first_limit + 1] - CASE WHEN has_refunds
                           THEN public.bw_refunded(t[i], key_op, start_, l.at) ELSE 0 END >= need
                    ORDER  BY l.at LIMIT 1;
                END IF;
                -- no row frees enough: the room must come from this very batch
                free_at := coalesce(free_at, eff) + lw[k] * interval '1 second';
                IF decider IS NULL OR free_at > retry_at THEN
                    decider := k - first_limit + 1;
                    retry_at := free_at;
                END IF;
            END LOOP;
            IF retry_at = 'infinity' THEN retry_at := NULL; END IF;
        END IF;

        IF adm > 0 THEN
            units_ := c[i] * adm;
            INSERT INTO public.usage_log (tenant_id, op, at, units, cum)
            VALUES (t[i], o[i], eff, units_, coalesce(total_own, 0) + units_);
            IF logs[i] & 1 = 1 THEN
                INSERT INTO public.usage_log (tenant_id, op, at, units, cum)
                VALUES (t[i], 0, eff, units_, coalesce(total_all, 0) + units_);
            END IF;
            IF logs[i] & 2 = 2 THEN
                INSERT INTO public.usage_log_long (tenant_id, op, at, units, cum)
                VALUES (t[i], o[i], eff, units_, coalesce(long_own, 0) + units_);
            END IF;
            IF logs[i] & 4 = 4 THEN
                INSERT INTO public.usage_log_long (tenant_id, op, at, units, cum)
                VALUES (t[i], 0, eff, units_, coalesce(long_all, 0) + units_);
            END IF;
            IF id[i] IS NOT NULL THEN
                INSERT INTO public.request_record (tenant_id, id, at, op, units, labels)
                VALUES (t[i], id[i]::uuid, eff, o[i], units_, coalesce(labels[i], '{}')::jsonb);
            END IF;
            IF key_hash[i] IS NOT NULL THEN
                limits_ := '[]';
                FOR k IN first_limit..j - 1 LOOP
                    limits_ := limits_ || jsonb_build_array(jsonb_build_array(
                        wide[k], lw[k], ll[k], enforced[k], used[k - first_limit + 1]));
                END LOOP;
                INSERT INTO public.idempotency AS r (tenant_id, key_hash, request_hash, status, body, expires_at)
                VALUES (t[i], decode(key_hash[i], 'hex'), decode(request_hash[i], 'hex'), 200, jsonb_build_object(
                            'id', id[i], 'limits', limits_,
                            'at', (extract(epoch FROM eff) * 1000000)::bigint)::text,
                        clock_timestamp() + interval '24 hours')
                -- only one that has expired and was not cleaned up yet can be there
                ON CONFLICT ON CONSTRAINT idempotency_pkey DO UPDATE
                SET request_hash = excluded.request_hash, body = excluded.body, expires_at = excluded.expires_at;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_decide TO bw_app;
ALTER FUNCTION bw_decide OWNER TO bw_ledger;
GRANT UPDATE ON idempotency TO bw_ledger;

RESET ROLE;
