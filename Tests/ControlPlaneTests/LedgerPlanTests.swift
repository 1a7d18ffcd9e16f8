import ControlPlane
import Postgres
import ServiceSupport
import TestSupport
import Testing

/// A plan that scans is right while a partition is empty, and ten times too slow seconds later.
@Suite struct `The ledger's plans` {
    private static let calls = [
        """
        SELECT count(*) FROM bw_acquire(array_fill($1::uuid, '{20}'), ARRAY(SELECT generate_series(1, 20))::int2[],
            array_fill(1, '{20}'), array_fill(2, '{20}'), array_fill(1::int8, '{20}'), array_fill(3600, '{20}'),
            array_fill(0::int2, '{20}'), array_fill(0::int8, '{20}'), NULL)
        """,
        "SELECT count(*) FROM bw_acquire(ARRAY[$1::uuid], '{1}', '{1}', '{1}', '{-1}', '{3600}', '{0}', '{0}', NULL)",
        "SELECT count(*) FROM bw_check(ARRAY[$1::uuid], '{1}', '{3600}', '{0}', NULL)",
        "SELECT count(*) FROM bw_stats($1::uuid, 3600, NULL)",
        """
        SELECT count(*) FROM bw_decide(ARRAY[$1::uuid], '{1}', '{1}', '{2}', '{0}', '{7}', '{1,1}', '{f,t}',
            '{3600,100000}', '{1,1}', '{t,t}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', NULL)
        """,
    ]

    /// Rows of the log when it is analyzed: none, and few enough for one page.
    @Test(.proves("E2", "E5"), arguments: [0, 20])
    func `read keys alone, though they were made while the log was next to empty`(
        rows: Int
    ) async throws {
        try await Plane.with { plane in
            let tenant = Parameter.uuid(try await plane.makeTenant().uuid)
            // In a session of its own: building an index counts as a scan.
            try Session(Conninfo(url: TestDatabase.direct(plane.url))).run(
                """
                SELECT bw_make_partitions('usage_log', NULL, 1), bw_make_partitions('usage_log_long', NULL, 1);
                INSERT INTO usage_log (tenant_id, op, at, units, cum)
                SELECT gen_random_uuid(), 1, clock_timestamp(), 1, 1 FROM generate_series(1, \(rows));
                ANALYZE usage_log; ANALYZE usage_log_long
                """)
            let session = try Session(Conninfo(url: TestDatabase.direct(plane.url)))
            try session.run("BEGIN")
            for call in Self.calls { try session.execute(call, tenant) }
            let read = try session.execute(
                """
                SELECT sum(seq_scan)::bigint, sum(idx_scan)::bigint FROM pg_stat_xact_user_tables
                WHERE  relname LIKE 'usage\\_log%'
                """
            ).only()
            #expect(try read.int64(0) == 0)
            #expect(try read.int64(1) > 40)
        }
    }
}
