/// One step of the schema: a file of SQL that runs in one transaction, and never changes once
/// merged.
package struct Migration: Hashable, Sendable {
    /// From 1, without gaps.
    package let version: Int
    /// For people, e.g. `tenant`.
    package let name: String
    package let sql: String
    /// The lowest version that a binary must know to work on a schema that has this step; by
    /// default its own. A step that only adds says an earlier one, so that the release before may
    /// start beside it (`trust.md`, 5.1).
    package let minimumBinary: Int

    package init(version: Int, name: String, sql: String, minimumBinary: Int? = nil) {
        precondition(version > 0)
        self.version = version
        self.name = name
        self.sql = sql
        self.minimumBinary = minimumBinary ?? version
    }
}

extension Migration: CustomStringConvertible {
    /// As its file is called: `0007_pool`.
    package var description: String {
        let digits = "\(version)"
        return String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits + "_" + name
    }
}

/// Why the schema could not be brought up to date. Nothing of the failing step is left behind.
package enum MigrationError: Error, Hashable, Sendable {
    case postgres(PostgresError)
    /// The given list has a gap, a repeat, or is out of order at this version.
    case misnumbered(Int)
    /// The file is not the one that was applied.
    case changed(String)
    /// The database has a step that this binary must know and does not.
    case newerSchema(version: Int, minimumBinary: Int)
    /// The script ended its transaction itself.
    case endedTransaction(String)
    /// The SQL of this step failed.
    case failed(String, PostgresError)
    /// Another migrator was at work the whole time allowed.
    case busy
}

extension MigrationError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .postgres(let error): "cannot migrate: \(error.reason)"
        case .misnumbered(let version):
            "migration \(version) is out of order: versions start at 1 and have no gap"
        case .changed(let name):
            "migration \(name) was changed after it was applied; restore the file as it was, "
                + "and put the change into a new migration"
        case .newerSchema(let version, let minimum):
            "the database has schema \(version), which needs a binary that knows at least "
                + "\(minimum): start a newer one"
        case .endedTransaction(let name):
            "migration \(name) ends its own transaction; take COMMIT and ROLLBACK out of it"
        case .failed(let name, let error): "migration \(name) failed: \(error.reason)"
        case .busy: "another instance has been migrating for too long"
        }
    }
}
