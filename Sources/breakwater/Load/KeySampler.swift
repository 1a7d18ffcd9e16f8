import Glibc

/// Draws numbers of keys, always the same sequence: two runs ask the same.
struct KeySampler: Sendable {
    enum Distribution: String, CaseIterable, Sendable {
        /// Key k as often as 1 / (k + 1).
        case zipf
        case uniform
        case one
    }

    private let count: Int
    /// Of the keys up to this one, the share of draws; empty unless zipf.
    private let shares: [Double]
    private var random = SplitMix64(state: 1)

    /// - Parameter count: keys, at least 1.
    init(_ distribution: Distribution, count: Int) {
        precondition(count > 0)
        self.count = distribution == .one ? 1 : count
        guard distribution == .zipf else {
            shares = []
            return
        }
        let weights = (1...count).map { 1 / Double($0) }
        let total = weights.reduce(0, +)
        var sum = 0.0
        shares = weights.map {
            sum += $0
            return sum / total
        }
    }

    /// A number from 0 up to `count`.
    mutating func next() -> Int {
        if count == 1 { return 0 }
        if shares.isEmpty { return Int.random(in: 0..<count, using: &random) }
        let share = Double.random(in: 0..<1, using: &random)
        var (low, high) = (0, count - 1)
        while low < high {
            let middle = (low + high) / 2
            if shares[middle] > share { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014). Not for secrets.
struct SplitMix64: RandomNumberGenerator, Sendable {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
