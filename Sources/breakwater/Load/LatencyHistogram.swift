import IO

/// How long calls took, in buckets that are at most 1/64 of their value wide.
struct LatencyHistogram: Sendable {
    private var buckets = [Int](repeating: 0, count: 58 * 64 + 64)
    private(set) var count = 0
    /// Nanoseconds.
    private(set) var max: Int64 = 0
    private var sum: Int64 = 0

    mutating func add(_ duration: Duration) { add(nanoseconds: duration.nanoseconds) }

    mutating func add(nanoseconds: Int64) {
        let value = Swift.max(nanoseconds, 0)
        buckets[Self.bucket(UInt64(value))] += 1
        count += 1
        sum &+= value
        max = Swift.max(max, value)
    }

    /// Nanoseconds; 0 if there is none.
    var mean: Double { count == 0 ? 0 : Double(sum) / Double(count) }

    /// The time in nanoseconds that the share `quantile` of the calls did not exceed: the end of its
    /// bucket, never over the maximum. 0 if there is none.
    func value(at quantile: Double) -> Int64 {
        guard count > 0 else { return 0 }
        let rank = Swift.max(1, Int((quantile * Double(count)).rounded(.up)))
        var seen = 0
        for (index, calls) in buckets.enumerated() {
            seen += calls
            if seen >= rank { return min(Int64(clamping: Self.end(of: index)), max) }
        }
        return max
    }

    /// Up to 127 each value has its own; then each doubling has 64.
    private static func bucket(_ value: UInt64) -> Int {
        let shift = Swift.max(0, 57 - value.leadingZeroBitCount)
        return shift * 64 + Int(value >> UInt64(shift))
    }

    private static func end(of bucket: Int) -> UInt64 {
        let shift = Swift.max(0, bucket / 64 - 1)
        return ((UInt64(bucket - shift * 64) + 1) << UInt64(shift)) - 1
    }
}
