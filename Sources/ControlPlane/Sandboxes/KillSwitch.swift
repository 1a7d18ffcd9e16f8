package import Postgres

/// Whether anything may be killed at providers: the operators' switch, in the database, read before each
/// kill, so that it holds everywhere at once. A decision to kill is kept, and carried out when the switch is
/// on again.
package struct KillSwitch: Sendable {
    package struct State: Hashable, Sendable {
        package let isOn: Bool
        package let reason: String?
        package let changedAt: Timestamp
        package let changedBy: String

        init(_ row: Row) throws(PostgresError) {
            isOn = try row.bool("enabled")
            reason = try row.textIfPresent("reason")
            changedAt = try row.timestamp("changed_at")
            changedBy = try row.text("changed_by")
        }
    }

    private let pipeline: Pipeline
    /// The setting `sandbox.kill`: false and this instance kills nothing, whatever the switch says.
    private let isAllowed: Bool

    package init(_ pipeline: Pipeline, isAllowed: Bool = true) {
        self.pipeline = pipeline
        self.isAllowed = isAllowed
    }

    /// False as well where it cannot be read: when in doubt, nothing is killed.
    package func isOn() async -> Bool {
        guard isAllowed else { return false }
        return (try? await state().isOn) ?? false
    }

    package func state() async throws(ControlPlaneError) -> State {
        do throws(PostgresError) {
            return try State(try await pipeline.execute(.killingGet).only())
        } catch { throw .postgres(error) }
    }

    package func set(
        isOn: Bool, reason: String?, by actor: Actor
    ) async throws(ControlPlaneError) -> State {
        let audit = actor.audits(
            isOn ? "killing.on" : "killing.off", "killing", of: .fleet, reason: reason)
        do throws(PostgresError) {
            let rows = try await pipeline.transaction([
                (.enterOperator, []), audit,
                (.killingSet, [.bool(isOn), .text(reason), .text(actor.name)]),
            ])
            guard let row = rows.last?.first else { throw .decode("no row of killing") }
            return try State(row)
        } catch { throw .postgres(error) }
    }
}

extension Statement {
    fileprivate static let killingGet = Statement(
        "killing_get", "SELECT enabled, reason, changed_at, changed_by FROM killing")
    fileprivate static let killingSet = Statement(
        "killing_set",
        """
        UPDATE killing
        SET    enabled = $1, reason = $2, changed_by = $3, changed_at = clock_timestamp()
        RETURNING enabled, reason, changed_at, changed_by
        """)
}
