import ControlPlane
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `The roll-ups` {
    private static let noon = Timestamp("2026-03-01T12:00:00Z") ?? .now

    private static func rollUp(_ plane: Plane, at time: Timestamp) async throws {
        _ = try await plane.reads.execute(.rollUp, [.timestamp(time)])
    }

    /// What the log itself holds, by minute.
    private static func log(_ plane: Plane) throws -> [Int64] {
        let rows = try Session(Conninfo(url: plane.url)).execute(
            """
            SELECT sum(units)::bigint FROM usage_log WHERE op > 0
            GROUP BY date_trunc('minute', at) ORDER BY date_trunc('minute', at)
            """)
        var sums: [Int64] = []
        for row in rows { sums.append(try row.int64(0)) }
        return sums
    }

    @Test(.proves("E6"))
    func `equal the log, by minute and by hour, however often they are made`() async throws {
        let clock = TestClock(Self.noon)
        try await Plane.with(clock: clock) { plane in
            let tenant = try await plane.makeTenant()
            try Session(Conninfo(url: plane.url)).run(
                "UPDATE usage_rollup SET upto = '2026-03-01T12:00:00Z'")
            var random = SystemRandomNumberGenerator()
            for turn in 0..<150 {
                clock.move(by: .seconds(Int.random(in: 1...90, using: &random)))
                let operation = ["a", "b"][turn % 2]
                _ = try await plane.ledger.record(
                    operation, cost: Int32.random(in: 1...5, using: &random), for: tenant)
                if turn % 20 == 0 { try await Self.rollUp(plane, at: clock.now) }
            }
            clock.move(by: .seconds(90))
            for _ in 0..<2 { try await Self.rollUp(plane, at: clock.now) }
            let report = try await plane.directory.usage(
                of: tenant, operation: nil, from: Self.noon, to: Self.noon + .seconds(4 * 3600),
                step: .minute, top: 10)
            #expect(report.points.map(\.units).filter { $0 > 0 } == (try Self.log(plane)))
            #expect(report.points.count == 240)
            let hours = try await plane.directory.usage(
                of: tenant, operation: "a", from: Self.noon, to: Self.noon + .seconds(4 * 3600),
                step: .hour, top: 10)
            let minutes = try await plane.directory.usage(
                of: tenant, operation: "a", from: Self.noon, to: Self.noon + .seconds(4 * 3600),
                step: .minute, top: 1)
            for hour in 0..<4 {
                let sum = minutes.points[60 * hour..<60 * hour + 60].reduce(0) { $0 + $1.units }
                #expect(hours.points[hour].units == sum, "hour \(hour)")
            }
            #expect(hours.top.map(\.operation) == ["a"])
            #expect(
                report.top.map(\.units).reduce(0, +) == report.points.reduce(0) { $0 + $1.units })
            // Another tenant sees nothing of it.
            let stranger = try await plane.makeTenant()
            let nothing = try await plane.directory.usage(
                of: stranger, operation: nil, from: Self.noon, to: Self.noon + .seconds(7200),
                step: .minute, top: 10)
            #expect(nothing.points.allSatisfy { $0.units == 0 } && nothing.top.isEmpty)
        }
    }

    @Test(.proves("E6"))
    func `count what was denied, from memory or not`() async throws {
        try await Plane.with { plane in
            let tenant = try await plane.makeTenant()
            for _ in 0..<10 {
                _ = try await plane.ledger.acquire("op", cost: 2, limit: 4, for: tenant)
            }
            await plane.ledger.flushDenials()
            _ = try await plane.ledger.acquire("op", cost: 2, limit: 4, for: tenant)
            await plane.ledger.flushDenials()
            let now = Timestamp.now
            try await Self.rollUp(plane, at: now + .seconds(120))
            let report = try await plane.directory.usage(
                of: tenant, operation: nil, from: now - .seconds(120), to: now + .seconds(60),
                step: .minute, top: 10)
            #expect(report.top.first?.deniedCalls == 9 && report.top.first?.deniedUnits == 18)
            #expect(report.top.first?.units == 4)
        }
    }
}
