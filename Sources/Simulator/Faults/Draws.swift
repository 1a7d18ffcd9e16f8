import Glibc
package import HTTP

/// Random numbers by number: draw `n` of a stream is the same whatever was drawn before it, so that
/// one fault's calls do not disturb another's.
struct Draws: Sendable {
    private let seed: UInt64
    private(set) var count: UInt64 = 0

    init(seed: UInt64, stream: UInt64) { self.seed = seed &+ stream &* 0xD1B5_4A32_D192_ED03 }

    /// The generator of the next draw.
    mutating func next() -> RandomSource {
        count &+= 1
        return RandomSource(seed: seed ^ count &* 0x2545_F491_4F6C_DD1D)
    }
}

extension RandomSource {
    /// Evenly from [0, 1).
    package mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Exponential with this mean.
    package mutating func exponential(mean: Double) -> Double { -mean * log(1 - unit()) }

    /// Standard normal, by Box and Muller.
    mutating func normal() -> Double {
        let radius = (-2 * log(1 - unit())).squareRoot()
        return radius * cos(2 * .pi * unit())
    }
}

extension RandomSource {
    /// With median 1.
    package mutating func logNormal(sigma: Double) -> Double { exp(sigma * normal()) }
}
