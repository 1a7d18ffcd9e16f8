-- Where a tenant's sandboxes are made: regions of providers, and the budget of creations of each account.
--
-- An account is what the provider counts by: its limits hold for all regions that name it, of whatever
-- tenant. Its row says the limits, `creation_budget` and `creation_lease` what was used of them.
SET LOCAL ROLE bw_owner;

CREATE TABLE provider_account (
    id                 text PRIMARY KEY,
    creates_per_second double precision,
    concurrency        int,
    updated_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT provider_account_id_form CHECK (id ~ '^([0-9a-f-]{36}/)?[a-z0-9_.-]{1,64}$'),
    CONSTRAINT provider_account_rate CHECK (creates_per_second BETWEEN 0.001 AND 1000),
    CONSTRAINT provider_account_concurrency CHECK (concurrency BETWEEN 1 AND 1000000)
);
COMMENT ON TABLE provider_account IS 'What a provider counts creations by: one of its teams, say. On Citus a reference table.';
COMMENT ON COLUMN provider_account.id IS 'A name, or TENANT/REGION: the own account of a region that names none.';
COMMENT ON COLUMN provider_account.creates_per_second IS 'NULL: no limit.';
COMMENT ON COLUMN provider_account.concurrency IS 'Creations under way and sandboxes that are kept, together. NULL: no limit.';
GRANT SELECT, INSERT, UPDATE, DELETE ON provider_account TO bw_operator;
GRANT SELECT ON provider_account TO bw_ledger;

CREATE TABLE region (
    tenant_id    uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    name         text NOT NULL,
    version      bigint NOT NULL,
    provider     text NOT NULL,
    account      text NOT NULL REFERENCES provider_account (id),
    api_url      text NOT NULL,
    domain       text NOT NULL,
    api_key      bytea NOT NULL,
    api_key_hint text,
    priority     int NOT NULL,
    templates    jsonb NOT NULL,
    enabled      boolean NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_by   text NOT NULL,
    PRIMARY KEY (tenant_id, name),
    CONSTRAINT region_name_form CHECK (name ~ '^[a-z0-9_.-]{1,40}$'),
    CONSTRAINT region_provider_form CHECK (provider ~ '^[a-z0-9_.-]{1,40}$')
);
COMMENT ON TABLE region IS 'One place of a provider where a tenant''s sandboxes are made.';
COMMENT ON COLUMN region.version IS 'The set''s when it was last changed; the wire''s ETag.';
COMMENT ON COLUMN region.domain IS 'Of the data plane, with a port if it is not the usual one.';
COMMENT ON COLUMN region.api_key IS 'Sealed (SecretBox): version, key id, nonce, ciphertext, tag.';
COMMENT ON COLUMN region.api_key_hint IS 'Its last 4 characters, of one that is long enough.';
COMMENT ON COLUMN region.priority IS 'The lowest is asked first.';
COMMENT ON COLUMN region.templates IS 'A template''s name here to its id there: {"base": "abc"}. Empty: names go there as they are.';
CREATE INDEX region_account ON region (account);
ALTER TABLE region ENABLE ROW LEVEL SECURITY;
ALTER TABLE region FORCE ROW LEVEL SECURITY;
CREATE POLICY region_own ON region FOR SELECT USING (tenant_id = bw_tenant());
CREATE POLICY region_fleet ON region TO bw_operator USING (true) WITH CHECK (true);
CREATE POLICY region_ledger ON region FOR SELECT TO bw_ledger USING (true);
GRANT SELECT ON region TO bw_app, bw_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON region TO bw_operator;

