package import Postgres

/// Calls merged to elements of one `bw_acquire`, and its rows handed back to the calls.
///
/// Pure: calls in, arrays out; rows in, decisions out. Equal calls become one element with `n`;
/// different ones of one key go to different rounds, which the function decides one after another.
package struct LedgerBatch: Sendable {
    /// What one row of `bw_acquire` says.
    package struct Row: Hashable, Sendable {
        package let ord: Int
        package let admitted: Int32
        package let used: Int64
        package let at: Timestamp
        package let retryAt: Timestamp?

        package init(ord: Int, admitted: Int32, used: Int64, at: Timestamp, retryAt: Timestamp?) {
            self.ord = ord
            self.admitted = admitted
            self.used = used
            self.at = at
            self.retryAt = retryAt
        }
    }

    package private(set) var elements: [LedgerCall] = []
    /// How many calls each element stands for.
    package private(set) var counts: [Int32] = []
    package private(set) var rounds: [Int16] = []
    /// Distinct keys, each a lock.
    package private(set) var keyCount = 0
    /// Of each call, its element and its place among the element's calls.
    private var places: [(element: Int, place: Int32)] = []

    /// Merges a prefix of `calls` that touches at most `maxKeys` keys; answers how many it took.
    package init(_ calls: ArraySlice<LedgerCall>, maxKeys: Int) {
        places.reserveCapacity(calls.count)
        var elementOf: [LedgerCall: Int] = [:]
        var roundsOf: [UsageKey: Int16] = [:]
        for call in calls {
            if let element = elementOf[call], Self.fits(counts[element] + 1, of: call.cost) {
                places.append((element, counts[element]))
                counts[element] += 1
                continue
            }
            let round = roundsOf[call.key] ?? 0
            if round == 0 {
                if roundsOf.count == maxKeys { break }
                keyCount += 1
            }
            roundsOf[call.key] = round + 1
            elementOf[call] = elements.count
            places.append((elements.count, 0))
            elements.append(call)
            counts.append(1)
            rounds.append(round)
        }
    }

    /// How many calls it holds.
    package var callCount: Int { places.count }

    /// An element's units are one `int` in the log.
    private static func fits(_ count: Int32, of cost: Int32) -> Bool {
        Int64(count) * Int64(cost) <= Int64(Int32.max)
    }

    /// The parameters of `bw_acquire`; `now` is a test's clock.
    package func parameters(now: Timestamp?) -> [Parameter] {
        [
            .uuids(elements.map(\.key.tenant.uuid)),
            .int2s(elements.map(\.key.operation)),
            .int4s(elements.map(\.cost)),
            .int4s(counts),
            .int8s(elements.map { $0.limit ?? -1 }),
            .int4s(elements.map(\.window)),
            .int2s(rounds),
            .timestamp(now),
        ]
    }

    /// One decision a call, in the order of the calls; nil where a row is missing.
    package func decisions(_ rows: [Row]) -> [LedgerDecision?] {
        var byElement = [Row?](repeating: nil, count: elements.count)
        for row in rows where byElement.indices.contains(row.ord - 1) {
            byElement[row.ord - 1] = row
        }
        return places.map { place in
            guard let row = byElement[place.element] else { return nil }
            let cost = Int64(elements[place.element].cost)
            if place.place < row.admitted {
                return .admitted(count: row.used + cost * Int64(place.place + 1), at: row.at)
            }
            return .denied(
                count: row.used + cost * Int64(row.admitted),
                retryAfter: row.retryAt.map { max($0 - row.at, .zero) })
        }
    }
}

extension LedgerBatch.Row {
    init(_ row: Row) throws(PostgresError) {
        ord = Int(try row.int32(0))
        admitted = try row.int32(1)
        used = try row.int64(2)
        at = try row.timestamp(3)
        retryAt = try row.timestampIfPresent(4)
    }
}
