package import Postgres

/// Adds the log up by minute and hour, for charts; off the hot path.
package struct RollUpJob: Job {
    package let name = "roll-up"
    package let interval: Duration = .seconds(60)

    package init() {}

    package func run(_ pipeline: Pipeline) async throws(ControlPlaneError) -> String {
        do throws(PostgresError) {
            let rows = try await pipeline.execute(.rollUp, [.timestamp(nil)])
            let written = try rows.only().int64(0)
            return written == 0 ? "{}" : #"{"minutes": \#(written)}"#
        } catch {
            throw .postgres(error)
        }
    }
}

extension Statement {
    package static let rollUp = Statement("usage_roll_up", "SELECT bw_roll_up($1)")
}
