/// SQL under a name: the prepared statement's, the metric's and the log's.
///
/// Each connection prepares it on first use, in the same round trip as the call. Two statements
/// must not share a name.
package struct Statement: Hashable, Sendable {
    package let name: String
    package let sql: String

    package init(_ name: String, _ sql: String) {
        self.name = name
        self.sql = sql
    }

    package static func == (left: Statement, right: Statement) -> Bool { left.name == right.name }

    package func hash(into hasher: inout Hasher) { hasher.combine(name) }
}
