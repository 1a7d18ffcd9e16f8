internal import IO
internal import JSON
package import Postgres

/// Tenants' settings in the database. They lie beside the policies, since every decision of the ledger
/// proves that those are known as they are. Creations use them for `Ledger.settingsMemory` without asking,
/// and a change waits as long before it answers: it is in force everywhere then.
package struct TenantSettingsStore: Sendable {
    /// A tenant's own settings as they are.
    package struct State: Hashable, Sendable {
        package var settings = TenantSettings()
        /// The hourly limit of operations without a policy; nil: the deployment's.
        package var defaultMaxPerHour: Int64?
        /// Rises with each change; the wire's ETag. 0: never changed.
        package var version: Int64 = 0
        package var updatedAt: Timestamp?
        package var updatedBy: String?

        package init() {}

        init(_ row: Row) throws(PostgresError) {
            settings = TenantSettings(stored: try row.json("settings"))
            defaultMaxPerHour = try row.int64IfPresent("default_max_per_hour")
            version = try row.int64("settings_version")
            updatedAt = try row.timestampIfPresent("settings_at")
            updatedBy = try row.textIfPresent("settings_by")
        }
    }

    /// A change of one setting; nil takes the tenant's own away.
    package struct Change: Hashable, Sendable {
        package enum What: Hashable, Sendable {
            case sandboxes(TenantSetting, TenantSettings.Value?)
            case defaultMaxPerHour(Int64?)
        }

        package let what: What

        package init(_ what: What) { self.what = what }

        package var name: String {
            switch what {
            case .sandboxes(let setting, _): setting.rawValue
            case .defaultMaxPerHour: "defaultMaxPerHour"
            }
        }
    }

    private let pipeline: Pipeline

    package init(_ pipeline: Pipeline) { self.pipeline = pipeline }

    package func state(of tenant: Tenant.ID) async throws(ControlPlaneError) -> State {
        do throws(PostgresError) {
            let rows = try await pipeline.transaction(
                tenant: tenant.uuid, [(.settingsGet, [.uuid(tenant.uuid)])])
            guard let row = rows.last?.first else { return State() }
            return try State(row)
        } catch { throw .postgres(error) }
    }

    /// Makes changes in one transaction, with their audit row; none where there are none.
    ///
    /// A merge names what it changes, so no version need be named. Throws `.outdated`.
    package func change(
        _ changes: [Change], of tenant: Tenant.ID, if precondition: Precondition, by actor: Actor
    ) async throws(ControlPlaneError) -> State {
        let id: [Parameter] = [.uuid(tenant.uuid)]
        let outcome: Result<Void, ControlPlaneError>
        do throws(PostgresError) {
            outcome = try await pipeline.withTransaction(tenant: tenant.uuid) {
                transaction throws(PostgresError) in
                // Of one tenant at a time, also where there is no row yet that could be locked.
                _ = try await transaction.execute(.settingsLock, id)
                var state = State()
                if let row = try await transaction.execute(.settingsGet, id).first {
                    state = try State(row)
                }
                do throws(ControlPlaneError) {
                    if precondition != .none { try precondition.check(state.version) }
                } catch { return .failure(error) }
                if changes.isEmpty { return .success(()) }
                for change in changes { state.apply(change) }
                let audit = actor.audits(
                    "settings.change", changes.map(\.name).joined(separator: ","), of: tenant,
                    detail: detail(changes))
                _ = try await transaction.execute(audit.statement, audit.parameters)
                _ = try await transaction.execute(
                    .settingsSet,
                    id + [
                        .jsonb(state.settings.json), .int8(state.defaultMaxPerHour),
                        .text(actor.name),
                    ])
                return .success(())
            }
        } catch { throw .postgres(error) }
        try outcome.get()
        // Cancelled, nobody waits for the answer any more.
        if !changes.isEmpty { try? await Task.sleep(for: Ledger.settingsMemory) }
        return try await state(of: tenant)
    }
}

extension TenantSettingsStore.State {
    fileprivate mutating func apply(_ change: TenantSettingsStore.Change) {
        switch change.what {
        case .sandboxes(let setting, let value): settings[setting] = value
        case .defaultMaxPerHour(let limit): defaultMaxPerHour = limit
        }
    }
}

/// For the audit: what was set, and to what.
private func detail(_ changes: [TenantSettingsStore.Change]) -> String {
    var writer = JSONWriter()
    writer.object { json in
        for change in changes {
            switch change.what {
            case .sandboxes(_, let value): json.member(change.name, orNull: value)
            case .defaultMaxPerHour(let limit): json.member(change.name, orNull: limit)
            }
        }
    }
    return String(decoding: writer.bytes, as: UTF8.self)
}

extension Statement {
    fileprivate static let settingsLock = Statement(
        "settings_lock", "SELECT pg_advisory_xact_lock(uuid_hash_extended($1, -5))")
    fileprivate static let settingsGet = Statement(
        "settings_get",
        """
        SELECT settings, default_max_per_hour, settings_version, settings_at, settings_by
        FROM   policy_set WHERE tenant_id = $1
        """)
    fileprivate static let settingsSet = Statement(
        "settings_set", "SELECT bw_set_settings($1, $2, $3, $4)")
}
