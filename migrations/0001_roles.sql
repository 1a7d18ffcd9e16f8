-- Roles. The service serves as bw_app, which owns nothing; each other role opens one thing more.
--
--   bw_owner     owns every table; migrates. Bypasses row-level security where the server lets us
--                grant that, since FORCE blinds even the owner (a back-fill would update 0 rows).
--   bw_app       serves: its rows are those of the tenant in app.tenant_id, none without one.
--   bw_ledger    owns the batch functions, the only code that may span tenants: it takes tenant
--                ids as data and has explicit policies on the tables that those functions use.
--   bw_operator  what an operator may see of the whole fleet; entered by SET LOCAL ROLE.
--
-- Roles belong to the cluster, so they may exist already: another database of ours made them.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['bw_owner', 'bw_app', 'bw_ledger', 'bw_operator'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        ALTER ROLE bw_owner BYPASSRLS;
    END IF;
END $$;

-- The login that migrates must be able to become the owner, and to hand functions to bw_ledger.
GRANT bw_ledger TO bw_owner;
GRANT bw_operator TO bw_app;
DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT bw_owner, bw_app TO %I', current_user);
    END IF;
END $$;

GRANT USAGE, CREATE ON SCHEMA public TO bw_owner, bw_ledger;
GRANT USAGE ON SCHEMA public TO bw_app, bw_operator;

-- Functions are called by whom they are granted to, not by everybody.
ALTER DEFAULT PRIVILEGES FOR ROLE bw_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE bw_ledger REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
