import ControlPlane
import HTTP
import IO
import Testing

@testable import ProofSimulator

@Suite struct `The fault models` {
    private func model(_ id: String) throws -> FaultModel {
        try #require(FaultModel.all.first { $0.id == id })
    }

    @Test(arguments: [("F1-0.2", 0.002), ("F1-1", 0.01), ("F1-5", 0.05)])
    func `let independent errors hit as many calls as they say`(id: String, share: Double) throws {
        var provider = SimulatedProvider(try model(id), seed: 7, timeout: .seconds(10))
        let calls = 100_000
        let failed = (0..<calls).count {
            provider.call(
                request: $0, attempt: 1, tenant: 0, at: Double($0) * 0.03
            ).error != nil
        }
        let sigma = (Double(calls) * share * (1 - share)).squareRoot()
        #expect(abs(Double(failed) - Double(calls) * share) < 4 * sigma, "\(failed)")
    }

    @Test func `hang 30 of 100 errors and answer half of them with 500`() throws {
        var provider = SimulatedProvider(try model("F1-5"), seed: 8, timeout: .seconds(10))
        let errors = (0..<100_000).compactMap {
            provider.call(request: $0, attempt: 1, tenant: 0, at: Double($0) * 0.03).error
        }
        let share = { (count: Int) in Double(count) / Double(errors.count) }
        #expect(abs(share(errors.count { $0.status == nil }) - 0.3) < 0.03)
        #expect(abs(share(errors.count { $0.status == 500 }) - 0.5) < 0.03)
    }

    @Test(arguments: [5.0, 20, 120]) func `give bursts their length and their share`(mean: Double) {
        var random = RandomSource(seed: 9)
        let length = 3_000_000.0
        let weather = Weather(
            Weather.bursts(
                until: length, meanBad: mean, badShare: 0.02, good: 0, bad: 0.6, &random))
        let lengths = weather.badTimes.map { $0.end - $0.start }
        // The deviation of an exponential length is its mean.
        let sigma = mean / Double(lengths.count).squareRoot()
        #expect(abs(lengths.reduce(0, +) / Double(lengths.count) - mean) < 4 * sigma)
        #expect(abs(lengths.reduce(0, +) / length - 0.02) < 0.003)
    }

    @Test func `let the outage come and go as reported`() throws {
        var random = RandomSource(seed: 1)
        var weather = Weather(try model("F3").phases(&random))
        let shares = [0, 29.9, 30, 40, 62.9, 63, 68.5, 80, 100].map { minute in
            weather.at(minute * 60).failing
        }
        #expect(shares.prefix(6) == [0.002, 0.002, 0.3, 1, 1, 0.2])
        #expect(abs(shares[6] - 0.1) < 1e-9 && shares[7] == 0.002 && shares[8] == 0)
        #expect(weather.badTimes.map(\.start) == [2400] && weather.badTimes.map(\.end) == [3780])
    }

    @Test func `admit no more than the rate, and say when to come back`() throws {
        var provider = SimulatedProvider(try model("F5-5"), seed: 1, timeout: .seconds(10))
        let answers = (0..<60).map {
            provider.call(request: $0, attempt: 1, tenant: 0, at: 300)
        }
        #expect(answers.count { $0.error == nil } == 5)
        #expect(answers.last?.error?.retryAfter == .seconds(1))
        let later = provider.call(request: 60, attempt: 1, tenant: 0, at: 300.2)
        #expect(later.error == nil)
    }

    @Test func `mean the same luck for the same try, whatever was called before`() throws {
        var (one, other) = (
            SimulatedProvider(try model("F2-20"), seed: 3, timeout: .seconds(10)),
            SimulatedProvider(try model("F2-20"), seed: 3, timeout: .seconds(10))
        )
        for request in 0..<2000 {
            let first = one.call(request: request, attempt: 1, tenant: 0, at: Double(request))
            _ = other.call(request: request, attempt: 2, tenant: 0, at: Double(request))
            let again = other.call(request: request, attempt: 1, tenant: 0, at: Double(request))
            #expect(first.after == again.after && first.error == again.error)
        }
    }

    @Test func `hit one tenant alone where they say so`() throws {
        var provider = SimulatedProvider(try model("F9"), seed: 1, timeout: .seconds(10))
        let error = { (tenant: Int) in
            provider.call(request: tenant, attempt: 1, tenant: tenant, at: 1800).error
        }
        #expect(error(1)?.status == 500 && error(2) == nil)
    }
}
