-- Work that the service does by itself: scheduled jobs, and tasks that a transaction leaves behind.
SET LOCAL ROLE bw_owner;

CREATE TABLE job (
    name             text PRIMARY KEY,
    holder           text,
    epoch            bigint NOT NULL DEFAULT 0,
    lease_until      timestamptz,
    next_run_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    finished_at      timestamptz,
    duration_ms      bigint,
    outcome          text,
    detail           jsonb NOT NULL DEFAULT '{}',
    failures         int NOT NULL DEFAULT 0,
    CONSTRAINT job_outcome_known CHECK (outcome IN ('succeeded', 'failed', 'abandoned'))
);
COMMENT ON TABLE job IS 'Scheduled jobs. Each is run by the one instance that holds its lease. On Citus a reference table.';
COMMENT ON COLUMN job.epoch IS 'Rises with each claim; a holder whose epoch is old may not finish (fencing).';
GRANT SELECT, INSERT, UPDATE ON job TO bw_app, bw_operator;

CREATE TABLE task (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    kind         text NOT NULL,
    payload      jsonb NOT NULL,
    not_before   timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts     int NOT NULL DEFAULT 0,
    max_attempts int NOT NULL DEFAULT 10,
    fence        bigint NOT NULL DEFAULT 0,
    holder       text,
    lease_until  timestamptz,
    last_error   text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at      timestamptz,
    dead_at      timestamptz,
    PRIMARY KEY (tenant_id, id)
);
COMMENT ON TABLE task IS 'The outbox: work left by the transaction that decided it. At least once; fence tells a late holder.';
COMMENT ON COLUMN task.fence IS 'Rises with each claim; finishing needs the claim''s own value.';
CREATE INDEX task_due ON task (not_before) WHERE done_at IS NULL AND dead_at IS NULL;
CREATE INDEX task_ended ON task (coalesce(done_at, dead_at)) WHERE done_at IS NOT NULL OR dead_at IS NOT NULL;
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
ALTER TABLE task FORCE ROW LEVEL SECURITY;
CREATE POLICY task_own ON task USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant());
CREATE POLICY task_fleet ON task TO bw_operator USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON task TO bw_app, bw_operator;

RESET ROLE;
