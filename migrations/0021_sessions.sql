-- Sessions: a key traded for a cookie, so that a browser need not keep the key. And indexes for what the
-- dashboard shows of the last hour.
SET LOCAL ROLE bw_owner;

CREATE TABLE session (
    tenant_id  uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    hash       bytea NOT NULL,
    key_id     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz,
    PRIMARY KEY (tenant_id, hash),
    CONSTRAINT session_hash_length CHECK (octet_length(hash) = 32)
);
COMMENT ON TABLE session IS 'Who signed in with a key. It counts while its key does: a revoked key has none.';
COMMENT ON COLUMN session.hash IS 'SHA-256 of the token in the cookie (256 random bits need no slow hash).';
COMMENT ON COLUMN session.seen_at IS 'When it was last looked up, about once a minute while it is used.';
COMMENT ON COLUMN session.expires_at IS 'Its end, however much it is used.';
COMMENT ON COLUMN session.ended_at IS 'Signed out, or the key had too many. Instances poll for it.';
CREATE INDEX session_key ON session (tenant_id, key_id, created_at) WHERE ended_at IS NULL;
CREATE INDEX session_ended_at ON session (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX session_expires_at ON session (expires_at);
ALTER TABLE session ENABLE ROW LEVEL SECURITY;
ALTER TABLE session FORCE ROW LEVEL SECURITY;
CREATE POLICY session_own ON session USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant());
CREATE POLICY session_fleet ON session TO bw_operator USING (true) WITH CHECK (true);
CREATE POLICY session_ledger ON session TO bw_ledger USING (true);
GRANT SELECT, INSERT, UPDATE ON session TO bw_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON session TO bw_operator;
GRANT SELECT, UPDATE ON session TO bw_ledger;

-- Of some sessions, for any tenants, those that are not over, and notes that they are in use. Hashes in
-- hexadecimal; none twice.
CREATE FUNCTION bw_find_sessions(t uuid[], hashes text[], idle interval)
RETURNS TABLE (tenant_id uuid, hash text, created_at timestamptz, expires_at timestamptz)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    WITH live AS (
        SELECT s.tenant_id, s.hash FROM public.session AS s
        JOIN   unnest(t, hashes) AS i (t, hash) ON s.tenant_id = i.t AND s.hash = decode(i.hash, 'hex')
        WHERE  s.ended_at IS NULL AND s.expires_at > clock_timestamp()
        AND    s.seen_at > clock_timestamp() - idle
        ORDER  BY 1, 2 FOR NO KEY UPDATE OF s)  -- in key order: two batches cannot deadlock
    UPDATE public.session AS s SET seen_at = clock_timestamp()
    FROM   live WHERE (s.tenant_id, s.hash) = (live.tenant_id, live.hash)
    RETURNING s.tenant_id, encode(s.hash, 'hex'), s.created_at, s.expires_at;
END;
GRANT EXECUTE ON FUNCTION bw_find_sessions TO bw_app;
ALTER FUNCTION bw_find_sessions OWNER TO bw_ledger;

-- Sessions that were ended lately. The span must be longer than a transaction that ends them.
CREATE FUNCTION bw_ended_sessions(span interval)
RETURNS TABLE (hash text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    SELECT encode(s.hash, 'hex') FROM public.session AS s WHERE s.ended_at > clock_timestamp() - span;
END;
GRANT EXECUTE ON FUNCTION bw_ended_sessions TO bw_app;
ALTER FUNCTION bw_ended_sessions OWNER TO bw_ledger;

-- What ended in the last hour, of one tenant; of all there are indexes already.
CREATE INDEX sandbox_request_tenant_ended ON sandbox_request (tenant_id, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sandbox_tenant_ended ON sandbox (tenant_id, ended_at) WHERE ended_at IS NOT NULL;
-- Tries arrive about in order of time.
CREATE INDEX attempt_at ON attempt USING brin (at) WITH (pages_per_range = 32, autosummarize = on);

RESET ROLE;
