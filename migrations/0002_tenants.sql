-- Tenants, their API keys, what was done to them, and replies kept for repeated calls.
SET LOCAL ROLE bw_owner;

-- The tenant of this transaction: set by SET LOCAL from a parsed UUID. After a first SET LOCAL a
-- pooled connection answers '' instead of NULL, which must mean "none" as well.
CREATE FUNCTION bw_tenant() RETURNS uuid LANGUAGE sql STABLE
    RETURN nullif(current_setting('app.tenant_id', true), '')::uuid;
GRANT EXECUTE ON FUNCTION bw_tenant() TO bw_app, bw_ledger, bw_operator;

CREATE TABLE tenant (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    suspended_at timestamptz,
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT tenant_name_unique UNIQUE (name),
    CONSTRAINT tenant_name_length CHECK (char_length(name) BETWEEN 1 AND 100)
);
COMMENT ON TABLE tenant IS 'One customer. On Citus a reference table. The nil id is the fleet: its keys are the operators''.';
COMMENT ON COLUMN tenant.suspended_at IS 'While set, its keys answer 403.';
COMMENT ON COLUMN tenant.changed_at IS 'Instances poll for recent changes and drop what they remember of it.';
ALTER TABLE tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_own ON tenant USING (id = bw_tenant()) WITH CHECK (id = bw_tenant());
CREATE POLICY tenant_fleet ON tenant TO bw_operator USING (true) WITH CHECK (true);
CREATE POLICY tenant_ledger ON tenant FOR SELECT TO bw_ledger USING (true);
GRANT SELECT ON tenant TO bw_app, bw_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant TO bw_operator;

INSERT INTO tenant (id, name) VALUES ('00000000-0000-0000-0000-000000000000', 'fleet');

CREATE TABLE api_key (
    tenant_id      uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    id             text NOT NULL,
    hash           bytea NOT NULL,
    name           text NOT NULL DEFAULT '',
    scopes         text[] NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by     text NOT NULL,
    expires_at     timestamptz,
    last_used_at   timestamptz,
    revoked_at     timestamptz,
    revoked_reason text,
    replaces       text,
    changed_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT api_key_id_unique UNIQUE (id),
    CONSTRAINT api_key_id_form CHECK (id ~ '^[0-9a-f]{16}$'),
    CONSTRAINT api_key_hash_length CHECK (octet_length(hash) = 32),
    CONSTRAINT api_key_scopes_known
        CHECK (scopes <@ ARRAY['record', 'sandbox', 'read', 'admin', 'operator'] AND cardinality(scopes) > 0),
    CONSTRAINT api_key_operator_is_fleet CHECK (
        (tenant_id = '00000000-0000-0000-0000-000000000000') = ('operator' = ANY (scopes)))
);
COMMENT ON TABLE api_key IS 'Hashes only: the key itself is shown once, when it is made. On Citus a reference table.';
COMMENT ON COLUMN api_key.id IS 'The 16 hexadecimal digits after e2b_: a handle, not a secret.';
COMMENT ON COLUMN api_key.hash IS 'SHA-256 of the whole key (160 random bits need no slow hash).';
COMMENT ON COLUMN api_key.replaces IS 'The key that this one took over from; both work until that one expires.';
CREATE INDEX api_key_changed ON api_key (changed_at);
ALTER TABLE api_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_key FORCE ROW LEVEL SECURITY;
CREATE POLICY api_key_own ON api_key USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant());
CREATE POLICY api_key_fleet ON api_key TO bw_operator USING (true) WITH CHECK (true);
CREATE POLICY api_key_ledger ON api_key TO bw_ledger USING (true);
GRANT SELECT, INSERT, UPDATE ON api_key TO bw_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON api_key TO bw_operator;
GRANT SELECT, UPDATE ON api_key TO bw_ledger;

CREATE TABLE audit_entry (
    tenant_id  uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    id         uuid NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor      text NOT NULL,
    action     text NOT NULL,
    target     text NOT NULL,
    reason     text,
    detail     jsonb NOT NULL DEFAULT '{}',
    request_id text,
    PRIMARY KEY (tenant_id, id)
);
COMMENT ON TABLE audit_entry IS 'Every act of an administrator, written in the transaction of the act. Rows are only added.';
COMMENT ON COLUMN audit_entry.actor IS 'key:ID or system; never a secret.';
ALTER TABLE audit_entry ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_entry FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_entry_own ON audit_entry USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant());
CREATE POLICY audit_entry_fleet ON audit_entry TO bw_operator USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON audit_entry TO bw_app, bw_operator;

CREATE TABLE idempotency (
    tenant_id    uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    key_hash     bytea NOT NULL,
    request_hash bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL,
    status       int,
    body         text,
    PRIMARY KEY (tenant_id, key_hash),
    CONSTRAINT idempotency_hash_lengths CHECK (octet_length(key_hash) = 32 AND octet_length(request_hash) = 32)
);
COMMENT ON TABLE idempotency IS 'Replies to calls that carried an Idempotency-Key, kept 24 h. Only such calls touch it.';
COMMENT ON COLUMN idempotency.key_hash IS 'SHA-256 of method, route and key.';
COMMENT ON COLUMN idempotency.body IS 'The reply without its secrets: a key is shown once, not once more.';
CREATE INDEX idempotency_expires ON idempotency (expires_at);
ALTER TABLE idempotency ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency FORCE ROW LEVEL SECURITY;
CREATE POLICY idempotency_own ON idempotency USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant());
CREATE POLICY idempotency_fleet ON idempotency TO bw_operator USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency TO bw_app, bw_operator;

-- Looks keys up by their ids, for every tenant at once: whose key it is, is what we want to know.
CREATE FUNCTION bw_find_keys(ids text[])
RETURNS TABLE (id text, tenant_id uuid, hash bytea, scopes text[], expires_at timestamptz,
               revoked boolean, suspended boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    SELECT k.id, k.tenant_id, k.hash, k.scopes, k.expires_at,
           k.revoked_at IS NOT NULL, t.suspended_at IS NOT NULL
    FROM   public.api_key AS k JOIN public.tenant AS t ON t.id = k.tenant_id
    WHERE  k.id = ANY (ids);
END;
GRANT EXECUTE ON FUNCTION bw_find_keys TO bw_app;
ALTER FUNCTION bw_find_keys OWNER TO bw_ledger;

-- Keys whose answer may have changed lately: their own row or their tenant's. The span must be
-- longer than any transaction that changes them, since rows show up in order of commit.
CREATE FUNCTION bw_changed_keys(span interval)
RETURNS TABLE (id text, changed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    SELECT k.id, k.changed_at FROM public.api_key AS k
    WHERE  k.changed_at > clock_timestamp() - span
    UNION ALL
    SELECT k.id, t.changed_at FROM public.tenant AS t JOIN public.api_key AS k ON k.tenant_id = t.id
    WHERE  t.changed_at > clock_timestamp() - span;
END;
GRANT EXECUTE ON FUNCTION bw_changed_keys TO bw_app;
ALTER FUNCTION bw_changed_keys OWNER TO bw_ledger;

-- Notes when keys were last used; called at most once a minute by each instance.
CREATE FUNCTION bw_touch_keys(ids text[])
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    UPDATE public.api_key AS k SET last_used_at = clock_timestamp()
    WHERE  k.id = ANY (ids);
END;
GRANT EXECUTE ON FUNCTION bw_touch_keys TO bw_app;
ALTER FUNCTION bw_touch_keys OWNER TO bw_ledger;

RESET ROLE;
