/// One step of the schema: a file of SQL that runs in one transaction, and never changes once
/// merged.
package struct Migration: Hashable, Sendable {
    /// From 1, rising; gaps are those of numbers that were never used.
    package let version: Int
    /// For people, e.g. `tenant`.
    package let name: String
    package let sql: String
    /// The version that a binary must know to work on a schema that has this step; by default its
    /// own. A step that only adds says an earlier one, in a line `-- min-binary: 9` of its first
    /// comment, so that the release before may start beside it.
    package let minimumBinary: Int

    package init(version: Int, name: String, sql: String, minimumBinary: Int? = nil) {
        precondition(version > 0)
        self.version = version
        self.name = name
        self.sql = sql
        self.minimumBinary = minimumBinary ?? Self.statedMinimum(sql) ?? version
    }
}

extension Migration {
    private static func statedMinimum(_ sql: String) -> Int? {
        let mark = "-- min-binary: "
        return sql.split(separator: "\n", omittingEmptySubsequences: false)
            .prefix { $0.hasPrefix("--") }.first { $0.hasPrefix(mark) }
            .flatMap { Int($0.dropFirst(mark.count)) }
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
    /// The given list has a repeat, or is out of order at this version.
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
            "migration \(version) is out of order: versions rise"
        case .changed(let name):
            "migration \(name) was changed after it was applied; restore the file as it was, "
                + "and put the change into a new migration"
        case .newerSchema(let version, let minimum):
            "the database has schema \(version), which needs a binary that knows "
                + "\(minimum): start a newer one"
        case .endedTransaction(let name):
            "migration \(name) ends its own transaction; take COMMIT and ROLLBACK out of it"
        case .failed(let name, let error): "migration \(name) failed: \(error.reason)"
        case .busy: "another instance has been migrating for too long"
        }
    }
}
