import ControlPlane
import Glibc
import IO
import JSON
import Postgres

/// Brings another system's records into a tenant's ledger, also while it is served.
///
/// It works on the database itself, not through the API: a file is checked whole before its first
/// row counts, and one that was begun is gone on with, which is one state in the database and
/// would be a protocol over HTTP.
struct Import {
    let settings: Settings
    let path: String
    let tenant: Tenant.ID
    let skipsBad: Bool

    struct Failure: Error, CustomStringConvertible { let description: String }

    struct Report {
        var id = ""
        var records: Int64 = 0
        var skipped: Int64 = 0
        var counted: Int64 = 0
        var rolled: Int64 = 0
        var tooOld: Int64 = 0
        var wasDone = false
    }

    /// Rows of one transaction. Its key's callers wait for it: 5,000 take some 50 ms.
    private static let stepRows: Int32 = 5_000
    private static let stageRows = 5_000
    /// Bad lines that are told one by one.
    private static let shownLines = 20

    func run(tellingLines tell: (String) -> Void) throws -> Report {
        let database = try Database.reach(settings, instance: "import")
        defer { database.close() }
        let session = try database.reaching { () throws(MigrationError) in
            do throws(PostgresError) {
                let session = try Session(database.migrating)
                try session.run("SET ROLE bw_app; SET lock_timeout = '30s'; SET timezone = 'UTC'")
                return session
            } catch { throw .postgres(error) }
        }
        let now = try session.execute("SELECT clock_timestamp()").only().timestamp(0)
        let checked = try check(now, tell)
        if checked.bad > 0, !skipsBad {
            throw Failure(
                description:
                    "bad lines: \(checked.bad); nothing was imported. Correct them, or pass them "
                    + "over with --skip-bad"
            )
        }
        return try merge(checked, now, session)
    }

    private struct Checked {
        var id: [UInt8] = []
        var records: Int64 = 0
        var bad: Int64 = 0
        var operations: Set<String> = []
    }

    private var file: LineFile {
        LineFile(path: path, maxLineBytes: ImportedRecord.limits.maxBytes)
    }

    /// A tenant's operations are at most so many (`operation_number_range`).
    private static let maxOperations = 1_000

    /// Reads the whole file, says what is wrong with which line.
    private func check(_ now: Timestamp, _ tell: (String) -> Void) throws -> Checked {
        var checked = Checked()
        checked.id = try file.read { number, line in
            do throws(JSONError) {
                let record = try Self.record(line, now)
                checked.records += 1
                if checked.operations.count <= Self.maxOperations {
                    checked.operations.insert(record.operation)
                }
            } catch {
                checked.bad += 1
                if checked.bad <= Self.shownLines {
                    tell("line \(number): \(Self.words(of: error))")
                }
            }
        }
        if checked.bad > Self.shownLines {
            tell("and \(checked.bad - Int64(Self.shownLines)) more")
        }
        return checked
    }

    /// Whatever lies ahead of the database's clock would hold up the key's time.
    private static func record(
        _ line: [UInt8], _ now: Timestamp
    ) throws(JSONError) -> ImportedRecord {
        let record = try JSONReader.decode(
            ImportedRecord.self, from: line, limits: ImportedRecord.limits)
        guard record.at <= now else {
            throw JSONError(.range, at: "/timestamp", offset: 0, "must not be in the future")
        }
        return record
    }

    private static func words(of error: JSONError) -> String {
        let member = error.pointer.isEmpty ? "" : error.pointer.dropFirst() + " "
        return member + error.message
    }

