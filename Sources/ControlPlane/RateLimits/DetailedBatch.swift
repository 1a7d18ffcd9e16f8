internal import JSON
internal import Postgres

/// A decision that needs more than one limit over its own key: several limits at once, shadow ones,
/// limits over all operations, windows over 24 h, or an identity. Equal ones become one element.
struct DetailedCall: Hashable, Sendable {
    let key: UsageKey
    let cost: Int32
    /// Of the policies that `limits` and `logs` are from.
    let version: Int64
    /// See `PolicySet.logs(for:)`.
    let logs: Int16
    let limits: [AppliedLimit]
    let identity: Ask.Identity?
}

enum DetailedAnswer: Hashable, Sendable {
    case verdict(Verdict)
    /// The tenant's policies are not those that the call was made with.
    case outdated
    /// Its idempotency key was used with another request.
    case mismatch
}

/// Calls merged to elements of one `bw_decide`, and its rows handed back to the calls. Pure.
struct DetailedBatch: Sendable {
    struct Row: Sendable {
        let ord: Int
        let outcome: String
        let admitted: Int32
        let at: Timestamp?
        let retryAt: Timestamp?
        let decider: Int32?
        let used: [Int64]
        let firstAt: [Timestamp?]
        let reply: String?
    }

    private(set) var elements: [DetailedCall] = []
    private(set) var counts: [Int32] = []
    private var places: [(element: Int, place: Int32)] = []

    /// Merges a prefix of `calls`, at most `maxElements` elements; each holds up to three locks.
    init(_ calls: ArraySlice<DetailedCall>, maxElements: Int) {
        var elementOf: [DetailedCall: Int] = [:]
        for call in calls {
            if let element = elementOf[call], call.identity == nil,
                Int64(counts[element] + 1) * Int64(call.cost) <= Int64(Int32.max)
            {
                places.append((element, counts[element]))
                counts[element] += 1
                continue
            }
            if elements.count == maxElements { break }
            elementOf[call] = elements.count
            places.append((elements.count, 0))
            elements.append(call)
            counts.append(1)
        }
    }

    /// How many calls it holds.
    var callCount: Int { places.count }

    /// The parameters of `bw_decide`; `now` is a test's clock.
    func parameters(now: Timestamp?) -> [Parameter] {
        let limits = elements.enumerated().flatMap { index, call in
            call.limits.map { (element: Int32(index + 1), limit: $0) }
        }
        let identities = elements.map(\.identity)
        return [
            .uuids(elements.map(\.key.tenant.uuid)),
            .int2s(elements.map(\.key.operation)),
            .int4s(elements.map(\.cost)),
            .int4s(counts),
            .int8s(elements.map(\.version)),
            .int2s(elements.map(\.logs)),
            .int4s(limits.map(\.element)),
            .bools(limits.map(\.limit.isWide)),
            .int4s(limits.map(\.limit.limit.window)),
            .int8s(limits.map(\.limit.limit.limit)),
            .bools(limits.map(\.limit.isEnforced)),
            .optionalTexts(identities.map { $0?.id.description }),
            .optionalTexts(identities.map { $0?.labels }),
            .optionalTexts(
                identities.map { $0?.idempotency.map { hexadecimal($0.keyHash.octets) } }),
            .optionalTexts(
                identities.map { $0?.idempotency.map { hexadecimal($0.requestHash.octets) } }),
            .timestamp(now),
        ]
    }

    /// One answer a call, in the order of the calls; nil where a row is missing or makes no sense.
    func answers(_ rows: [Row]) -> [DetailedAnswer?] {
        var byElement = [Row?](repeating: nil, count: elements.count)
        for row in rows where byElement.indices.contains(row.ord - 1) {
            byElement[row.ord - 1] = row
        }
        return places.map { place in
            guard let row = byElement[place.element] else { return nil }
            let call = elements[place.element]
            return switch row.outcome {
            case "outdated": .outdated
            case "mismatch": .mismatch
            case "replayed": Verdict(reply: row.reply ?? "", to: call).map { .verdict($0) }
            default: Verdict(row, call, place: place.place).map { .verdict($0) }
            }
        }
    }
}

