internal import IO
internal import JSON
package import Postgres

/// A breaker's row, and the database's clock when it was read.
package struct BreakerSnapshot: Hashable, Sendable {
    package let machine: BreakerMachine
    /// 0: there is no row.
    package let version: Int64
    let clock: Timestamp
    let readAt: MonotonicInstant
    /// Made while the database was away; the next one that is read takes its place.
    var isLocal = false

    /// The database's time now, at the earliest.
    func now(_ instant: MonotonicInstant = .now) -> Timestamp {
        clock + readAt.duration(to: instant)
    }
}

/// Something that happens to a breaker, and who did it.
package struct BreakerChange: Hashable, Sendable {
    package let key: BreakerKey
    package let input: BreakerInput
    package let policy: BreakerPolicy
    /// Who, if it is an operator's act: it is audited.
    package var actor: Actor?
    package var reason: String?

    package init(key: BreakerKey, input: BreakerInput, policy: BreakerPolicy) {
        self.key = key
        self.input = input
        self.policy = policy
    }
}

package struct BreakerChanged: Hashable, Sendable {
    package let answer: BreakerAnswer
    package let snapshot: BreakerSnapshot
    package let moves: [BreakerMove]
}

/// Brings changes to the rows: read, decide, write if nobody wrote meanwhile, else read anew.
///
/// Two statements, one round trip each, and no lock between them. With the row goes the clock: who was
/// overtaken writes nothing, so no decision rests on a time from before another's.
package struct BreakerStore: Sendable {
    let pipeline: Pipeline
    private let instance: String
    private let maxConflicts: Int
    private let random: @Sendable () -> Double

    /// - Parameters:
    ///   - maxConflicts: writes in a row that others may overtake before `.serialization`.
    ///   - random: 0 to 1, for the jitter of open times.
    package init(
        _ pipeline: Pipeline, instance: String, maxConflicts: Int = 50,
        random: @escaping @Sendable () -> Double = { .random(in: 0...1) }
    ) {
        self.pipeline = pipeline
        self.instance = instance
        self.maxConflicts = maxConflicts
        self.random = random
    }

    /// Answers each change, in the order given; those of one breaker are applied in that order.
    package func apply(_ changes: [BreakerChange]) async -> [Result<BreakerChanged, PostgresError>] {
        var outcomes = [Result<BreakerChanged, PostgresError>?](repeating: nil, count: changes.count)
        var groups: [BreakerKey: [Int]] = [:]
        for (index, change) in changes.enumerated() { groups[change.key, default: []].append(index) }
        var left = Array(groups.keys)
        do throws(PostgresError) {
            for _ in 0...maxConflicts where !left.isEmpty {
                var works: [Work] = []
                for (key, snapshot) in zip(left, try await read(left)) {
                    works.append(decide(key, groups[key] ?? [], changes, snapshot))
                }
                let isWritten = try await write(works)
                left = []
                for (work, isWritten) in zip(works, isWritten) {
                    guard isWritten else {
                        left.append(work.key)
                        continue
                    }
                    for (index, changed) in work.answers { outcomes[index] = .success(changed) }
                }
            }
        } catch {
            return outcomes.map { $0 ?? .failure(error) }
        }
        return outcomes.map { $0 ?? .failure(.serialization) }
    }

    /// What changed within `span`, or all there is.
    package func changed(
        within span: Duration?
    ) async throws(PostgresError) -> [(key: BreakerKey, snapshot: BreakerSnapshot)] {
        try snapshots([
            await pipeline.execute(.breakersChanged, [.int8(span.map(\.milliseconds))])
        ])
    }

    /// Rows of tenant, id, version, machine and clock, read just now.
    func snapshots(
        _ answers: [Rows]
    ) throws(PostgresError) -> [(key: BreakerKey, snapshot: BreakerSnapshot)] {
        let readAt = MonotonicInstant.now
        var all: [(key: BreakerKey, snapshot: BreakerSnapshot)] = []
        guard let rows = answers.first else { return all }
        for row in rows {
            guard let key = BreakerKey(Tenant.ID(try row.uuid(0)), id: try row.text(1)) else {
                throw .decode("a breaker's id")
            }
            let snapshot = BreakerSnapshot(
                machine: try machine(try row.text(3)), version: try row.int64(2),
                clock: try row.timestamp(4), readAt: readAt)
            all.append((key, snapshot))
        }
        return all
    }
}

extension BreakerStore {
    /// What is to be written of one breaker, and the answers to its changes.
    private struct Work {
        let key: BreakerKey
        let expected: Int64
        let before: BreakerMachine
        var machine: BreakerMachine
        var moves: [(move: BreakerMove, change: BreakerChange)] = []
        var answers: [(index: Int, changed: BreakerChanged)] = []

