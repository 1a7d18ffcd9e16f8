import ControlPlane
import IO
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The table of events` {
    private static func health(_ tenant: Tenant.ID, _ id: String, failure: String? = nil) -> Event {
        .healthChecked(
            HealthCheckEvent(
                tenant: tenant, region: "us", template: "base", sandboxID: id,
                took: .milliseconds(1), failure: failure))
    }

    private static func names(
        _ plane: Plane, _ tenant: Tenant.ID
    ) async throws -> [StoredEvent] {
        try await EventStore(plane.reads).page(
            EventFilter(tenant: tenant), from: nil, to: nil, before: nil, limit: 1000)
    }

    @Test(.proves("F1")) func `takes no secret, no zero octet and no endless text`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let key = "e2b_" + String(repeating: "0", count: 64)
            plane.buffer.note(Self.health(tenant, "a", failure: "a\0b \(key)"))
            plane.buffer.note(
                Self.health(tenant, "b", failure: String(repeating: "é", count: 5_000)))
            try await plane.allStored()
            #expect(await plane.eventWriter.counters.failed == 0)
            let events = try await Self.names(plane, tenant)
            #expect(events.count == 2)
            for event in events {
                let text = String(decoding: event.json, as: UTF8.self)
                #expect(!text.contains(key) && event.json.count < 4_500, "\(text)")
            }
        }
    }

    @Test(.proves("F1", "H5")) func `takes a batch once, however often it is sent`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let send = Statement(
                "test_events_write",
                """
                SELECT bw_events_write($1, $2, ARRAY[$3, $3, $4], ARRAY['a', 'b', 'c'],
                                       ARRAY['{"n": 1}', '{"n": 2}', '{"n": 3}'])
                """)
            func write(_ writer: UUID, _ batch: Int64) async throws -> Int32 {
                // The third is of a tenant that is not there.
                try await plane.reads.execute(
                    send, [.uuid(writer), .int8(batch), .uuid(tenant.uuid), .uuid(.v7())]
                ).only().int32(0)
            }
            let (one, two) = (UUID.v7(), UUID.v7())
            #expect(try await write(one, 1) == 2)
            #expect(try await write(one, 1) == 0)
            #expect(try await write(two, 1) == 2)
            #expect(try await write(one, 2) == 2)
            #expect(try await write(one, 1) == 0)
            let events = try await Self.names(plane, tenant)
            #expect(events.map(\.name) == ["b", "a", "b", "a", "b", "a"])
            #expect(Set(events.map(\.id)).count == 6)
            #expect(events.map(\.at) == events.map(\.at).sorted(by: >))
        }
    }

    /// With no lock to the end of the transaction a reader would miss what commits late.
    @Test(.proves("F1", "H5")) func `shows events in order, though writers commit as they like`()
        async throws
    {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let slow = Statement(
                "test_events_slow",
                """
                SELECT bw_events_write($1, $2, ARRAY[$3], ARRAY['slow'], ARRAY['{"n": 1}']),
                       pg_sleep(random() * 0.03)
                """)
            let store = EventStore(plane.reads)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for pipeline in [plane.writes, plane.reads] {
                    group.addTask {
                        let writer = UUID.v7()
                        for batch in 1...40 {
                            _ = try await pipeline.execute(
                                slow, [.uuid(writer), .int8(Int64(batch)), .uuid(tenant.uuid)])
                        }
                    }
                }
                var (place, seen) = (Timestamp(microseconds: 0), 0)
                try await eventually {
                    let page = try await store.following(
                        EventFilter(tenant: tenant), after: place, upTo: nil, limit: 100)
                    seen += page.count
                    place = page.last?.at ?? place
                    return seen == 80
                }
                try await group.waitForAll()
                let all = try await Self.names(plane, tenant)
                #expect(all.count == seen)
            }
        }
    }

    @Test(.proves("F1")) func `holds its memory down while the database is away`() async throws {
        let buffer = EventBuffer(capacity: 10)
        let tenant = Tenant.ID(.v7())
        for number in 0..<25 { buffer.note(Self.health(tenant, "\(number)")) }
        #expect(buffer.count == 10 && buffer.counters.dropped == 15)
        #expect(buffer.counters.told["sandbox_health_check_ok"] == 25)
        // What is for the log alone is counted and not kept.
        buffer.note(.serviceStopped)
        #expect(buffer.count == 10 && buffer.counters.told["service_stopped"] == 1)
        try await Plane.with { plane in
            let own = try await plane.makeTenant()
            let last = EventBuffer(capacity: 10)
            let writer = EventWriter(on: plane.loop, pipeline: plane.reads, buffer: last)
            for number in 0..<25 { last.note(Self.health(own, "\(number)")) }
            await writer.finish()
            let kept = try await Self.names(plane, own).map {
                String(decoding: $0.json, as: UTF8.self)
            }
            #expect(kept.count == 10)
            #expect(kept.first?.contains(#""24""#) == true && kept.last?.contains(#""15""#) == true)
        }
    }

    @Test(.proves("F1", "H6")) func `makes the day's partition, and lets go of old ones`()
        async throws
    {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            let session = try Session(Conninfo(url: plane.url))
            // Nobody made any ahead.
            try session.run(
                """
                DO $$ DECLARE name text; BEGIN
                    FOR name IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'event'::regclass
                    LOOP EXECUTE 'DROP TABLE ' || name; END LOOP;
                END $$;
                SELECT bw_make_partitions('event', now() - interval '100 days', 0);
                SELECT bw_make_partitions('event', now() - interval '10 days', 0);
                """)
            for days in [100, 10] {
                try session.execute(
                    """
                    INSERT INTO event (tenant_id, at, name, fields)
                    VALUES ($1, now() - $2 * interval '1 day', 'old', '{"n": 1}')
                    """, .uuid(tenant.uuid), .int8(Int64(days)))
            }
            plane.buffer.note(Self.health(tenant, "new"))
            try await plane.allStored()
            #expect(try await Self.names(plane, tenant).count == 3)
            let report = try await CleanupJob().run(plane.reads)
            #expect(report.contains(#""eventPartitions": 1"#), "\(report)")
            #expect(try await Self.names(plane, tenant).count == 2)
            var settings = CleanupJob.Settings()
            settings.eventRetention = .seconds(2 * 86_400)
            _ = try await CleanupJob(settings).run(plane.reads)
            #expect(
                try await Self.names(plane, tenant).map(\.name) == ["sandbox_health_check_ok"])
        }
    }

    @Test(.proves("F1", "E5")) func `has what was denied, added up for each operation`()
        async throws
    {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            _ = try await plane.ledger.decide(Ask("op", cost: 5, maxPerHour: 5), for: tenant)
            for _ in 0..<30 {
                _ = try await plane.ledger.decide(Ask("op", cost: 2, maxPerHour: 5), for: tenant)
            }
            try await eventually {
                await plane.ledger.flushDenials()
                await plane.ledger.tellDenials()
                try await plane.allStored()
                return try await !Self.names(plane, tenant).isEmpty
            }
            let event = String(
                decoding: try #require(try await Self.names(plane, tenant).last).json, as: UTF8.self
            )
            #expect(event.contains(#""event":"rate_limit_denied""#), "\(event)")
            #expect(event.contains(#""operation": "op""#) && event.contains(#""deniedCalls": 30"#))
            #expect(event.contains(#""deniedUnits": 60"#))
        }
    }

    @Test(.proves("F1")) func `has every name that callers may ask for, and no other`() {
        let tenant = Tenant.ID.fleet
        let key = BreakerKey(tenant, provider: "e2b", region: "us", .create)
        var machine = BreakerMachine()
        var moves: [BreakerMove] = []
        _ = machine.apply(
            .lay(.forcedOpen, until: nil), at: .now, BreakerPolicy(), random: 0, moves: &moves)
        let found = Event.FoundSandbox(
            tenant: tenant, region: "us", sandboxID: "x", template: nil, reason: .missing)
        let steps: [CreationEvent.Step] = [
            .start, .success(sandboxID: "x", attempt: 1, took: .zero),
            .failure(attempt: 1, error: "e", took: .zero), .criticalFailure(error: "e"),
        ]
        var events = steps.map { step in
            Event.creation(
                CreationEvent(
                    step: step, tenant: tenant, region: "us", template: nil, framework: nil,
                    breaker: .closed, traceID: nil, at: .now))
        }
        events += moves.map { Event.breakerMoved(key, $0) }
        let others: [Event] =
            [
                .creationsRefused(
                    RefusalEvent(
                        tenant: tenant, region: "us", reason: .breakerOpen, breaker: .open,
                        count: 1)),
                Self.health(tenant, "x"), Self.health(tenant, "x", failure: "e"),
                .sandboxLost(found), .sandboxReaped(found),
                .providerProbed(
                    .init(
                        provider: "e2b", region: "us", tenant: tenant, stage: .done, took: .zero)),
                .providerProbed(
                    .init(
                        provider: "e2b", region: "us", tenant: tenant, stage: .kill, error: "e",
                        took: .zero)),
                .reaperHeldBack(tenant: tenant, region: "us", count: 9, live: 1),
                .rateLimitDenied(tenant: tenant, operation: "op", calls: 1, units: 1),
                .serviceStarting(build: [], loops: 1), .serviceReady(addresses: []),
                .serviceStopping(reason: "r"), .databaseReady, .databaseLost(reason: "r"),
                .clusterLost(reason: "r"), .migrationApplied(name: "n", milliseconds: 1),
                .jobFinished(name: "j", outcome: "failed", milliseconds: 1, detail: "{}"),
                .jobLost(name: "j", epoch: 1),
                .requestFailed(
                    operation: "o", requestID: "r", traceID: "t", address: nil, cause: "c"),
            ]
        events += others
        #expect(Set(events.filter { $0.owner != nil }.map(\.name)) == Event.keptNames)
        #expect(events.count == Event.keptNames.count)
    }
}
