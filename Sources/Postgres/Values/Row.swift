/// One row: its values by column, each read as the Swift type that the code expects.
///
/// Throws `.decode` where the column is missing, of another type, malformed, or null though read
/// as present.
package struct Row: Sendable {
    let rows: Rows
    let index: Int

    package func bool(_ column: Column) throws(PostgresError) -> Bool { try present(column) }
    package func int16(_ column: Column) throws(PostgresError) -> Int16 { try present(column) }
    /// An `int4` or `int2`.
    package func int32(_ column: Column) throws(PostgresError) -> Int32 { try present(column) }
    /// An `int8`, `int4` or `int2`.
    package func int64(_ column: Column) throws(PostgresError) -> Int64 { try present(column) }
    /// An `int8`, `int4` or `int2`.
    package func int(_ column: Column) throws(PostgresError) -> Int { Int(try int64(column)) }
    package func double(_ column: Column) throws(PostgresError) -> Double { try present(column) }
    package func text(_ column: Column) throws(PostgresError) -> String { try present(column) }
    package func bytes(_ column: Column) throws(PostgresError) -> [UInt8] { try present(column) }
    package func uuid(_ column: Column) throws(PostgresError) -> UUID { try present(column) }
    package func timestamp(_ column: Column) throws(PostgresError) -> Timestamp {
        try present(column)
    }
    /// The text of a `json` or `jsonb`.
    package func json(_ column: Column) throws(PostgresError) -> String {
        let json: JSONText = try present(column)
        return json.text
    }

    package func boolIfPresent(_ column: Column) throws(PostgresError) -> Bool? {
        try value(column)
    }
    package func int16IfPresent(_ column: Column) throws(PostgresError) -> Int16? {
        try value(column)
    }
    package func int32IfPresent(_ column: Column) throws(PostgresError) -> Int32? {
        try value(column)
    }
    package func int64IfPresent(_ column: Column) throws(PostgresError) -> Int64? {
        try value(column)
    }
    package func intIfPresent(_ column: Column) throws(PostgresError) -> Int? {
        try int64IfPresent(column).map { Int($0) }
    }
    package func doubleIfPresent(_ column: Column) throws(PostgresError) -> Double? {
        try value(column)
    }
    package func textIfPresent(_ column: Column) throws(PostgresError) -> String? {
        try value(column)
    }
    package func bytesIfPresent(_ column: Column) throws(PostgresError) -> [UInt8]? {
        try value(column)
    }
    package func uuidIfPresent(_ column: Column) throws(PostgresError) -> UUID? {
        try value(column)
    }
    package func timestampIfPresent(_ column: Column) throws(PostgresError) -> Timestamp? {
        try value(column)
    }
    package func jsonIfPresent(_ column: Column) throws(PostgresError) -> String? {
        let json: JSONText? = try value(column)
        return json?.text
    }

    package func bools(_ column: Column) throws(PostgresError) -> [Bool] { try array(column) }
    package func int16s(_ column: Column) throws(PostgresError) -> [Int16] { try array(column) }
    package func int32s(_ column: Column) throws(PostgresError) -> [Int32] { try array(column) }
    package func int64s(_ column: Column) throws(PostgresError) -> [Int64] { try array(column) }
    package func texts(_ column: Column) throws(PostgresError) -> [String] { try array(column) }
    package func uuids(_ column: Column) throws(PostgresError) -> [UUID] { try array(column) }
    package func timestamps(_ column: Column) throws(PostgresError) -> [Timestamp] {
        try array(column)
    }
    package func optionalTexts(_ column: Column) throws(PostgresError) -> [String?] {
        try optionalArray(column)
    }
    package func optionalTimestamps(_ column: Column) throws(PostgresError) -> [Timestamp?] {
        try optionalArray(column)
    }
}

extension Row {
    private func present<Value: ColumnValue>(_ column: Column) throws(PostgresError) -> Value {
        guard let value: Value = try value(column) else {
            throw .decode("column \(column) is null")
        }
        return value
    }

    private func value<Value: ColumnValue>(_ column: Column) throws(PostgresError) -> Value? {
        let position = try rows.index(of: column)
        let type = rows.type(of: position)
        let outcome: Result<Value?, Mismatch> = unsafe rows.withBytes(row: index, column: position)
        {
            guard let bytes = unsafe $0 else { return .success(nil) }
            guard let value = unsafe Value(binary: bytes, type: type) else {
                return .failure(Mismatch())
            }
            return .success(value)
        }
        do { return try outcome.get() } catch {
            throw .decode("column \(column): \(Value.self) expected, found type \(type.rawValue)")
        }
    }

    private func array<Value: ColumnValue>(_ column: Column) throws(PostgresError) -> [Value] {
        let values: [Value?] = try optionalArray(column)
        let present = values.compactMap { $0 }
        guard present.count == values.count else {
            throw .decode("column \(column) has a null element")
        }
        return present
    }

    private func optionalArray<Value: ColumnValue>(
        _ column: Column
    ) throws(PostgresError) -> [Value?] {
        let position = try rows.index(of: column)
        let values: [Value?]? = unsafe rows.withBytes(row: index, column: position) {
            guard let bytes = unsafe $0 else { return nil }
            return unsafe decodeArray(binary: bytes)
        }
        guard let values else {
            let type = rows.type(of: position).rawValue
            throw .decode("column \(column): array of \(Value.self) expected, found type \(type)")
        }
        return values
    }
}

private struct Mismatch: Error {}
