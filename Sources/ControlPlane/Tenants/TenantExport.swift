internal import JSON
package import Postgres

/// All that is kept of one tenant, as JSON lines, a page at a time: each page is a short transaction
/// as that tenant, so that row-level security stands behind the statements.
///
/// Not one moment's picture: what is written meanwhile may be in it or not. The last line,
/// `{"type": "end", "lines": 4711}`, counts those before it; without it the export is not whole.
package struct TenantExport: Sendable {
    private let pipeline: Pipeline
    private let tenant: Tenant.ID
    private let pageRows: Int
    /// What is still to come, the present table first.
    private var tables = ArraySlice(Page.all)
    /// The last row's key in that table; nil at its start.
    private var last: [String]?
    /// The tenant's own line, until it is given out.
    private var head: String?
    private var lines: Int64 = 0
    private var hasEnded = false

    /// Reads the tenant itself, and writes an audit row. Throws `.notFound`.
    package init(
        of tenant: Tenant.ID, pageRows: Int, by actor: Actor, _ pipeline: Pipeline
    ) async throws(ControlPlaneError) {
        self.pipeline = pipeline
        self.tenant = tenant
        self.pageRows = pageRows
        let directory = Directory(pipeline)
        // First, so that no row is written for a tenant that is none.
        _ = try await directory.tenant(tenant)
        let rows = try await directory.run(
            tenant: tenant,
            [
                actor.audits("tenant.export", tenant.description, of: tenant), (.exportInUTC, []),
                (.exportTenant, [.uuid(tenant.uuid)]),
            ])
        guard let row = rows.first else { throw .notFound("tenant") }
        head = try decode(row) { row throws(PostgresError) in try row.text(0) }
    }

    /// Some more lines; nil after the last.
    package mutating func next() async throws(ControlPlaneError) -> [UInt8]? {
        if let line = head {
            head = nil
            return encoded([line])
        }
        while let page = tables.first {
            let texts = try await read(page)
            if texts.count < pageRows || page.key.isEmpty {
                tables.removeFirst()
                last = nil
            }
            if !texts.isEmpty { return encoded(texts) }
        }
        if hasEnded { return nil }
        hasEnded = true
        return encoded([#"{"type": "end", "lines": \#(lines)}"#])
    }

    private mutating func encoded(_ texts: [String]) -> [UInt8] {
        lines += Int64(texts.count)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(texts.reduce(0) { $0 + $1.utf8.count + 1 })
        for text in texts {
            bytes += text.utf8
            bytes.append(UInt8(ascii: "\n"))
        }
        return bytes
    }

    private mutating func read(_ page: Page) async throws(ControlPlaneError) -> [String] {
        let after = (last ?? page.key.map(\.least)).map { Parameter.text($0) }
        let rows = try await Directory(pipeline).run(
            tenant: tenant,
            [
                (.exportInUTC, []),
                (page.statement, [.uuid(tenant.uuid)] + after + [.int8(Int64(pageRows))]),
            ])
        if rows.count > 0 {
            last = try decode(rows[rows.count - 1]) { row throws(PostgresError) in
                var key: [String] = []
                for column in page.key.indices { key.append(try row.text(.index(column + 1))) }
                return key
            }
        }
        return try decodeAll(rows) { row throws(PostgresError) in try row.text(0) }
    }

    /// How one table is read.
    private struct Page: Sendable {
        let key: [TenantTable.KeyType]
        let statement: Statement

        static let all: [Page] = TenantTable.all.compactMap { table in
            guard case .lines(let type, let columns, _) = table.export else { return nil }
            return Page(key: table.key.map(\.type), statement: statement(table, type, columns))
        }

        private static func statement(
            _ table: TenantTable, _ type: String, _ columns: [String]
        ) -> Statement {
            let members = columns.map { "'\(camelCase($0))', \($0)" }.joined(separator: ", ")
            let names = table.key.map(\.column)
            // Under other names: ORDER BY would take the texts for the columns.
            let texts = names.map { ", \($0)::text AS last_\($0)" }.joined()
            let after = table.key.enumerated()
                .map { "CAST($\($0.offset + 2) AS text)::\($0.element.type.rawValue)" }
            let rest =
                names.isEmpty
                ? ""
                : """
                AND (\(names.joined(separator: ", "))) > (\(after.joined(separator: ", ")))
                ORDER BY \(names.joined(separator: ", "))
                """
            return Statement(
                "export_\(table.name)",
                """
                SELECT json_build_object('type', '\(type)', \(members))::text\(texts)
                FROM   \(table.name) WHERE tenant_id = $1 \(rest) LIMIT $\(names.count + 2)
                """)
        }

        /// `created_at` → `createdAt`, as on the wire.
        private static func camelCase(_ column: String) -> String {
            let words = column.split(separator: "_")
            return words.enumerated()
                .map { $0.offset == 0 ? String($0.element) : $0.element.capitalizedASCII }
                .joined()
        }
    }
}

extension Substring {
    fileprivate var capitalizedASCII: String { prefix(1).uppercased() + dropFirst() }
}

extension Statement {
    /// Times in UTC, whatever the session's zone is.
    fileprivate static let exportInUTC = Statement("export_in_utc", "SET LOCAL timezone = 'UTC'")
    fileprivate static let exportTenant = Statement(
        "export_tenant",
        """
        SELECT json_build_object(
            'type', 'tenant', 'id', id, 'name', name, 'createdAt', created_at,
            'suspendedAt', suspended_at, 'suspendedReason', suspended_reason,
            'deletedAt', deleted_at)::text
        FROM tenant WHERE id = $1
        """)
}
