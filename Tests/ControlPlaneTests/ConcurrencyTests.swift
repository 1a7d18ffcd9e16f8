import ControlPlane
import IO
import Postgres
import ServiceSupport
import TestSupport
import Testing

/// What the log says afterwards, computed from its rows alone.
private struct Audit {
    /// The most units in any window that ends at a row.
    let largest: Int64
    /// Rows whose running total does not follow from the one before.
    let gaps: Int64
    let units: Int64

    static func of(_ url: String, window: Duration) throws -> Audit {
        let row = try Session(Conninfo(url: url)).execute(
            """
            WITH log AS (
                SELECT units, cum, sum(units) OVER w AS in_window,
                       lag(cum) OVER (PARTITION BY tenant_id, op ORDER BY at) AS before
                FROM   usage_log
                -- half-open: a record counts while it is younger than the window
                WINDOW w AS (PARTITION BY tenant_id, op ORDER BY at
                             RANGE BETWEEN \(window.milliseconds * 1000 - 1) * interval '1 microsecond' PRECEDING
                             AND CURRENT ROW))
            SELECT coalesce(max(in_window), 0)::bigint, count(*) FILTER (WHERE cum - units <> coalesce(before, 0)),
                   coalesce(sum(units), 0)::bigint
            FROM   log
            """
        ).only()
        return Audit(
            largest: try row.int64(0), gaps: try row.int64(1), units: try row.int64(2))
    }
}

private struct Load: Sendable {
    var admitted: Int64 = 0
    var denied = 0
    var failed: [String] = []
}

@Suite(.serialized) struct `Two instances on one database` {
    private static var settings: Ledger.Settings {
        var settings = Ledger.Settings()
        settings.denialMemory = .zero
        return settings
    }
    private static let limit: Int64 = 200

    /// Both instances ask as fast as they can for a while; costs 1 to 3, a window of a second.
    private static func load(
        _ planes: [Plane], _ tenant: Tenant.ID, keys: Int, clients: Int, for duration: Duration
    ) async -> Load {
        let end = MonotonicInstant.now.advanced(by: duration)
        return await withTaskGroup(of: Load.self) { group in
            for plane in planes {
                for client in 0..<clients {
                    group.addTask(executorPreference: plane.loop) {
                        var load = Load()
                        var turn = client
                        while MonotonicInstant.now < end {
                            turn += 7
                            let cost = Int32(1 + turn % 3)
                            do {
                                let decision = try await plane.ledger.acquire(
                                    "key\(turn % keys)", cost: cost, limit: limit, window: 1,
                                    for: tenant)
                                if case .admitted = decision {
                                    load.admitted += Int64(cost)
                                } else {
                                    load.denied += 1
                                }
                            } catch {
                                load.failed.append("\(error)")
                            }
                        }
                        return load
                    }
                }
            }
            return await group.reduce(into: Load()) { sum, load in
                sum.admitted += load.admitted
                sum.denied += load.denied
                sum.failed += load.failed
            }
        }
    }

    private static func run(
        keys: Int, clients: Int = 24, maxBatchKeys: Int = 256, for duration: Duration = .seconds(3),
        alter: String? = nil
    ) async throws -> (Load, Audit) {
        // Every call must meet the others in the database.
        var settings = Self.settings
        settings.maxBatchKeys = maxBatchKeys
        return try await Plane.with(settings: settings) { [settings] first in
            if let alter { try Session(Conninfo(url: first.url)).run(alter) }
            return try await Plane.with(url: first.url, settings: settings) { second in
                let tenant = try await first.makeTenant()
                let load = await load(
                    [first, second], tenant, keys: keys, clients: clients, for: duration)
                return (load, try Audit.of(first.url, window: .seconds(1)))
            }
        }
    }

    /// One client an instance has batches of one call, which take their one lock in a way of their own;
    /// batches of more calls than a statement has keys are shared by two connections.
    @Test(.proves("E5", "H5"), arguments: [(1, 24, 256), (20, 24, 256), (1, 1, 256), (20, 24, 4)])
    func `never admit more than the limit in any window`(
        keys: Int, clients: Int, maxBatchKeys: Int
    ) async throws {
        let (load, audit) = try await Self.run(
            keys: keys, clients: clients, maxBatchKeys: maxBatchKeys)
        #expect(load.failed.isEmpty)
        #expect(load.denied > 0)
        #expect(audit.largest <= Self.limit)
        #expect(audit.largest > Self.limit - 3)
        #expect(audit.gaps == 0)
        #expect(audit.units == load.admitted)
    }

    /// The control of the test above: it must be able to fail.
    @Test(arguments: [24, 1])
    func `admit too much once the locks are gone`(clients: Int) async throws {
        // Two batches must meet between the count and the commit; on a busy machine a round may pass without.
        for _ in 0..<8 {
            let (_, audit) = try await Self.run(
                keys: 1, clients: clients,
                alter: Self.rewriteAcquire("pg_advisory_xact_lock(", "("))
            if audit.largest > Self.limit || audit.gaps > 0 { return }
        }
        Issue.record("nothing above the limit in eight rounds")
    }

    /// And of the order of the locks: unsorted, two batches wait for each other.
    @Test func `deadlock once the locks are not sorted`() async throws {
        // The server looks for deadlocks after a second; on a busy machine one round may have none.
        for _ in 0..<8 {
            let (load, _) = try await Self.run(
                keys: 100, for: .seconds(4),
                alter: Self.rewriteAcquire("ORDER BY 1) AS s", "ORDER BY random()) AS s"))
            if load.failed.contains(where: { $0.contains("serialization") }) { return }
        }
        Issue.record("no deadlock in eight rounds")
    }

    private static func rewriteAcquire(_ from: String, _ to: String) -> String {
        """
        DO $do$
        DECLARE source text := pg_get_functiondef('bw_acquire'::regproc);
        BEGIN
            IF position('\(from)' IN source) = 0 THEN RAISE 'bw_acquire has changed'; END IF;
            source := replace(source, '\(from)', '\(to)');
            -- DISTINCT and ORDER BY random() do not go together
            source := replace(source, 'SELECT DISTINCT uuid_hash', 'SELECT uuid_hash');
            EXECUTE source;
        END $do$
        """
    }
}
