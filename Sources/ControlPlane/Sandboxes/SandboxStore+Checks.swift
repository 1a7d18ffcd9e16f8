internal import IO
package import Postgres

/// What a check found, for the history of a sandbox.
package struct NotedCheck: Sendable {
    let id: UUID
    let tenant: Tenant.ID
    let check: HealthCheck
    /// Who looked; nil: the instance.
    let actor: String?

    package init(_ id: UUID, of tenant: Tenant.ID, _ check: HealthCheck, by actor: String? = nil) {
        self.id = id
        self.tenant = tenant
        self.check = check
        self.actor = actor
    }
}

extension SandboxStore {
    /// Notes what checks found. Those that are over meanwhile stay as they are.
    package func checked(_ notes: [NotedCheck]) async -> [Result<Void, ControlPlaneError>] {
        await grouped(notes, by: { _ in 0 }) { notes throws(ControlPlaneError) in
            _ = try await execute(.sandboxesCheckedUnread, parameters(notes))
            return notes.map { _ in .success(()) }
        }
    }

    /// One of them, and its row; nil: it is over.
    package func checked(
        _ id: UUID, of tenant: Tenant.ID, _ check: HealthCheck, by actor: String? = nil
    ) async throws(ControlPlaneError) -> Sandbox? {
        let note = NotedCheck(id, of: tenant, check, by: actor)
        guard let row = try await execute(.sandboxesChecked, parameters([note])).first else {
            return nil
        }
        return try decode(row, Sandbox.init)
    }

    private func parameters(_ notes: [NotedCheck]) -> [Parameter] {
        [
            .uuids(notes.map(\.tenant.uuid)), .uuids(notes.map(\.id)),
            .optionalTexts(notes.map(\.check.health?.rawValue)),
            .texts(notes.map { redacted($0.check.words) }),
            .texts(notes.map { $0.actor ?? instance }),
        ]
    }
}

extension Statement {
    fileprivate static let sandboxesChecked = Statement(
        "sandboxes_checked", "SELECT * FROM bw_sandboxes_checked($1, $2, $3, $4, $5)")
    /// Their rows stay where they are.
    fileprivate static let sandboxesCheckedUnread = Statement(
        "sandboxes_checked_unread",
        "SELECT count(*) FROM bw_sandboxes_checked($1, $2, $3, $4, $5)")
}