        var isChanged: Bool {
            var unseen = machine
            // A row is not written for the time alone, unless its own is far ahead.
            if machine.seenAt > before.seenAt { unseen.seenAt = before.seenAt }
            return unseen != before
        }
    }

    private func decide(
        _ key: BreakerKey, _ indices: [Int], _ changes: [BreakerChange], _ read: BreakerSnapshot
    ) -> Work {
        var work = Work(
            key: key, expected: read.version, before: read.machine, machine: read.machine)
        var answers: [(index: Int, answer: BreakerAnswer, moves: [BreakerMove])] = []
        for index in indices {
            var moves: [BreakerMove] = []
            let answer = work.machine.apply(
                changes[index].input, at: read.clock, changes[index].policy, random: random(),
                moves: &moves)
            answers.append((index, answer, moves))
            work.moves += moves.map { ($0, changes[index]) }
        }
        let after = BreakerSnapshot(
            machine: work.machine, version: read.version + (work.isChanged ? 1 : 0),
            clock: read.clock, readAt: read.readAt)
        work.answers = answers.map {
            ($0.index, BreakerChanged(answer: $0.answer, snapshot: after, moves: $0.moves))
        }
        return work
    }

    private func read(_ keys: [BreakerKey]) async throws(PostgresError) -> [BreakerSnapshot] {
        let rows = try await pipeline.execute(
            .breakersRead, [.uuids(keys.map(\.tenant.uuid)), .texts(keys.map(\.id))])
        let readAt = MonotonicInstant.now
        var snapshots: [BreakerSnapshot] = []
        for row in rows {
            let text = try row.textIfPresent(2)
            snapshots.append(
                BreakerSnapshot(
                    machine: try text.map { text throws(PostgresError) in try machine(text) }
                        ?? BreakerMachine(),
                    version: try row.int64(1), clock: try row.timestamp(3), readAt: readAt))
        }
        guard snapshots.count == keys.count else { throw .decode("a breaker is missing") }
        return snapshots
    }

    /// Whether each was written, or had nothing to write.
    private func write(_ works: [Work]) async throws(PostgresError) -> [Bool] {
        var isWritten = works.map { !$0.isChanged }
        let changed = works.indices.filter { works[$0].isChanged }
        guard !changed.isEmpty else { return isWritten }
        var moves = JSONWriter()
        moves.array { writer in
            for (ord, index) in changed.enumerated() {
                for (move, change) in works[index].moves {
                    writer.object { move.write(to: &$0, breaker: ord + 1, change) }
                }
            }
        }
        let writes = changed.map { works[$0] }
        let rows = try await pipeline.execute(
            .breakersWrite,
            [
                .uuids(writes.map(\.key.tenant.uuid)), .texts(writes.map(\.key.id)),
                .int8s(writes.map(\.expected)), .int8s(writes.map(\.machine.generation)),
                .texts(writes.map(\.machine.label)),
                .texts(writes.map { String(decoding: $0.machine.encoded(), as: UTF8.self) }),
                .text(String(decoding: moves.bytes, as: UTF8.self)), .text(instance),
            ])
        for row in rows {
            let ord = Int(try row.int32(0))
            guard changed.indices.contains(ord - 1) else { throw .decode("no such breaker") }
            isWritten[changed[ord - 1]] = try row.bool(1)
        }
        return isWritten
    }
}

extension BreakerMove {
    fileprivate func write(to writer: inout JSONWriter, breaker: Int, _ change: BreakerChange) {
        writer.member("breaker", breaker)
        writer.member("generation", generation)
        writer.member("from", from)
        writer.member("to", to)
        writer.member("cause", cause.rawValue)
        writer.member("at", at.microseconds)
        writer.member("failures", failureCount)
        writer.member("openUntil", ifPresent: openUntil?.microseconds)
        guard let actor = change.actor else { return }
        writer.member("actor", actor.name)
        writer.member("reason", ifPresent: change.reason)
        writer.member("auditId", UUID.v7().description)
        writer.member("requestId", ifPresent: actor.requestID)
    }
}

private func machine(_ text: String) throws(PostgresError) -> BreakerMachine {
    do throws(JSONError) {
        return try JSONReader.decode(BreakerMachine.self, from: Array(text.utf8))
    } catch {
        throw .decode("a breaker's machine: \(error)")
    }
}

extension Statement {
    fileprivate static let breakersRead = Statement(
        "breakers_read", "SELECT * FROM bw_breakers_read($1, $2) ORDER BY ord")
    fileprivate static let breakersWrite = Statement(
        "breakers_write", "SELECT * FROM bw_breakers_write($1, $2, $3, $4, $5, $6, $7, $8)")
    fileprivate static let breakersChanged = Statement(
        "breakers_changed",
        "SELECT * FROM bw_breakers_changed($1 * interval '1 millisecond')")
}
