package import Postgres

/// What was used and denied, for charts.
package struct UsageReport: Hashable, Sendable {
    package enum Step: String, Hashable, Sendable {
        case minute, hour

        package var duration: Duration { self == .minute ? .seconds(60) : .seconds(3600) }
    }

    package struct Point: Hashable, Sendable {
        /// The start of the step.
        package let at: Timestamp
        package let units: Int64
        package let deniedCalls: Int64
        package let deniedUnits: Int64
    }

    package struct Total: Hashable, Sendable {
        package let operation: String
        package let units: Int64
        package let deniedCalls: Int64
        package let deniedUnits: Int64
    }

    /// One for each step of the span, those without use as well.
    package let points: [Point]
    /// The operations with the most units, the most first.
    package let top: [Total]
    /// Steps that end later may still grow.
    package let completeTo: Timestamp
}

extension Directory {
    /// The roll-ups of a span of whole steps; of one operation or of all.
    package func usage(
        of tenant: Tenant.ID, operation: String?, from: Timestamp, to: Timestamp,
        step: UsageReport.Step, top: Int
    ) async throws(ControlPlaneError) -> UsageReport {
        let span: [Parameter] = [
            .uuid(tenant.uuid), .text(operation), .timestamp(from), .timestamp(to),
        ]
        let isHourly = step == .hour
        do throws(PostgresError) {
            let rows = try await pipeline.transaction(
                tenant: tenant.uuid,
                [
                    (isHourly ? .usageHours : .usageMinutes, span),
                    (isHourly ? .usageTopHours : .usageTopMinutes, span + [.int8(Int64(top))]),
                    (.usageComplete, []),
                ])
            var points: [UsageReport.Point] = []
            for row in rows[0] {
                points.append(
                    UsageReport.Point(
                        at: try row.timestamp(0), units: try row.int64(1),
                        deniedCalls: try row.int64(2), deniedUnits: try row.int64(3)))
            }
            var totals: [UsageReport.Total] = []
            for row in rows[1] {
                totals.append(
                    UsageReport.Total(
                        operation: try row.text(0), units: try row.int64(1),
                        deniedCalls: try row.int64(2), deniedUnits: try row.int64(3)))
            }
            return UsageReport(
                points: points, top: totals, completeTo: try rows[2].only().timestamp(0))
        } catch {
            throw .postgres(error)
        }
    }
}

extension Statement {
    private static func series(_ name: String, _ table: String, _ step: String) -> Statement {
        Statement(
            name,
            """
            SELECT s.at, coalesce(sum(u.units), 0)::bigint, coalesce(sum(u.denied_calls), 0)::bigint,
                   coalesce(sum(u.denied_units), 0)::bigint
            FROM   generate_series($3, $4 - interval '\(step)', interval '\(step)') AS s (at)
            LEFT   JOIN (\(table) AS u JOIN operation AS o ON o.tenant_id = u.tenant_id AND o.op = u.op
                         AND ($2::text IS NULL OR o.name = $2))
                   ON u.tenant_id = $1 AND u.at = s.at
            GROUP  BY s.at ORDER BY s.at
            """)
    }

    private static func totals(_ name: String, _ table: String) -> Statement {
        Statement(
            name,
            """
            SELECT o.name, sum(u.units)::bigint, sum(u.denied_calls)::bigint, sum(u.denied_units)::bigint
            FROM   \(table) AS u JOIN operation AS o ON o.tenant_id = u.tenant_id AND o.op = u.op
            WHERE  u.tenant_id = $1 AND u.at >= $3 AND u.at < $4 AND ($2::text IS NULL OR o.name = $2)
            GROUP  BY o.name ORDER BY 2 DESC, 1 LIMIT $5
            """)
    }

    fileprivate static let usageMinutes = series("usage_minutes", "usage_minute", "1 minute")
    fileprivate static let usageHours = series("usage_hours", "usage_hour", "1 hour")
    fileprivate static let usageTopMinutes = totals("usage_top_minutes", "usage_minute")
    fileprivate static let usageTopHours = totals("usage_top_hours", "usage_hour")
    fileprivate static let usageComplete = Statement(
        "usage_complete", "SELECT upto FROM usage_rollup")
}

/// Denials of one loop, added up until they are brought to the database.
struct DenialCounts: Sendable {
    private struct Slot: Hashable {
        let key: UsageKey
        let minute: Int64
    }

    private var counts: [Slot: (calls: Int64, units: Int64)] = [:]
    private let capacity: Int

    /// - Parameter capacity: keys and minutes held while the database is away; past it they are lost.
    init(capacity: Int) { self.capacity = capacity }

    var isEmpty: Bool { counts.isEmpty }

    mutating func add(_ key: UsageKey, cost: Int32, at time: Timestamp) {
        let slot = Slot(key: key, minute: time.microseconds / 60_000_000)
        if counts.count >= capacity, counts[slot] == nil { return }
        counts[slot, default: (0, 0)].calls += 1
        counts[slot, default: (0, 0)].units += Int64(cost)
    }

    struct Total: Hashable, Sendable {
        var calls: Int64 = 0
        var units: Int64 = 0

        static func + (left: Total, right: Total) -> Total {
            Total(calls: left.calls + right.calls, units: left.units + right.units)
        }
    }

    /// By key, whatever the minute.
    var totals: [UsageKey: Total] {
        counts.reduce(into: [:]) { totals, count in
            totals[count.key.key, default: Total()].calls += count.value.calls
            totals[count.key.key, default: Total()].units += count.value.units
        }
    }

    /// The parameters of `bw_count_denied` for all that is held.
    var parameters: [Parameter] {
        let all = Array(counts)
        return [
            .uuids(all.map(\.key.key.tenant.uuid)), .int2s(all.map(\.key.key.operation)),
            .timestamps(all.map { Timestamp(microseconds: $0.key.minute * 60_000_000) }),
            .int8s(all.map(\.value.calls)), .int8s(all.map(\.value.units)),
        ]
    }

    /// Takes `other`'s back, whose flush failed.
    mutating func merge(_ other: DenialCounts) {
        counts.merge(other.counts) { ($0.calls + $1.calls, $0.units + $1.units) }
    }
}
