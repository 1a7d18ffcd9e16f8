import ControlPlane
import JSON
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite(.proves("F3")) struct `What is not told` {
    @Test func `is the warning while the critical one fires`() async throws {
        try await AlertBench.with { bench in
            try bench.sql(Trouble.usage(95))
            try await bench.evaluate()
            let warning = try #require(try await bench.alerts("quota-warning").first)
            #expect(warning.state == .firing && warning.isInhibited && warning.notifications == 0)
            #expect(try await bench.alerts("quota-critical").first?.notifications == 1)
            // What is left when it is over is told.
            try bench.sql(Trouble.usage(85))
            try await bench.evaluate()
            #expect(try await bench.alerts("quota-critical").first?.state == .resolved)
            let left = try #require(try await bench.alerts("quota-warning").first)
            #expect(!left.isInhibited && left.notifications == 1)
        }
    }

    @Test func `is what a silence covers, until it ends`() async throws {
        try await AlertBench.with { bench in
            let alerts = Alerts(bench.plane.reads)
            let silence = try await alerts.silence(
                .init(
                    rule: "quota-critical", labels: ["operation": "create"],
                    endsAt: bench.clock.now + .seconds(600), reason: "known"),
                of: bench.tenant, by: .system
            ).value
            _ = try await alerts.silence(
                .init(
                    rule: nil, labels: ["operation": "other"],
                    endsAt: bench.clock.now + .seconds(600), reason: "another's"),
                of: bench.tenant, by: .system)
            bench.clock.move(by: .seconds(1))
            try bench.sql(Trouble.usage(95))
            try await bench.evaluate()
            let silent = try #require(try await bench.alerts("quota-critical").first)
            #expect(silent.state == .firing && silent.isSilenced && silent.notifications == 0)
            bench.clock.set(silence.endsAt)
            try await bench.evaluate()
            #expect(try await bench.alerts("quota-critical").first?.notifications == 1)
        }
    }

    @Test func `is told no more once acknowledged, but that it is over`() async throws {
        try await AlertBench.with { bench in
            try bench.sql(Trouble.usage(95))
            try await bench.evaluate()
            let alert = try #require(try await bench.alerts("quota-critical").first)
            let known = try await Alerts(bench.plane.reads).acknowledge(
                alert.id, of: bench.tenant, reason: "on it", by: Actor("key:1"))
            #expect(known.acknowledgedBy == "key:1")
            bench.clock.move(by: .seconds(20_000))
            try bench.sql(Trouble.usage(95))
            try await bench.evaluate()
            #expect(try await bench.alerts("quota-critical").first?.notifications == 1)
            try bench.sql(Trouble.usage(5))
            try await bench.evaluate()
            let over = try #require(try await bench.alerts("quota-critical").first)
            #expect(over.state == .resolved && over.notifications == 2)
            #expect(over.acknowledgedReason == "on it")
        }
    }

    @Test func `is what a tenant has too much of`() async throws {
        var settings = AlertJob.Settings()
        settings.maxPerTenant = 1
        try await AlertBench.with(settings: settings) { bench in
            try bench.sql(Trouble.usage(95))
            let detail = try await bench.evaluate()
            #expect(detail.contains(#""skipped": 1"#), "\(detail)")
            #expect(try bench.rows("SELECT count(*) FROM alert WHERE tenant_id = {T}") == 1)
        }
    }

    @Test func `is decided once by two instances at the same time`() async throws {
        try await AlertBench.with { bench in
            try bench.sql(Trouble.usage(95))
            try await Plane.with(url: bench.plane.url) { other in
                let second = AlertJob(now: { [clock = bench.clock] in clock.now })
                async let one = bench.evaluate()
                async let two = second.run(other.reads)
                _ = try await (one, two)
            }
            let alerts = try await bench.alerts("quota-critical")
            #expect(alerts.count == 1 && alerts.first?.notifications == 1)
        }
    }

    @Test func `is a suspended tenant's trouble`() async throws {
        try await AlertBench.with { bench in
            try bench.sql(Trouble.breaker("{T}", 1000))
            try bench.sql(Trouble.requests(failed: 100, fulfilled: 0))
            try bench.sql("UPDATE tenant SET suspended_at = now() WHERE id = {T}")
            try await bench.evaluate()
            #expect(try bench.rows("SELECT count(*) FROM alert WHERE tenant_id = {T}") == 0)
        }
    }
}
