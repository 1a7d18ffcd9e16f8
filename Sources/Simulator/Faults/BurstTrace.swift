import HTTP
import IO

/// The good and bad times of a Gilbert-Elliott model, drawn as far as they are asked for.
struct BurstTrace: Sendable {
    private let settings: Intensity.Bursts
    private var draws: Draws
    private var isBadNow = false
    /// When the current time ends, seconds.
    private var end = 0.0

    /// Begins in the model's steady state: bad with probability `badShare`.
    init(_ settings: Intensity.Bursts, seed: UInt64, stream: UInt64) {
        self.settings = settings
        draws = Draws(seed: seed, stream: stream)
        var random = draws.next()
        isBadNow = random.unit() < settings.badShare
        end = length(&random)
    }

    private func length(_ random: inout RandomSource) -> Double {
        let meanBad = settings.meanBad.seconds
        let meanGood = meanBad * (1 - settings.badShare) / settings.badShare
        return random.exponential(mean: isBadNow ? meanBad : meanGood)
    }

    /// - Parameter now: not before that of an earlier call.
    mutating func isBad(at now: Duration) -> Bool {
        while end <= now.seconds {
            isBadNow.toggle()
            var random = draws.next()
            // An interval is never empty, so that this ends.
            end += max(length(&random), 0.000_001)
        }
        return isBadNow
    }
}
