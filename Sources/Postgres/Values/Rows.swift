internal import CLibpq

/// The rows that one statement answered, in PostgreSQL's binary form.
///
/// The memory is libpq's and goes with the last reference to these rows or to one of them.
@safe package final class Rows: @unchecked Sendable {
    // Unchecked: a finished result is never written again, and libpq's accessors only read.
    private let result: OpaquePointer
    package let count: Int

    /// Takes ownership of `result`.
    init(taking result: OpaquePointer) {
        unsafe self.result = result
        count = Int(unsafe PQntuples(result))
    }

    deinit {
        unsafe PQclear(result)
    }

    /// How many rows an INSERT, UPDATE, DELETE or MERGE touched, or a SELECT gave.
    package var affected: Int {
        guard let text = unsafe PQcmdTuples(result) else { return 0 }
        return Int(unsafe String(cString: text)) ?? 0
    }

    /// Whether this is the answer of a COMMIT that found the transaction failed.
    var isRollback: Bool {
        guard let tag = unsafe PQcmdStatus(result) else { return false }
        return unsafe String(cString: tag) == "ROLLBACK"
    }

    /// The first row, nil when there is none.
    package var first: Row? { count > 0 ? self[0] : nil }

    /// The only row of a statement that always gives one.
    package func only() throws(PostgresError) -> Row {
        guard count == 1 else { throw .decode("one row expected, found \(count)") }
        return self[0]
    }

    func index(of column: Column) throws(PostgresError) -> Int32 {
        switch column {
        case .index(let index):
            guard index >= 0, index < Int(unsafe PQnfields(result)) else {
                throw .decode("no column \(index)")
            }
            return Int32(index)
        case .name(let name):
            let index = unsafe name.utf8Start.withMemoryRebound(to: CChar.self, capacity: 1) {
                unsafe PQfnumber(result, $0)
            }
            guard index >= 0 else { throw .decode("no column \(name)") }
            return index
        }
    }

    func type(of column: Int32) -> TypeID {
        TypeID(rawValue: unsafe PQftype(result, column))
    }

    /// The value's bytes while `body` runs; nil for null.
    func withBytes<Answer>(
        row: Int, column: Int32, _ body: (UnsafeRawBufferPointer?) -> Answer
    ) -> Answer {
        let row = Int32(row)
        if unsafe PQgetisnull(result, row, column) == 1 { return body(nil) }
        let start = unsafe PQgetvalue(result, row, column)
        let count = Int(unsafe PQgetlength(result, row, column))
        return unsafe body(UnsafeRawBufferPointer(start: start, count: count))
    }
}

extension Rows: RandomAccessCollection {
    package var startIndex: Int { 0 }
    package var endIndex: Int { count }

    package subscript(position: Int) -> Row {
        precondition(position >= 0 && position < count)
        return Row(rows: self, index: position)
    }
}

/// Which value of a row: by position, which is cheapest, or by name.
package enum Column: ExpressibleByIntegerLiteral, ExpressibleByStringLiteral, Sendable {
    case index(Int)
    case name(StaticString)

    package init(integerLiteral value: Int) { self = .index(value) }
    package init(stringLiteral value: StaticString) { self = .name(value) }
}

extension Column: CustomStringConvertible {
    package var description: String {
        switch self {
        case .index(let index): "\(index)"
        case .name(let name): name.description
        }
    }
}