extension Verdict {
    /// The decision on the call at `place` among an element's equal ones.
    fileprivate init?(_ row: DetailedBatch.Row, _ call: DetailedCall, place: Int32) {
        guard let at = row.at, row.used.count == call.limits.count,
            row.firstAt.count == call.limits.count
        else { return nil }
        let isAdmitted = place < row.admitted
        let own = Int64(call.cost) * Int64(isAdmitted ? place + 1 : row.admitted)
        let limits = call.limits.indices.map { index in
            let window = Duration.seconds(call.limits[index].limit.window)
            let oldest = row.firstAt[index] ?? (own > 0 ? at : nil)
            return LimitState(
                call.limits[index], count: row.used[index] + own,
                nextFreeIn: oldest.map { max($0 + window - at, .zero) })
        }
        if isAdmitted {
            self.init(.admitted(at: at), limits: limits, id: call.identity?.id)
        } else {
            self.init(
                .denied(retryAfter: row.retryAt.map { max($0 - at, .zero) }), limits: limits,
                decider: row.decider.map { Int($0) - 1 })
        }
    }

    /// What an earlier call was answered, as `bw_decide` kept it.
    fileprivate init?(reply: String, to call: DetailedCall) {
        guard let kept = try? JSONReader.decode(KeptReply.self, from: Array(reply.utf8)) else {
            return nil
        }
        let limits = kept.limits.map { limit in
            let applied = call.limits.first {
                $0.isWide == limit.isWide && $0.limit.window == limit.window
                    && $0.limit.limit == limit.limit && $0.isEnforced == limit.isEnforced
            }
            let other = AppliedLimit(
                limit.isWide ? .tenant : .operation,
                Limit(
                    limit: limit.limit, window: limit.window,
                    mode: limit.isEnforced ? .enforce : .shadow))
            return LimitState(
                applied ?? other, count: limit.used + Int64(call.cost), nextFreeIn: nil)
        }
        self.init(.admitted(at: kept.at), limits: limits, id: kept.id, isReplay: true)
    }
}

/// `{"id", "at": microseconds, "limits": [[wide, windowS, limit, enforced, used]]}`
private struct KeptReply: JSONReadable {
    struct Kept {
        let isWide: Bool
        let window: Int32
        let limit: Int64
        let isEnforced: Bool
        let used: Int64
    }

    let id: UUID?
    let at: Timestamp
    let limits: [Kept]

    init(from reader: inout JSONReader) throws(JSONError) {
        var id: UUID?
        var at = 0
        var limits: [Kept] = []
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "id": id = UUID(try reader.readString(maxBytes: 36))
            case "at": at = try reader.readInt(in: Int.min...Int.max)
            default: limits = try reader.readKept()
            }
        }
        self.id = id
        self.at = Timestamp(microseconds: Int64(at))
        self.limits = limits
    }
}

extension JSONReader {
    fileprivate mutating func readKept() throws(JSONError) -> [KeptReply.Kept] {
        var all: [KeptReply.Kept] = []
        try readArray(maxCount: 100) { _, reader throws(JSONError) in
            var flags: [Bool] = []
            var numbers: [Int] = []
            try reader.readArray(maxCount: 5) { _, reader throws(JSONError) in
                if try reader.peek() == .bool {
                    flags.append(try reader.readBool())
                } else {
                    numbers.append(try reader.readInt(in: Int.min...Int.max))
                }
            }
            guard flags.count == 2, numbers.count == 3, let window = Int32(exactly: numbers[0])
            else { throw reader.failure(.count, "is no kept limit") }
            all.append(
                KeptReply.Kept(
                    isWide: flags[0], window: window, limit: Int64(numbers[1]),
                    isEnforced: flags[1], used: Int64(numbers[2])))
        }
        return all
    }
}

extension DetailedBatch.Row {
    init(_ row: Row) throws(PostgresError) {
        ord = Int(try row.int32(0))
        outcome = try row.text(1)
        admitted = try row.int32(2)
        at = try row.timestampIfPresent(3)
        retryAt = try row.timestampIfPresent(4)
        decider = try row.int32IfPresent(5)
        used = try row.int64s(6)
        firstAt = try row.optionalTimestamps(7)
        reply = try row.textIfPresent(8)
    }
}
