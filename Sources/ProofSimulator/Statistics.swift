/// A mean over the seeds, and half of its 95 % interval.
struct Estimate: Hashable, Sendable {
    let mean: Double
    let half: Double

    /// Of values of independent seeds, by Student's t.
    init(of values: [Double]) {
        let mean = Self.mean(values)
        self.mean = mean
        half = Self.half(values.map { $0 - mean })
    }

    /// By how much less `values` are than `base` in all, seed by seed from the same faults: 1 - the ratio
    /// of their sums, with the interval of a ratio's linear part (Cochran 1977, 6.4).
    init?(reductionTo values: [Double], from base: [Double]) {
        let whole = Self.mean(base)
        guard whole > 0 else { return nil }
        let ratio = Self.mean(values) / whole
        mean = 1 - ratio
        half = Self.half(zip(values, base).map { ($0 - ratio * $1) / whole })
    }

    private static func mean(_ values: [Double]) -> Double {
        values.reduce(0, +) / Double(max(values.count, 1))
    }

    /// - Parameter deviations: from their mean.
    private static func half(_ deviations: [Double]) -> Double {
        guard deviations.count > 1 else { return 0 }
        let free = Double(deviations.count - 1)
        let variance = deviations.reduce(0) { $0 + $1 * $1 } / free
        // Student's t for 95 %: within 0.2 % from 10 degrees of freedom on.
        let t = 1.96 + 2.37 / free + 2.8 / (free * free)
        return t * (variance / Double(deviations.count)).squareRoot()
    }
}
