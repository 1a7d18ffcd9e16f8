internal import IO
internal import Postgres

extension Statement {
    static let acquire = Statement(
        "ledger_acquire", "SELECT * FROM bw_acquire($1, $2, $3, $4, $5, $6, $7, $8)")
    static let check = Statement("ledger_check", "SELECT * FROM bw_check($1, $2, $3, $4)")
    static let stats = Statement("ledger_stats", "SELECT * FROM bw_stats($1, $2, $3)")
    static let numbers = Statement("operation_numbers", "SELECT * FROM bw_operations($1, $2, $3)")
    static let makePartitions = Statement(
        "partition_make", "SELECT bw_make_partitions($1, $2, $3)")
}

/// Decides a batch, in as many statements as its number of keys demands.
func decideAll(
    _ calls: [LedgerCall], maxKeys: Int, now: Timestamp?, _ pipeline: Pipeline
) async -> [Result<LedgerDecision, PostgresError>] {
    var answers: [Result<LedgerDecision, PostgresError>] = []
    answers.reserveCapacity(calls.count)
    while answers.count < calls.count {
        let batch = LedgerBatch(calls[answers.count...], maxKeys: maxKeys)
        do throws(PostgresError) {
            let rows = try await decide(batch, now: now, pipeline)
            for decision in batch.decisions(rows) {
                answers.append(decision.map { .success($0) } ?? .failure(.decode("no row")))
            }
        } catch {
            answers += Array(repeating: .failure(error), count: batch.callCount)
        }
    }
    return answers
}

/// One statement; a write that finds no partition for its time makes it and tries again.
private func decide(
    _ batch: LedgerBatch, now: Timestamp?, _ pipeline: Pipeline
) async throws(PostgresError) -> [LedgerBatch.Row] {
    let parameters = batch.parameters(now: now)
    let rows: Rows
    do throws(PostgresError) {
        CrashPoint.batchSent.reached(atEndOfTurnOf: pipeline.loop)
        rows = try await pipeline.execute(.acquire, parameters)
        CrashPoint.batchCommitted.reached()
    } catch .checkViolation(constraint: "") {
        _ = try await pipeline.execute(
            .makePartitions, [.text("usage_log"), .timestamp(now), .int4(1)])
        rows = try await pipeline.execute(.acquire, parameters)
    }
    var decoded: [LedgerBatch.Row] = []
    decoded.reserveCapacity(rows.count)
    for row in rows { decoded.append(try LedgerBatch.Row(row)) }
    return decoded
}

/// Counts a batch of windows; equal ones are asked once.
func checkAll(
    _ calls: [LedgerCall], now: Timestamp?, _ pipeline: Pipeline
) async -> [Result<Int64, PostgresError>] {
    var elementOf: [LedgerCall: Int] = [:]
    var elements: [LedgerCall] = []
    let places = calls.map { call -> Int in
        if let element = elementOf[call] { return element }
        elementOf[call] = elements.count
        elements.append(call)
        return elements.count - 1
    }
    do throws(PostgresError) {
        let rows = try await pipeline.execute(
            .check,
            [
                .uuids(elements.map(\.key.tenant.uuid)), .int2s(elements.map(\.key.operation)),
                .int4s(elements.map(\.window)), .timestamp(now),
            ])
        var counts = [Int64?](repeating: nil, count: elements.count)
        for row in rows {
            let ord = Int(try row.int32(0))
            if counts.indices.contains(ord - 1) { counts[ord - 1] = try row.int64(1) }
        }
        return places.map { place in
            counts[place].map { .success($0) } ?? .failure(.decode("no row"))
        }
    } catch {
        return calls.map { _ in .failure(error) }
    }
}

/// A name to be turned into its number, made if it is missing and wanted.
struct OperationName: Hashable, Sendable {
    let tenant: Tenant.ID
    let operation: String
    let create: Bool
}

/// The numbers of names; nil for one that does not exist and was not made.
func numberAll(
    _ names: [OperationName], _ pipeline: Pipeline
) async -> [Result<Int16?, PostgresError>] {
    do throws(PostgresError) {
        let rows = try await pipeline.execute(
            .numbers,
            [
                .uuids(names.map(\.tenant.uuid)), .texts(names.map(\.operation)),
                .bools(names.map(\.create)),
            ])
        var numbers = [Int16?](repeating: nil, count: names.count)
        for row in rows {
            let ord = Int(try row.int32(0))
            if numbers.indices.contains(ord - 1) { numbers[ord - 1] = try row.int16IfPresent(1) }
        }
        return numbers.map { .success($0) }
    } catch {
        return names.map { _ in .failure(error) }
    }
}
