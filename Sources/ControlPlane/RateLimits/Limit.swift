package import JSON

/// How much of something a window may hold.
package struct Limit: Hashable, Sendable {
    package enum Mode: String, Hashable, Sendable {
        /// What is over it is denied.
        case enforce
        /// What is over it is admitted and told: for trying a limit out.
        case shadow
    }

    /// Units, 0 to 10⁹.
    package let limit: Int64
    /// The rolling window in seconds, 1 to 31 days.
    package let window: Int32
    package let mode: Mode
    /// The share of the limit, 0 to 1, from which answers warn.
    package let warnAt: Double

    package static let units = 0...1_000_000_000
    package static let windows = 1...2_678_400
    /// Limits of one policy.
    package static let maxCount = 8
    /// The longest window that the hourly partitioned log holds, 24 h in seconds.
    package static let longestHotWindow: Int32 = 86_400

    package init(limit: Int64, window: Int32, mode: Mode = .enforce, warnAt: Double = 0.8) {
        self.limit = limit
        self.window = window
        self.mode = mode
        self.warnAt = warnAt
    }

    var isLong: Bool { window > Self.longestHotWindow }
}

extension Limit: JSONReadable, JSONWritable {
    package init(from reader: inout JSONReader) throws(JSONError) {
        var limit: Int?
        var window: Int?
        var mode = Mode.enforce
        var warnAt = 0.8
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "limit": limit = try reader.readInt(in: Self.units)
            case "windowS": window = try reader.readInt(in: Self.windows)
            case "mode":
                guard let known = Mode(rawValue: try reader.readString(maxBytes: 16)) else {
                    throw reader.failure(.range, "must be enforce or shadow")
                }
                mode = known
            case "warnAt":
                warnAt = try reader.readDouble()
                guard (0...1).contains(warnAt) else {
                    throw reader.failure(.range, "must be from 0 to 1")
                }
            default: throw reader.unknownField(key)
            }
        }
        self.init(
            limit: Int64(try reader.require(limit, "limit")),
            window: Int32(try reader.require(window, "windowS")), mode: mode, warnAt: warnAt)
    }

    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.member("limit", limit)
            $0.member("windowS", window)
            $0.member("mode", mode.rawValue)
            $0.member("warnAt", warnAt)
        }
    }
}

extension JSONReader {
    /// 1 to `Limit.maxCount` limits; no two of one window and mode.
    package mutating func readLimits() throws(JSONError) -> [Limit] {
        var limits: [Limit] = []
        try readArray(maxCount: Limit.maxCount) { _, reader throws(JSONError) in
            let limit = try Limit(from: &reader)
            guard !limits.contains(where: { $0.window == limit.window && $0.mode == limit.mode })
            else { throw reader.failure(.range, "has the window and mode of an earlier one") }
            limits.append(limit)
        }
        if limits.isEmpty { throw failure(.count, "must have at least one limit") }
        return limits
    }
}

/// Limits as they stand in the database.
struct StoredLimits: JSONReadable {
    let limits: [Limit]
    init(from reader: inout JSONReader) throws(JSONError) { limits = try reader.readLimits() }
}

/// Where a limit comes from.
package enum LimitSource: Hashable, Sendable {
    /// The policy of the operation.
    case operation
    /// The policy of all operations together, `*`.
    case tenant
    /// What operations without a policy have.
    case standard
    /// The caller's own `maxPerHour`, which can only tighten.
    case call
    /// None: the count of the hour, for answers that have to name one.
    case count
}

/// A limit that applies to a call.
package struct AppliedLimit: Hashable, Sendable {
    package let source: LimitSource
    package let limit: Limit

    /// Counts all operations of the tenant together.
    package var isWide: Bool { source == .tenant }
    package var isEnforced: Bool { limit.mode == .enforce && source != .count }

    package init(_ source: LimitSource, _ limit: Limit) {
        self.source = source
        self.limit = limit
    }
}
