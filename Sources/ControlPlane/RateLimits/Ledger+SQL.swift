internal import IO
package import Postgres

extension Statement {
    static let acquire = Statement(
        "ledger_acquire", "SELECT * FROM bw_acquire($1, $2, $3, $4, $5, $6, $7, $8, $9)")
    static let check = Statement("ledger_check", "SELECT * FROM bw_check($1, $2, $3, $4, $5)")
    static let decide = Statement(
        "ledger_decide",
        """
        SELECT * FROM bw_decide($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        """)
    static let stats = Statement("ledger_stats", "SELECT * FROM bw_stats($1, $2, $3)")
    static let numbers = Statement("operation_numbers", "SELECT * FROM bw_operations($1, $2, $3)")
    static let countDenied = Statement(
        "denied_count", "SELECT bw_count_denied($1, $2, $3, $4, $5)")
    static let makePartitions = Statement(
        "partition_make", "SELECT bw_make_partitions($1, $2, $3)")
}

/// Decides a batch. One with more calls than a statement has keys is dealt out by key over all
/// `pipelines`, which decide side by side; a smaller one goes whole, on the first.
package func decideAll(
    _ calls: [LedgerCall], maxKeys: Int, now: Timestamp?, _ pipelines: [Pipeline]
) async -> [Result<LedgerDecision, PostgresError>] {
    guard pipelines.count > 1, calls.count > maxKeys else {
        return await decideInTurn(calls, maxKeys: maxKeys, now: now, pipelines[0])
    }
    var shares = [(calls: [LedgerCall], places: [Int])](
        repeating: ([], []), count: pipelines.count)
    for (place, call) in calls.enumerated() {
        let share = call.key.share(of: pipelines.count)
        shares[share].calls.append(call)
        shares[share].places.append(place)
    }
    return await withTaskGroup { group in
        for (share, pipeline) in pipelines.enumerated() {
            let calls = shares[share].calls
            group.addTask(executorPreference: pipeline.loop) {
                (share, await decideInTurn(calls, maxKeys: maxKeys, now: now, pipeline))
            }
        }
        var answers = [Result<LedgerDecision, PostgresError>](
            repeating: .failure(.decode("no row")), count: calls.count)
        for await (share, decisions) in group {
            for (place, decision) in zip(shares[share].places, decisions) {
                answers[place] = decision
            }
        }
        return answers
    }
}

/// As many statements as the number of keys demands, one after the other.
private func decideInTurn(
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

private func decide(
    _ batch: LedgerBatch, now: Timestamp?, _ pipeline: Pipeline
) async throws(PostgresError) -> [LedgerBatch.Row] {
    let rows = try await write(
        .acquire, batch.parameters(now: now), partitions: ["usage_log"], now: now, pipeline)
    var decoded: [LedgerBatch.Row] = []
    decoded.reserveCapacity(rows.count)
    for row in rows { decoded.append(try LedgerBatch.Row(row)) }
    return decoded
}

/// One statement; a write that finds no partition for its time makes it and tries again.
private func write(
    _ statement: Statement, _ parameters: [Parameter], partitions: [String], now: Timestamp?,
    _ pipeline: Pipeline
) async throws(PostgresError) -> Rows {
    do throws(PostgresError) {
        CrashPoint.batchSent.reached(atEndOfTurnOf: pipeline.loop)
        let rows = try await pipeline.execute(statement, parameters)
        CrashPoint.batchCommitted.reached()
        return rows
    } catch .checkViolation(constraint: "") {
        for parent in partitions {
            _ = try await pipeline.execute(
                .makePartitions, [.text(parent), .timestamp(now), .int4(1)])
        }
        return try await pipeline.execute(statement, parameters)
    }
}

/// Decides a batch of detailed calls, in as many statements as their locks demand.
func decideDetailed(
    _ calls: [DetailedCall], maxKeys: Int, now: Timestamp?, _ pipeline: Pipeline
) async -> [Result<DetailedAnswer, PostgresError>] {
    var answers: [Result<DetailedAnswer, PostgresError>] = []
    while answers.count < calls.count {
        let batch = DetailedBatch(calls[answers.count...], maxElements: max(1, maxKeys / 3))
        do throws(PostgresError) {
            let rows = try await write(
                .decide, batch.parameters(now: now),
                partitions: ["usage_log", "usage_log_long", "request_record"], now: now, pipeline)
            var decoded: [DetailedBatch.Row] = []
            for row in rows { decoded.append(try DetailedBatch.Row(row)) }
            for answer in batch.answers(decoded) {
                answers.append(answer.map { .success($0) } ?? .failure(.decode("no row")))
            }
        } catch {
            answers += Array(repeating: .failure(error), count: batch.callCount)
        }
    }
    return answers
}

/// Counts a batch of calls' windows; equal ones are asked once.
func countAll(
    _ calls: [[CountCall]], now: Timestamp?, _ pipeline: Pipeline
) async -> [Result<[Counted], PostgresError>] {
    var elementOf: [CountCall: Int] = [:]
    var elements: [CountCall] = []
    for window in calls.joined() where elementOf[window] == nil {
        elementOf[window] = elements.count
        elements.append(window)
    }
    do throws(PostgresError) {
        let rows = try await pipeline.execute(
            .check,
            [
                .uuids(elements.map(\.key.tenant.uuid)), .int2s(elements.map(\.key.operation)),
                .int4s(elements.map(\.window)), .int8s(elements.map(\.version)), .timestamp(now),
            ])
        var counts = [Counted?](repeating: nil, count: elements.count)
        for row in rows {
            let ord = Int(try row.int32(0))
            guard counts.indices.contains(ord - 1) else { continue }
            let at = try row.timestamp(2)
            let window = Duration.seconds(elements[ord - 1].window)
            counts[ord - 1] = Counted(
                units: try row.int64IfPresent(1),
                nextFreeIn: try row.timestampIfPresent(3).map { max($0 + window - at, .zero) })
        }
        return calls.map { call in
            let counted = call.compactMap { window in elementOf[window].flatMap { counts[$0] } }
            return counted.count == call.count ? .success(counted) : .failure(.decode("no row"))
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
