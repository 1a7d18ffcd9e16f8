/// Random words for request ids: xoshiro256++ (Blackman, Vigna 2019), seeded by the system.
///
/// Ids must be unlike each other, not secret; the system's own generator is a call to the kernel
/// each time.
package struct RandomSource: RandomNumberGenerator, Sendable {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    package init() {
        var system = SystemRandomNumberGenerator()
        state = (system.next(), system.next(), system.next(), system.next() | 1)
    }

    /// The same words for the same seed, for tests.
    package init(seed: UInt64) {
        var value = seed
        func next() -> UInt64 {
            value &+= 0x9E37_79B9_7F4A_7C15
            var mixed = (value ^ value &>> 30) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ mixed &>> 27) &* 0x94D0_49BB_1331_11EB
            return mixed ^ mixed &>> 31
        }
        state = (next(), next(), next(), next() | 1)
    }

    package mutating func next() -> UInt64 {
        func rotated(_ word: UInt64, _ by: UInt64) -> UInt64 { word &<< by | word &>> (64 &- by) }
        let result = rotated(state.0 &+ state.3, 23) &+ state.0
        let shifted = state.1 &<< 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = rotated(state.3, 45)
        return result
    }
}
