import Postgres

/// The rows of each table, by its name as SQL writes it.
typealias RowCounts = [String: Int]

extension Session {
    /// What is in the database, but for PostgreSQL's own. Fails rather than leave rows out that the
    /// login may not see.
    func rowCounts() throws(PostgresError) -> RowCounts {
        let tables = try execute(
            """
            SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c
            JOIN   pg_namespace AS n ON n.oid = c.relnamespace
            WHERE  c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
            """
        ).map { row throws(PostgresError) in try row.text(0) }
        var counts: RowCounts = [:]
        for table in tables {
            counts[table] = try execute("SELECT count(*) FROM ONLY \(table)").only().int(0)
        }
        return counts
    }
}

/// Reads what `pg_restore` makes of a file, and counts the rows of each table in it.
struct DumpRows {
    private(set) var counts: RowCounts = [:]
    private var table: String?
    /// The start of the line that is being read: enough for a COPY and its table.
    private var line: [UInt8] = []
    private static let enough = 512

    mutating func read(_ bytes: ArraySlice<UInt8>) {
        for part in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .enumerated()
        {
            if part.offset > 0 { endLine() }
            line += part.element.prefix(Self.enough - line.count)
        }
    }

    private mutating func endLine() {
        defer { line.removeAll(keepingCapacity: true) }
        if let table {
            if line == Array("\\.".utf8) {
                self.table = nil
            } else {
                counts[table, default: 0] += 1
            }
            return
        }
        let copy = Array("COPY ".utf8)
        guard line.starts(with: copy) else { return }
        let text = String(decoding: line.dropFirst(copy.count), as: UTF8.self)
        guard let end = text.firstRange(of: " (") else { return }
        let name = String(text[..<end.lowerBound])
        table = name
        counts[name] = 0
    }
}

/// A backup: `pg_dump`'s custom format.
struct DumpFile {
    let path: String

    /// Reads the whole file, so that what cannot be read later is found now.
    func rowCounts(_ tool: ClientTool) throws(ClusterError) -> RowCounts {
        var rows = DumpRows()
        try tool.run(["--data-only", "--file=-", path]) { rows.read($0) }
        return rows.counts
    }
}

/// The tables whose rows are not the same in number, for people; nil if there are none.
func difference(_ wanted: RowCounts, _ found: RowCounts) -> String? {
    let names = Set(wanted.keys).union(found.keys).sorted()
        .filter { wanted[$0] ?? 0 != found[$0] ?? 0 }
    guard !names.isEmpty else { return nil }
    return names.prefix(5).map { "\($0): \(wanted[$0] ?? 0) and \(found[$0] ?? 0)" }
        .joined(separator: ", ")
}
