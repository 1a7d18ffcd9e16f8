import IO
import Postgres

/// Migrates, or says what would be done; answers lines for people.
func migrate(_ settings: Settings, dryRun: Bool) throws -> [String] {
    let database = try Database.open(settings, instance: "migrate") { _ in }
    defer { database.close() }
    if dryRun {
        let pending = try database.pendingMigrations()
        return pending.isEmpty
            ? ["nothing to apply"] : pending.map { "would apply \($0.description)" }
    }
    let steps = try database.migrate { _ in }
    return steps.isEmpty
        ? ["nothing to apply"]
        : steps.map { "applied \($0.migration.description) in \($0.duration.milliseconds) ms" }
}
