import ControlPlane
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

func patch(_ json: String) throws -> AlertRule.Patch {
    struct Read: JSONReadable {
        let patch: AlertRule.Patch
        init(from reader: inout JSONReader) throws(JSONError) {
            var patch = AlertRule.Patch()
            try reader.readObject { key, reader throws(JSONError) in
                if try !patch.read(key, &reader) { throw reader.unknownField(key) }
            }
            self.patch = patch
        }
    }
    return try JSONReader.decode(Read.self, from: Array(json.utf8)).patch
}

/// Trouble that breaks a rule by as little as it can, and what is just not enough.
struct Trouble: Sendable, CustomTestStringConvertible {
    let rule: String
    var isOfFleet = false
    /// What the rule asks to last before it fires, in seconds.
    var wait = 0
    let enough: String
    let tooLittle: String
    let over: String

    var testDescription: String { (isOfFleet ? "fleet: " : "") + rule }

    static func breaker(_ owner: String, _ seconds: Double, _ state: String = "OPEN") -> String {
        """
        DELETE FROM breaker WHERE tenant_id = \(owner);
        INSERT INTO breaker (tenant_id, id, version, generation, state, machine)
        SELECT \(owner), 'e2b:us:create', 1, 1, '\(state)', jsonb_build_object(
            'generation', 1, 'state', '\(state)', 'openedAt', at, 'unclosedSince', at, 'seenAt', at)
        FROM   (SELECT (extract(epoch FROM {N}) * 1000000)::int8 - (\(seconds) * 1000000)::int8 AS at) AS t;
        """
    }

    static func requests(failed: Int, fulfilled: Int) -> String {
        """
        DELETE FROM sandbox_request;
        INSERT INTO sandbox_request (tenant_id, id, state, via, template, region, life_ms, deadline_at,
                                     created_at, ended_at, sandbox_id)
        SELECT {T}, gen_random_uuid(), CASE WHEN n > \(failed) THEN 'fulfilled'
                   ELSE (ARRAY['failed', 'dead', 'expired'])[n % 3 + 1] END,
               'api', 'base', 'us', 1000, {N}, {N}, {N} - interval '59 minutes',
               CASE WHEN n > \(failed) THEN gen_random_uuid() END
        FROM   generate_series(1, \(failed + fulfilled)) AS n;
        """
    }

    static func usage(_ units: Int) -> String {
        """
        DELETE FROM policy WHERE tenant_id = {T};
        INSERT INTO policy (tenant_id, operation, limits, hot_window_s, long_window_s, updated_by)
        VALUES ({T}, 'create', '[{"limit": 100, "windowS": 3600, "mode": "enforce"}]', 3600, 0, 'system');
        INSERT INTO operation (tenant_id, op, name) VALUES ({T}, 1, 'create') ON CONFLICT DO NOTHING;
        SELECT bw_make_partitions('usage_log', {N}, 0);
        DELETE FROM usage_log WHERE tenant_id = {T};
        INSERT INTO usage_log (tenant_id, op, at, units, cum) VALUES ({T}, 1, {N}, \(units), \(units));
        """
    }

    static func openings(_ count: Int) -> String {
        """
        DELETE FROM breaker_event;
        INSERT INTO breaker_event (tenant_id, breaker, generation, at, from_state, to_state, cause, failures, instance)
        SELECT {T}, 'e2b:us:create', n, {N} - n * interval '1 minute',
               CASE WHEN n > \(count) THEN 'HALF_OPEN' ELSE 'CLOSED' END, 'OPEN', 'failures', 5, 'a'
        FROM   generate_series(1, 5) AS n;
        """
    }

    static func override(_ seconds: Int) -> String {
        """
        DELETE FROM breaker; DELETE FROM breaker_event;
        INSERT INTO breaker (tenant_id, id, version, generation, state, machine)
        VALUES ({T}, 'e2b:us:create', 1, 1, 'DISABLED', '{"state": "CLOSED", "override": "DISABLED"}');
        INSERT INTO breaker_event (tenant_id, breaker, generation, at, from_state, to_state, cause, failures, instance)
        VALUES ({T}, 'e2b:us:create', 1, {N} - interval '\(seconds) seconds', 'CLOSED', 'DISABLED', 'disable', 0, 'a');
        """
    }

    static func deadLetter(_ minutes: Int) -> String {
        """
        DELETE FROM alert_channel;
        INSERT INTO alert_channel (tenant_id, id, name, kind, host, target, min_severity, rules, all_tenants,
                                   enabled, updated_by)
        VALUES ({T}, '00000000-0000-4000-8000-000000000001', 'a', 'slack', 'a', '', 'critical', '{none}', false, true, 'system');
        INSERT INTO alert_notification (tenant_id, channel_id, number, event, body, created_at, not_before, dead_at)
        SELECT {T}, id, 0, 'alert.firing', '{}', {N}, {N}, {N} - interval '\(minutes) minutes'
        FROM   alert_channel;
        """
    }

