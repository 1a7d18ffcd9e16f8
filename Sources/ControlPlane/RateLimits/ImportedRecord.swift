package import JSON
package import Postgres

/// A record of another system, as a line of a file says it:
///
///     {"operation": "sandbox_create", "timestamp": 1731000000000}
///
/// `timestamp` is in milliseconds since 1970, or RFC 3339. `cost` and `count` (1 each unless said,
/// to 1,000,000) are multiplied: so many equal records at once. `_id` and `_creationTime`, which
/// exports of Convex carry, are passed over; any other member is refused.
package struct ImportedRecord: Hashable, Sendable, JSONReadable {
    package let operation: String
    package let at: Timestamp
    package let units: Int64

    /// Of a line.
    package static let limits = JSONLimits(maxBytes: 65_536, maxDepth: 4)
    /// 9999-12-31T23:59:59.999Z.
    private static let latest = 253_402_300_799_999

    package init(from reader: inout JSONReader) throws(JSONError) {
        var operation: String?
        var at: Timestamp?
        var cost = 1
        var count = 1
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "operation": operation = try reader.readOperation()
            case "timestamp": at = try Self.readTime(&reader)
            case "cost": cost = try reader.readInt(in: 1...1_000_000)
            case "count": count = try reader.readInt(in: 1...1_000_000)
            case "_id", "_creationTime": try reader.skip()
            default: throw reader.unknownField(key)
            }
        }
        self.operation = try reader.require(operation, "operation")
        self.at = try reader.require(at, "timestamp")
        units = Int64(cost) * Int64(count)
        guard units <= Self.maxUnits else {
            throw reader.failure(.range, "cost times count must be at most \(Self.maxUnits)")
        }
    }

    /// The log keeps the units of one time in 4 octets.
    private static let maxUnits: Int64 = 1_000_000_000

    private static func readTime(_ reader: inout JSONReader) throws(JSONError) -> Timestamp {
        if try reader.peek() == .string {
            guard let time = Timestamp(try reader.readString(maxBytes: 64)) else {
                throw reader.failure(.range, "must be a time like 2026-01-31T12:00:00Z")
            }
            return time
        }
        return Timestamp(microseconds: Int64(try reader.readInt(in: 0...latest)) * 1_000)
    }
}

/// How far the import of a file is.
package enum ImportState: String, Sendable { case staging, merging, done }

extension Statement {
    package static let importBegin = Statement("import_begin", "SELECT bw_import_begin($1, $2)")
    package static let importStage = Statement(
        "import_stage", "SELECT bw_import_stage($1, $2, $3, $4, $5)")
    package static let importStaged = Statement(
        "import_staged", "SELECT bw_import_staged($1, $2, $3, $4)")
    /// Retentions in milliseconds.
    package static let importStep = Statement(
        "import_step",
        """
        SELECT merged, counted, rolled, too_old FROM bw_import_step(
            $1, $2, $3, $4 * interval '1 millisecond', $5 * interval '1 millisecond', $6)
        """)
}
