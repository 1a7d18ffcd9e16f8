internal import IO
package import Postgres

/// What one call of the manual cleanup did.
package struct CleanupReport: Hashable, Sendable {
    /// Stored rows removed.
    package let deleted: Int64
    /// The units that they stood for.
    package let requests: Int64
    package let batches: Int
    /// Rows that could be removed are left: call again.
    package let hasMore: Bool
    /// The oldest row that an answer may still need.
    package let oldestRetained: Timestamp?
}

extension Ledger.Settings {
    /// The original's `cleanup`: at most `cleanupMaxPerCall` rows in transactions of
    /// `cleanupBatchSize`, only those older than the retention.
    ///
    /// - Parameter tenant: nil cleans every tenant's rows.
    package func cleanUp(
        _ tenant: Tenant.ID?, now: Timestamp? = nil, on pipeline: Pipeline
    ) async throws(ControlPlaneError) -> CleanupReport {
        let scope: [Parameter] = [.uuid(tenant?.uuid), .int8(retention.milliseconds)]
        var deleted: Int64 = 0
        var requests: Int64 = 0
        var batches = 0
        do throws(PostgresError) {
            while deleted < Int64(cleanupMaxPerCall) {
                let size = min(cleanupBatchSize, cleanupMaxPerCall - Int(deleted))
                let row = try await pipeline.execute(
                    .cleanupBatch, scope + [.int4(Int32(size)), .timestamp(now)]
                ).only()
                let count = try row.int64(0)
                if count == 0 { break }
                deleted += count
                requests += try row.int64(1)
                batches += 1
                if count < Int64(size) { break }
            }
            let state = try await pipeline.execute(.cleanupState, scope + [.timestamp(now)]).only()
            return CleanupReport(
                deleted: deleted, requests: requests, batches: batches,
                hasMore: try state.bool(0), oldestRetained: try state.timestampIfPresent(1))
        } catch {
            throw .postgres(error)
        }
    }
}

extension Statement {
    fileprivate static let cleanupBatch = Statement(
        "ledger_cleanup",
        "SELECT * FROM bw_cleanup($1, $2 * interval '1 millisecond', $3, $4)")
    fileprivate static let cleanupState = Statement(
        "ledger_cleanup_state",
        "SELECT * FROM bw_cleanup_state($1, $2 * interval '1 millisecond', $3)")
}