    static func tenants(_ count: Int, open: Int) -> String {
        """
        DELETE FROM breaker; DELETE FROM tenant WHERE name LIKE 'other %';
        INSERT INTO tenant (id, name) SELECT gen_random_uuid(), 'other ' || n FROM generate_series(2, \(count)) AS n;
        INSERT INTO breaker (tenant_id, id, version, generation, state, machine)
        SELECT id, 'e2b:us:create', 1, 1, 'OPEN', jsonb_build_object(
            'state', 'OPEN', 'openedAt', (extract(epoch FROM {N}) * 1000000)::int8)
        FROM   tenant WHERE name LIKE 'other %' ORDER BY id LIMIT \(open);
        """
    }

    static func job(_ seconds: Int) -> String {
        """
        DELETE FROM job;
        INSERT INTO job (name, next_run_at) VALUES ('cleanup', {N} - interval '\(seconds) seconds');
        """
    }

    static func deadTask(_ minutes: Int) -> String {
        """
        DELETE FROM task;
        INSERT INTO task (tenant_id, id, kind, payload, dead_at)
        VALUES ({T}, gen_random_uuid(), 'sandbox.kill', '{}', {N} - interval '\(minutes) minutes');
        """
    }

    static func heldBack(_ count: Int) -> String {
        """
        DELETE FROM job;
        INSERT INTO job (name, next_run_at, detail)
        VALUES ('sandboxes.reconcile', {N}, jsonb_build_object('overBudget', \(count)));
        """
    }

    static func sandboxes(_ count: Int, orphans: Int, zombies: Int) -> String {
        """
        DELETE FROM sandbox; DELETE FROM sandbox_event;
        INSERT INTO sandbox (tenant_id, id, request_id, attempt, state, region, template, created_at, health)
        SELECT {T}, gen_random_uuid(), gen_random_uuid(), 1, 'creating', 'us', 'base', {N} - interval '1 hour',
               CASE WHEN n <= \(zombies) THEN 'zombie' ELSE 'healthy' END
        FROM   generate_series(1, \(count)) AS n;
        INSERT INTO sandbox_event (tenant_id, sandbox_id, version, at, to_state, actor)
        SELECT {T}, gen_random_uuid(), 1, {N} - interval '1 hour', 'orphan', 'a'
        FROM   generate_series(1, \(orphans)) AS n;
        """
    }

    static let all: [Trouble] = [
        Trouble(
            rule: "breaker-open", enough: breaker("{T}", 300.5), tooLittle: breaker("{T}", 299.5),
            over: breaker("{T}", 301, "CLOSED")),
        Trouble(
            rule: "creation-failures", enough: requests(failed: 11, fulfilled: 500),
            tooLittle: requests(failed: 10, fulfilled: 500), over: "DELETE FROM sandbox_request"),
        Trouble(
            rule: "quota-warning", enough: usage(80), tooLittle: usage(79), over: usage(79)),
        Trouble(
            rule: "quota-critical", enough: usage(91), tooLittle: usage(90), over: usage(90)),
        Trouble(
            rule: "critical-failures", enough: requests(failed: 6, fulfilled: 94),
            tooLittle: requests(failed: 5, fulfilled: 95), over: requests(failed: 5, fulfilled: 95)),
        Trouble(
            rule: "breaker-reopened", enough: openings(3), tooLittle: openings(2), over: openings(2)),
        Trouble(
            rule: "breaker-override", enough: override(86_401), tooLittle: override(86_399),
            over: "DELETE FROM breaker"),
        Trouble(
            rule: "notifications-dead", enough: deadLetter(59), tooLittle: deadLetter(61),
            over: deadLetter(61)),
        Trouble(
            rule: "breaker-open", isOfFleet: true, enough: breaker("{F}", 60.5),
            tooLittle: breaker("{F}", 59.5), over: breaker("{F}", 61, "HALF_OPEN")),
        Trouble(
            rule: "tenants-open", isOfFleet: true, wait: 300, enough: tenants(20, open: 2),
            tooLittle: tenants(20, open: 1), over: tenants(19, open: 0)),
        Trouble(
            rule: "job-late", isOfFleet: true, enough: job(301), tooLittle: job(299), over: job(0)),
        Trouble(
            rule: "tasks-dead", isOfFleet: true, enough: deadTask(59), tooLittle: deadTask(61),
            over: deadTask(61)),
        Trouble(
            rule: "kills-held-back", isOfFleet: true, enough: heldBack(1), tooLittle: heldBack(0),
            over: heldBack(0)),
        Trouble(
            rule: "orphans", isOfFleet: true, enough: sandboxes(200, orphans: 2, zombies: 0),
            tooLittle: sandboxes(200, orphans: 1, zombies: 0),
            over: sandboxes(200, orphans: 1, zombies: 0)),
        Trouble(
            rule: "zombies", isOfFleet: true, enough: sandboxes(100, orphans: 0, zombies: 2),
            tooLittle: sandboxes(100, orphans: 0, zombies: 1),
            over: sandboxes(100, orphans: 0, zombies: 1)),
    ]
}

