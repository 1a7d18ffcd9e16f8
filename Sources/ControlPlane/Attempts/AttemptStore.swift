internal import IO
package import Postgres

/// A try as it is stored.
struct TryNote: Hashable, Sendable {
    let token: AttemptToken
    let number: Int
    let endedAt: Timestamp
    let outcome: TryRecord.Outcome
    let kind: ErrorKind?
    let duration: Duration
    /// The wait that was advised.
    let wait: Duration?
    let stop: String?
}

/// What the database has of a try.
package struct StoredTry: Hashable, Sendable {
    package let number: Int
    package let endedAt: Timestamp
    package let outcome: TryRecord.Outcome
    package let kind: ErrorKind?
    package let duration: Duration
    /// The wait that was advised; with a stop, until the whole call is worth another try.
    package let wait: Duration?
    package let stop: String?
    /// False: it had been reported before.
    let isNew: Bool

    init(_ row: Row) throws(PostgresError) {
        guard let outcome = TryRecord.Outcome(rawValue: try row.text("outcome")) else {
            throw .decode("the outcome of a try")
        }
        number = Int(try row.int32("number"))
        endedAt = try row.timestamp("ended_at")
        self.outcome = outcome
        kind = try row.textIfPresent("kind").flatMap { ErrorKind(rawValue: $0) }
        duration = .milliseconds(try row.int64("duration_ms"))
        wait = try row.int64IfPresent("wait_ms").map { .milliseconds($0) }
        stop = try row.textIfPresent("stop")
        isNew = try row.bool("is_new")
    }
}

/// The table of tries, over all tenants: it takes their ids as data.
struct AttemptStore: Sendable {
    let pipeline: Pipeline

    /// The key that ids are signed with.
    func secret() async throws(PostgresError) -> [UInt8] {
        try await pipeline.execute(.signingKey).only().bytes(0)
    }

    /// Stores tries, each once. Makes the partitions of their days where there are none.
    func note(_ tries: [TryNote]) async throws(PostgresError) -> [StoredTry] {
        do throws(PostgresError) {
            return try await write(tries)
        } catch .checkViolation(constraint: "") {
            for day in Set(tries.map { $0.token.issuedAt.microseconds / 86_400_000_000 }) {
                let time = Timestamp(microseconds: day * 86_400_000_000)
                _ = try await pipeline.execute(
                    .makePartitions, [.text("attempt"), .timestamp(time), .int4(0)])
            }
            return try await write(tries)
        }
    }

    /// The tries of a permit, in order.
    func tries(of token: AttemptToken) async throws(PostgresError) -> [StoredTry] {
        let rows = try await pipeline.transaction(
            tenant: token.ticket.key.tenant.uuid,
            [(.attemptTries, [.timestamp(token.issuedAt), .uuid(token.id)])])
        var tries: [StoredTry] = []
        for row in rows[0] { tries.append(try StoredTry(row)) }
        return tries
    }

    private func write(_ tries: [TryNote]) async throws(PostgresError) -> [StoredTry] {
        let rows = try await pipeline.execute(
            .attemptsNote,
            [
                .uuids(tries.map(\.token.ticket.key.tenant.uuid)), .uuids(tries.map(\.token.id)),
                .int2s(tries.map { Int16(clamping: $0.number) }),
                .timestamps(tries.map(\.token.issuedAt)), .timestamps(tries.map(\.endedAt)),
                .texts(tries.map(\.token.operation)), .texts(tries.map(\.token.ticket.key.id)),
                .texts(tries.map(\.outcome.rawValue)), .optionalTexts(tries.map(\.kind?.rawValue)),
                .int8s(tries.map(\.duration.milliseconds)),
                .int8s(tries.map { $0.wait?.milliseconds ?? -1 }),
                .optionalTexts(tries.map(\.stop)),
            ])
        var stored: [StoredTry] = []
        for row in rows { stored.append(try StoredTry(row)) }
        guard stored.count == tries.count else { throw .decode("a try is missing") }
        return stored
    }
}

extension Statement {
    fileprivate static let signingKey = Statement(
        "signing_key", "SELECT secret FROM signing_key WHERE name = 'attempt'")
    fileprivate static let attemptsNote = Statement(
        "attempts_note",
        """
        SELECT * FROM bw_attempts_note($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ORDER BY ord
        """)
    fileprivate static let attemptTries = Statement(
        "attempt_tries",
        """
        SELECT number, ended_at, outcome, kind, duration_ms, wait_ms, stop, false AS is_new
        FROM   attempt WHERE tenant_id = bw_tenant() AND at = $1 AND id = $2 ORDER BY number
        """)
}