    private func merge(
        _ checked: Checked, _ now: Timestamp, _ session: Session
    ) throws -> Report {
        var report = Report()
        report.id = checked.id.map { byte in
            byte < 16 ? "0" + String(byte, radix: 16) : String(byte, radix: 16)
        }.joined()
        report.records = checked.records
        report.skipped = checked.bad
        // Two at a time of one tenant would only wait for each other.
        let isAlone = try session.execute(
            "SELECT pg_try_advisory_lock(hashtextextended('breakwater import ' || $1, 0))",
            .text(tenant.description)
        ).only().bool(0)
        guard isAlone else {
            throw Failure(description: "another import of this tenant is at work")
        }
        let id = Parameter.bytea(checked.id)
        switch try begin(session, id) {
        case .done:
            report.wasDone = true
            return report
        case .staging:
            let numbers = try numbers(checked.operations, session)
            try stage(checked, numbers, now, session)
        case .merging: break
        }
        while true {
            let row = try session.execute(
                Statement.importStep.sql, .uuid(tenant.uuid), id, .int4(Self.stepRows),
                .int8(settings.ledger.retention.milliseconds),
                .int8(settings.cleanup.rollUpRetention.milliseconds), .timestamp(nil)
            ).only()
            if try row.int32(0) == 0 { break }
            report.counted += try row.int64(1)
            report.rolled += try row.int64(2)
            report.tooOld += try row.int64(3)
        }
        return report
    }

    private func begin(_ session: Session, _ id: Parameter) throws -> ImportState {
        do throws(PostgresError) {
            let text = try session.execute(Statement.importBegin.sql, .uuid(tenant.uuid), id)
                .only().text(0)
            return ImportState(rawValue: text) ?? .done
        } catch {
            guard case .foreignKeyViolation = error else { throw error }
            throw Failure(description: "there is no tenant \(tenant)")
        }
    }

    /// The operations' numbers, made where they are missing.
    private func numbers(
        _ operations: Set<String>, _ session: Session
    ) throws -> [String: Int16] {
        let names = operations.sorted()
        let rows = try session.execute(
            "SELECT ord, op FROM bw_operations($1, $2, $3)",
            .uuids(names.map { _ in tenant.uuid }), .texts(names), .bools(names.map { _ in true }))
        var numbers: [String: Int16] = [:]
        for row in rows {
            let name = names[Int(try row.int32(0)) - 1]
            guard let number = try row.int16IfPresent(1) else {
                throw Failure(
                    description:
                        "the tenant would have more than \(Self.maxOperations) operations; nothing was imported"
                )
            }
            numbers[name] = number
        }
        return numbers
    }

    private func stage(
        _ checked: Checked, _ numbers: [String: Int16], _ now: Timestamp, _ session: Session
    ) throws {
        var rows: [(operation: Int16, at: Timestamp, units: Int64)] = []
        func flush() throws {
            do throws(PostgresError) {
                try session.execute(
                    Statement.importStage.sql, .uuid(tenant.uuid), .bytea(checked.id),
                    .int2s(rows.map(\.operation)), .timestamps(rows.map(\.at)),
                    .int8s(rows.map(\.units)))
            } catch {
                guard error == .checkViolation(constraint: "import_row_units") else { throw error }
                throw Failure(
                    description:
                        "more than 1,000,000,000 units of one operation at one time; nothing was imported"
                )
            }
            rows.removeAll(keepingCapacity: true)
        }
        let id = try file.read { _, line in
            guard let record = try? Self.record(line, now), let number = numbers[record.operation]
            else { return }
            rows.append((number, record.at, record.units))
            if rows.count == Self.stageRows { try flush() }
        }
        try flush()
        guard id == checked.id else {
            throw Failure(description: "\(path) changed while it was read; nothing was imported")
        }
        try session.execute(
            Statement.importStaged.sql, .uuid(tenant.uuid), .bytea(checked.id),
            .int8(checked.records), .int8(checked.bad))
    }
}

extension Import.Report: JSONWritable {
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.member("import", id)
            $0.member("alreadyImported", wasDone)
            $0.member("records", records)
            $0.member("skippedLines", skipped)
            $0.member("unitsInLog", counted)
            $0.member("unitsInRollUps", rolled)
            $0.member("unitsTooOld", tooOld)
        }
    }
}
