/// What became of creations that carried an `Idempotency-Key`, for a day each and at most 10,000.
struct IdempotencyRecords: Sendable {
    enum Outcome: Sendable {
        case inProgress
        case created(Int)
        /// The provider lost track of it.
        case unknown
    }

    private struct Record: Sendable {
        let body: Int
        let madeAt: Duration
        let serial: Int
        var outcome: Outcome
    }

    private struct Key: Hashable, Sendable {
        let team: Inventory.Team
        let text: String
    }

    private static let lifetime: Duration = .seconds(86_400)
    private var records: [Key: Record] = [:]
    private var order = Ring<(key: Key, serial: Int)>(10_000)
    private var serial = 0

    /// The number of the sandbox that this key has made; nil if the call is the first, which is then in
    /// progress until `finish` or `forget`.
    mutating func begin(
        _ text: String, _ team: Inventory.Team, _ body: [UInt8], at now: Duration
    ) throws(ProviderError) -> Int? {
        let key = Key(team: team, text: text)
        // A hash of 64 bits: bodies may be long, and nobody gains by finding two alike.
        let body = body.hashValue
        if let record = records[key], now - record.madeAt < Self.lifetime {
            guard record.body == body else { throw .idempotencyMismatch }
            switch record.outcome {
            case .inProgress: throw .idempotencyInProgress
            case .unknown: throw .idempotencyUnknown
            case .created(let number): return number
            }
        }
        serial += 1
        records[key] = Record(body: body, madeAt: now, serial: serial, outcome: .inProgress)
        if let oldest = order.append((key, serial)), records[oldest.key]?.serial == oldest.serial {
            records[oldest.key] = nil
        }
        return nil
    }

    mutating func finish(_ text: String, _ team: Inventory.Team, _ outcome: Outcome) {
        records[Key(team: team, text: text)]?.outcome = outcome
    }

    /// Nothing came of it: the key may be used again.
    mutating func forgetUnfinished(_ text: String, _ team: Inventory.Team) {
        let key = Key(team: team, text: text)
        if case .inProgress? = records[key]?.outcome { records[key] = nil }
    }
}