@Suite(.proves("F2", "F3", "H6")) struct `An alert rule of the service` {
    @Test(arguments: Trouble.all)
    func `fires once, is told again by its interval, and is resolved`(trouble: Trouble) async throws {
        try await AlertBench.with { bench in
            let owner = trouble.isOfFleet ? Tenant.ID.fleet : bench.tenant
            func now() async throws -> Alert? {
                try await bench.evaluate()
                return try await bench.alerts(trouble.rule, of: owner).first
            }
            try bench.sql(trouble.tooLittle)
            #expect(try await now() == nil)
            try bench.sql(trouble.enough)
            var alert = try #require(try await now())
            if trouble.wait > 0 {
                #expect(alert.state == .pending && alert.notifications == 0)
                bench.clock.move(by: .seconds(trouble.wait))
                try bench.sql(trouble.enough)
                alert = try #require(try await now())
            }
            #expect(alert.state == .firing && alert.notifications == 1 && alert.tenant == owner)
            for _ in 0..<3 { #expect(try await now()?.notifications == 1) }
            bench.clock.move(by: .seconds(14_399))
            try bench.sql(trouble.enough)
            #expect(try await now()?.notifications == 1)
            bench.clock.move(by: .seconds(1))
            try bench.sql(trouble.enough)
            #expect(try await now()?.notifications == 2)
            try bench.sql(trouble.over)
            let resolved = try #require(try await now())
            #expect(resolved.state == .resolved && resolved.notifications == 3)
            #expect(resolved.id == alert.id && resolved.resolvedAt != nil)
            // New trouble is a new alert.
            try bench.sql(trouble.enough)
            _ = try await now()
            bench.clock.move(by: .seconds(trouble.wait))
            try bench.sql(trouble.enough)
            let next = try #require(try await now())
            #expect(next.state == .firing && next.notifications == 1 && next.id != alert.id)
            #expect(next.fingerprint == alert.fingerprint)
        }
    }

    @Test func `stands for each of them`() {
        let known = [Tenant.ID.fleet, Tenant.ID(.v7())].flatMap { tenant in
            AlertRule.defaults(of: tenant).keys.map { "\(tenant == .fleet) \($0)" }
        }
        let tried = Set(Trouble.all.map { "\($0.isOfFleet) \($0.rule)" })
        // Those that fleet and tenants share are tried with a tenant.
        let shared = ["breaker-reopened", "breaker-override", "notifications-dead"]
        #expect(
            Set(known).subtracting(shared.map { "true \($0)" }) == tried)
    }

    @Test func `counts callers who call the provider themselves by permits, not tries`() async throws {
        try await AlertBench.with { bench in
            let tries = """
                DELETE FROM attempt;
                INSERT INTO attempt (tenant_id, id, number, at, ended_at, operation, breaker, outcome, kind, duration_ms, stop)
                SELECT {T}, p.id, n, {N}, {N}, 'create', 'e2b:us:create', 'failed', 'timeout', 1,
                       CASE WHEN n = 3 THEN 'attempts' END
                FROM   (SELECT gen_random_uuid() AS id FROM generate_series(1, COUNT)) AS p, generate_series(1, 3) AS n;
                """
            try bench.sql(tries.replacing("COUNT", with: "10"))
            try await bench.evaluate()
            #expect(try await bench.alerts("creation-failures").isEmpty)
            try bench.sql(tries.replacing("COUNT", with: "11"))
            try await bench.evaluate()
            #expect(try await bench.alerts("creation-failures").first?.value == 11)
        }
    }

    @Test func `looks at breakers as they are`() async throws {
        try await AlertBench.with { bench in
            let key = BreakerKey(bench.tenant, provider: "e2b", region: "us", .create)
            _ = try await bench.plane.breakers.act(
                key, .lay(.forcedOpen, until: nil), by: .system, reason: "test")
            bench.clock.set(.now + .seconds(295))
            try await bench.evaluate()
            #expect(try await bench.alerts("breaker-open").isEmpty)
            bench.clock.move(by: .seconds(10))
            try await bench.evaluate()
            let alert = try #require(try await bench.alerts("breaker-open").first)
            #expect(alert.labels == ["breaker": "e2b:us:create"] && alert.state == .firing)
            _ = try await bench.plane.breakers.act(key, .reset, by: .system, reason: nil)
            _ = try await bench.plane.breakers.act(key, .enable, by: .system, reason: nil)
            try await bench.evaluate()
            #expect(try await bench.alerts("breaker-open").first?.state == .resolved)
        }
    }
}

