-- The end of a tenant: why it is suspended, since when it is being deleted, who may remove its rows.
SET LOCAL ROLE bw_owner;

ALTER TABLE tenant
    ADD COLUMN suspended_reason text,
    ADD COLUMN deleted_at timestamptz,
    ADD COLUMN swept_at timestamptz,
    ADD CONSTRAINT tenant_suspended_first CHECK (deleted_at IS NULL OR suspended_at IS NOT NULL),
    ADD CONSTRAINT tenant_fleet_serves
        CHECK (suspended_at IS NULL OR id <> '00000000-0000-0000-0000-000000000000');
COMMENT ON COLUMN tenant.deleted_at IS 'Set by an operator, never taken back: a job removes its rows, this one last.';
COMMENT ON COLUMN tenant.swept_at IS 'When all its other rows were last removed: what was under way then may have added more.';

ALTER TABLE audit_entry ADD COLUMN address inet;
COMMENT ON COLUMN audit_entry.address IS 'The client''s, behind trusted proxies; NULL: the service itself, or a Unix socket.';

-- An operator may remove a tenant's rows, of its audit and its logs too, once it is being deleted; what
-- was removed before by its age (refunds, roll-ups, ended tasks, old replies) goes on as it did.
CREATE POLICY usage_log_removal ON usage_log FOR DELETE TO bw_operator USING (true);
CREATE POLICY usage_log_long_removal ON usage_log_long FOR DELETE TO bw_operator USING (true);
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['audit_entry', 'usage_log', 'usage_log_long', 'request_record', 'event'] LOOP
        EXECUTE format('GRANT DELETE ON %I TO bw_operator', name);
        EXECUTE format('CREATE POLICY %I ON %I AS RESTRICTIVE FOR DELETE TO bw_operator
                        USING (tenant_id IN (SELECT id FROM tenant WHERE deleted_at IS NOT NULL))',
                       name || '_kept', name);
    END LOOP;
END $$;

RESET ROLE;