CREATE TABLE region_set (
    tenant_id  uuid PRIMARY KEY REFERENCES tenant (id) ON DELETE CASCADE,
    version    bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE region_set IS 'One row for a tenant that ever had a region.';
COMMENT ON COLUMN region_set.version IS 'Rises with every change of a region or of its account''s limits.';
COMMENT ON COLUMN region_set.changed_at IS 'Instances poll for recent changes and drop what they remember of it.';
CREATE INDEX region_set_changed ON region_set (changed_at);
ALTER TABLE region_set ENABLE ROW LEVEL SECURITY;
ALTER TABLE region_set FORCE ROW LEVEL SECURITY;
CREATE POLICY region_set_own ON region_set FOR SELECT USING (tenant_id = bw_tenant());
CREATE POLICY region_set_fleet ON region_set TO bw_operator USING (true) WITH CHECK (true);
CREATE POLICY region_set_ledger ON region_set FOR SELECT TO bw_ledger USING (true);
GRANT SELECT ON region_set TO bw_app, bw_ledger;
GRANT SELECT, INSERT, UPDATE ON region_set TO bw_operator;

-- What was used of an account's limits. Whoever creates holds the account's row while it decides, so that
-- all instances together keep to them.
CREATE TABLE creation_budget (
    account       text PRIMARY KEY,
    recent        timestamptz[] NOT NULL DEFAULT '{}',
    factor        double precision NOT NULL DEFAULT 1,
    cut_at        timestamptz,
    blocked_until timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE creation_budget IS 'One row for an account that has limits or was throttled. On Citus local to the coordinator.';
COMMENT ON COLUMN creation_budget.recent IS 'When the last creations were admitted, as many as the rate lets through in its window.';
COMMENT ON COLUMN creation_budget.factor IS 'The part of the rate that was left at cut_at; it grows back by a tenth of the rate in 10 s.';
COMMENT ON COLUMN creation_budget.blocked_until IS 'The provider said so (429, Retry-After).';
CREATE INDEX creation_budget_blocked ON creation_budget (blocked_until) WHERE blocked_until IS NOT NULL;
GRANT SELECT, INSERT, UPDATE ON creation_budget TO bw_ledger;
GRANT SELECT, DELETE ON creation_budget TO bw_operator;

CREATE TABLE creation_lease (
    account text NOT NULL,
    id      uuid NOT NULL,
    until   timestamptz NOT NULL,
    PRIMARY KEY (account, id)
);
COMMENT ON TABLE creation_lease IS 'A place of an account''s concurrency. It ends by itself: its instance may be gone. On Citus local to the coordinator.';
CREATE INDEX creation_lease_until ON creation_lease (until);
GRANT SELECT, INSERT, UPDATE, DELETE ON creation_lease TO bw_ledger;
GRANT SELECT, DELETE ON creation_lease TO bw_operator;

-- The regions of some tenants and their accounts' limits, the first to be asked first.
CREATE FUNCTION bw_regions(tenants uuid[])
RETURNS TABLE (tenant_id uuid, name text, version bigint, provider text, account text,
               creates_per_second double precision, concurrency int, api_url text, domain text, api_key bytea,
               api_key_hint text, priority int, templates jsonb, enabled boolean, created_at timestamptz,
               updated_at timestamptz, updated_by text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    SELECT r.tenant_id, r.name, r.version, r.provider, r.account, a.creates_per_second, a.concurrency,
           r.api_url, r.domain, r.api_key, r.api_key_hint, r.priority, r.templates, r.enabled, r.created_at,
           r.updated_at, r.updated_by
    FROM   public.region AS r JOIN public.provider_account AS a ON a.id = r.account
    WHERE  r.tenant_id = ANY (tenants) ORDER BY r.tenant_id, r.priority, r.name;
END;
GRANT EXECUTE ON FUNCTION bw_regions TO bw_app;
ALTER FUNCTION bw_regions OWNER TO bw_ledger;

-- Tenants whose regions changed within `span`, with their set's version, and accounts that may not create now, with how long yet. The
-- span must be longer than a transaction that changes regions lasts, since rows show up in order of commit.
CREATE FUNCTION bw_regions_changed(span interval)
RETURNS TABLE (tenant_id uuid, version bigint, account text, blocked_ms bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    SELECT s.tenant_id, s.version, NULL, NULL FROM public.region_set AS s
    WHERE  s.changed_at > clock_timestamp() - span
    UNION ALL
    SELECT NULL, NULL, b.account, ceil(extract(epoch FROM b.blocked_until - clock_timestamp()) * 1000)::bigint
    FROM   public.creation_budget AS b WHERE b.blocked_until > clock_timestamp();
END;
GRANT EXECUTE ON FUNCTION bw_regions_changed TO bw_app;
ALTER FUNCTION bw_regions_changed OWNER TO bw_ledger;

-- Decides on creations, for any accounts, in the order given for each: one row locked for an account, in
-- order of their ids, the clock read when it is held.
--
--   take       a creation wants to begin; it has its lease for `ms`. Again with a lease that it has: granted.
--   keep       a lease lasts from now for `ms`, also one that has ended: what it stands for is there.
--   release    a lease is over.
--   throttled  the provider said 429: nobody creates for `ms`, and then at half of the rate.
--
-- Answers granted; or throttled, rate, concurrency with the wait until it may be otherwise. Of a rate r at most
-- r rounded down are granted in any second (over 100: its part in any 1/k second), below 1 one in 1/r seconds.
CREATE FUNCTION bw_creation_budget(accounts text[], kinds text[], leases uuid[], ms bigint[], at timestamptz)
RETURNS TABLE (ord int, answer text, wait_ms bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    account_ text;
    limits record;
    budget creation_budget;
    item record;
    clock timestamptz;
    rate double precision;
    parts int;
    n int;
    next_at timestamptz;
    kept int;
    held int;
    free_at timestamptz;
BEGIN
    FOR account_ IN SELECT DISTINCT i.account FROM unnest(accounts) AS i (account) ORDER BY 1 LOOP
        SELECT * INTO budget FROM creation_budget AS b WHERE b.account = account_ FOR UPDATE;
        IF NOT FOUND THEN
            INSERT INTO creation_budget (account) VALUES (account_) ON CONFLICT DO NOTHING;
            SELECT * INTO budget FROM creation_budget AS b WHERE b.account = account_ FOR UPDATE;
        END IF;
        clock := coalesce(at, clock_timestamp());
        SELECT a.creates_per_second, a.concurrency INTO limits FROM provider_account AS a WHERE a.id = account_;
        kept := greatest(1, floor(limits.creates_per_second / ceil(limits.creates_per_second / 100)));
        DELETE FROM creation_lease AS l WHERE l.account = account_ AND l.until <= clock;
        held := (SELECT count(*) FROM creation_lease AS l WHERE l.account = account_);
        -- A clock that went back must not make anybody wait for what is past.
        IF budget.recent[cardinality(budget.recent)] > clock THEN
            budget.recent := ARRAY(SELECT least(r, clock) FROM unnest(budget.recent) AS r);
        END IF;
        budget.factor := least(1, budget.factor
            + 0.01 * greatest(0, coalesce(extract(epoch FROM clock - budget.cut_at), 0)));
        FOR item IN
            SELECT i.ord, i.kind, i.lease, i.ms * interval '1 millisecond' AS span
            FROM   unnest(accounts, kinds, leases, ms) WITH ORDINALITY AS i (account, kind, lease, ms, ord)
            WHERE  i.account = account_ ORDER BY i.ord
        LOOP
            ord := item.ord; answer := 'granted'; free_at := NULL;
            CASE item.kind
            WHEN 'take' THEN
                rate := limits.creates_per_second * budget.factor;
                parts := ceil(rate / 100);
                n := greatest(1, floor(rate / parts));
                next_at := budget.recent[cardinality(budget.recent) - n + 1]
                           + interval '1 second' / least(rate, parts);
                IF EXISTS (SELECT FROM creation_lease AS l WHERE l.account = account_ AND l.id = item.lease) THEN
                    NULL;
                ELSIF budget.blocked_until > clock THEN
                    answer := 'throttled'; free_at := budget.blocked_until;
                ELSIF rate IS NOT NULL AND next_at > clock THEN
                    answer := 'rate'; free_at := next_at;
                ELSIF held >= limits.concurrency THEN
                    answer := 'concurrency';
                    free_at := (SELECT min(l.until) FROM creation_lease AS l WHERE l.account = account_);
                ELSE
                    IF limits.creates_per_second IS NOT NULL THEN
                        budget.recent := (budget.recent || clock)[greatest(1, cardinality(budget.recent) + 2 - kept):];
                    END IF;
                    IF limits.concurrency IS NOT NULL THEN
                        INSERT INTO creation_lease (account, id, until) VALUES (account_, item.lease, clock + item.span);
                        held := held + 1;
                    END IF;
                END IF;
            WHEN 'keep' THEN
                IF limits.concurrency IS NOT NULL THEN
                    INSERT INTO creation_lease AS l (account, id, until) VALUES (account_, item.lease, clock + item.span)
                    ON CONFLICT (account, id) DO UPDATE SET until = excluded.until;
                    held := (SELECT count(*) FROM creation_lease AS l WHERE l.account = account_);
                END IF;
            WHEN 'release' THEN
                DELETE FROM creation_lease AS l WHERE l.account = account_ AND l.id = item.lease;
                IF FOUND THEN held := held - 1; END IF;
            WHEN 'throttled' THEN
                budget.blocked_until := greatest(budget.blocked_until, clock + item.span);
                -- Those that were under way together are one answer, not many.
                IF budget.cut_at IS NULL OR budget.cut_at <= clock - interval '1 second' THEN
                    budget.factor := greatest(budget.factor / 2, 0.0625);
                    budget.cut_at := clock;
                END IF;
            END CASE;
            wait_ms := ceil(extract(epoch FROM free_at - clock) * 1000);
            RETURN NEXT;
        END LOOP;
        UPDATE creation_budget AS b
        SET    recent = budget.recent, cut_at = budget.cut_at, blocked_until = budget.blocked_until,
               factor = CASE WHEN budget.cut_at = clock THEN budget.factor ELSE b.factor END
        WHERE  b.account = account_;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION bw_creation_budget TO bw_app;
ALTER FUNCTION bw_creation_budget OWNER TO bw_ledger;

RESET ROLE;