@Suite(.proves("F2")) struct `The refined form of a rule` {
    /// OPEN, then HALF_OPEN for a moment each minute, since a time.
    private static func flapping(_ since: Timestamp, at now: Timestamp) -> String {
        let minute = (now.microseconds - since.microseconds) / 60_000_000
        let opened = since.microseconds + minute * 60_000_000
        return """
            DELETE FROM breaker;
            INSERT INTO breaker (tenant_id, id, version, generation, state, machine)
            VALUES ({T}, 'e2b:us:create', 1, 1, 'OPEN', '{"state": "OPEN", "openedAt": \(opened),
                    "unclosedSince": \(since.microseconds)}');
            """
    }

    @Test func `fires on a breaker that flaps, which the literal one never does`() async throws {
        try await AlertBench.with { bench in
            let since = bench.clock.now
            try await bench.put("breaker-not-closed", #"{"kind":"breaker_not_closed","threshold":300}"#)
            for _ in 0..<21 {
                bench.clock.move(by: .seconds(15))
                try bench.sql(Self.flapping(since, at: bench.clock.now))
                try await bench.evaluate()
            }
            #expect(try await bench.alerts("breaker-open").isEmpty)
            #expect(try await bench.alerts("breaker-not-closed").first?.state == .firing)
        }
    }

    @Test func `waits for a volume`() async throws {
        try await AlertBench.with { bench in
            try await bench.put("critical-failures", #"{"minVolume":20}"#)
            try bench.sql(Trouble.requests(failed: 10, fulfilled: 9))
            try await bench.evaluate()
            #expect(try await bench.alerts("critical-failures").isEmpty)
            try bench.sql(Trouble.requests(failed: 10, fulfilled: 10))
            try await bench.evaluate()
            #expect(try await bench.alerts("critical-failures").count == 1)
        }
    }

    @Test func `holds on between its two thresholds, and for a while after`() async throws {
        try await AlertBench.with { bench in
            try await bench.put("quota-critical", #"{"clearAt":85,"keepFiringS":120}"#)
            func state(_ units: Int) async throws -> Alert.State? {
                try bench.sql(Trouble.usage(units))
                try await bench.evaluate()
                return try await bench.alerts("quota-critical").first?.state
            }
            #expect(try await state(88) == nil)
            #expect(try await state(91) == .firing)
            for units in [86, 92, 87, 90] { #expect(try await state(units) == .firing) }
            #expect(try await state(85) == .firing)
            bench.clock.move(by: .seconds(119))
            #expect(try await state(85) == .firing)
            // Back within that time: it begins anew.
            #expect(try await state(86) == .firing)
            bench.clock.move(by: .seconds(10))
            #expect(try await state(85) == .firing)
            bench.clock.move(by: .seconds(119))
            #expect(try await state(85) == .firing)
            bench.clock.move(by: .seconds(1))
            #expect(try await state(85) == .resolved)
            #expect(try await bench.alerts("quota-critical").count == 1)
        }
    }

    @Test func `drops what was pending without a word`() async throws {
        try await AlertBench.with { bench in
            try await bench.put("quota-critical", #"{"forS":60}"#)
            try bench.sql(Trouble.usage(95))
            try await bench.evaluate()
            #expect(try await bench.alerts("quota-critical").first?.state == .pending)
            try bench.sql(Trouble.usage(10))
            try await bench.evaluate()
            #expect(try await bench.alerts("quota-critical").isEmpty)
        }
    }

    @Test func `ends with its rule`() async throws {
        try await AlertBench.with { bench in
            try await bench.put("mine", #"{"kind":"quota_used","threshold":50,"keepFiringS":600}"#)
            try bench.sql(Trouble.usage(60))
            try await bench.evaluate()
            #expect(try await bench.alerts("mine").first?.state == .firing)
            try await bench.put("mine", #"{"kind":"quota_used","threshold":50,"enabled":false}"#)
            try await bench.evaluate()
            #expect(try await bench.alerts("mine").first?.state == .resolved)
        }
    }
}
