-- What single requests left behind: identities, refunds; and the log for windows over 24 hours.
SET LOCAL ROLE bw_owner;

-- The span of a parent's partitions.
CREATE OR REPLACE FUNCTION bw_partition_step(parent text) RETURNS interval LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN parent = 'usage_log' THEN interval '1 hour'
                WHEN parent IN ('event', 'usage_log_long', 'request_record') THEN interval '1 day' END;
GRANT EXECUTE ON FUNCTION bw_make_partitions TO bw_ledger;

CREATE TABLE usage_log_long (
    at        timestamptz NOT NULL,
    cum       bigint NOT NULL,
    tenant_id uuid NOT NULL,
    units     int NOT NULL,
    op        smallint NOT NULL,
    CONSTRAINT usage_log_long_units_positive CHECK (units > 0)
) PARTITION BY RANGE (at);
COMMENT ON TABLE usage_log_long IS 'As usage_log, for keys whose policy has a window over 24 h, in addition to it. Partitions of a day.';
CREATE UNIQUE INDEX usage_log_long_key ON usage_log_long (tenant_id, op, at);
ALTER TABLE usage_log_long ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_log_long FORCE ROW LEVEL SECURITY;
CREATE POLICY usage_log_long_own ON usage_log_long FOR SELECT USING (tenant_id = bw_tenant());
CREATE POLICY usage_log_long_fleet ON usage_log_long FOR SELECT TO bw_operator USING (true);
CREATE POLICY usage_log_long_ledger ON usage_log_long TO bw_ledger USING (true) WITH CHECK (true);
GRANT SELECT ON usage_log_long TO bw_app, bw_operator;
GRANT SELECT, INSERT, DELETE ON usage_log_long TO bw_ledger;

CREATE TABLE request_record (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    at             timestamptz NOT NULL,
    op             smallint NOT NULL,
    units          int NOT NULL,
    labels         jsonb NOT NULL DEFAULT '{}',
    refunded_units int,
    refunded_at    timestamptz,
    PRIMARY KEY (tenant_id, id, at),
    CONSTRAINT request_record_units_positive CHECK (units > 0),
    CONSTRAINT request_record_refund_capped CHECK (refunded_units BETWEEN 1 AND units)
) PARTITION BY RANGE (at);
COMMENT ON TABLE request_record IS 'Requests that asked to be told apart: by a key, labels or "id": true. Others only count. Partitions of a day.';
ALTER TABLE request_record ENABLE ROW LEVEL SECURITY;
ALTER TABLE request_record FORCE ROW LEVEL SECURITY;
CREATE POLICY request_record_own ON request_record USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant());
CREATE POLICY request_record_fleet ON request_record TO bw_operator USING (true);
CREATE POLICY request_record_ledger ON request_record TO bw_ledger USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE ON request_record TO bw_app, bw_operator;
GRANT SELECT, INSERT ON request_record TO bw_ledger;

CREATE TABLE refund (
    tenant_id  uuid NOT NULL,
    op         smallint NOT NULL,
    at         timestamptz NOT NULL,
    request_id uuid NOT NULL,
    units      int NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, op, at, request_id),
    CONSTRAINT refund_units_positive CHECK (units > 0)
);
COMMENT ON TABLE refund IS 'Units given back. They are subtracted while the record that they belong to is in the window, no longer.';
COMMENT ON COLUMN refund.at IS 'The time of the record. A negative row appended to the log now would outlive the record and admit too much later.';
CREATE INDEX refund_at ON refund (at);
ALTER TABLE refund ENABLE ROW LEVEL SECURITY;
ALTER TABLE refund FORCE ROW LEVEL SECURITY;
CREATE POLICY refund_own ON refund USING (tenant_id = bw_tenant()) WITH CHECK (tenant_id = bw_tenant());
CREATE POLICY refund_fleet ON refund TO bw_operator USING (true);
CREATE POLICY refund_ledger ON refund FOR SELECT TO bw_ledger USING (true);
GRANT SELECT, INSERT ON refund TO bw_app;
GRANT SELECT, DELETE ON refund TO bw_operator;
GRANT SELECT ON refund TO bw_ledger;

-- Units given back of records in (after, upto]: of one operation, or of all (op 0).
CREATE FUNCTION bw_refunded(tenant uuid, op smallint, after timestamptz, upto timestamptz) RETURNS bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(sum(r.units), 0)::bigint FROM public.refund AS r
    WHERE  r.tenant_id = tenant AND (r.op = bw_refunded.op OR bw_refunded.op = 0)
    AND    r.at > after AND r.at <= upto;
END;
GRANT EXECUTE ON FUNCTION bw_refunded TO bw_ledger;

GRANT SELECT, INSERT ON idempotency TO bw_ledger;
CREATE POLICY idempotency_ledger ON idempotency TO bw_ledger USING (true) WITH CHECK (true);
GRANT DELETE ON idempotency TO bw_ledger;

SELECT bw_make_partitions('usage_log_long', NULL, 2), bw_make_partitions('request_record', NULL, 2);

RESET ROLE;
