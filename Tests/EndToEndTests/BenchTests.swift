import Foundation
import JSON
import TestSupport
import Testing

@testable import breakwater

@Suite(.proves("H8"), .timeLimit(.minutes(3))) struct `The load command` {
    private func bench(
        _ scratch: Scratch, _ instance: Instance, key: String, _ options: String...
    ) async throws -> (end: Child.End, document: JSONValue) {
        let outcome = try await scratch.run(
            ["bench", "--url", instance.url, "--key", key, "--warm-up", "0.1", "--json"] + options)
        return (
            outcome.end,
            try #require(JSONValue(outcome.output), "\(outcome.output) \(outcome.errors)")
        )
    }

    @Test func `counts what the service counts`() async throws {
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(database: url)
            let tenant = try await instance.tenant()
            let (end, report) = try await bench(
                scratch, instance, key: tenant.key, "--duration", "1", "--connections", "8",
                "--pipeline", "3", "--keys", "20", "--cost", "2", "--server-pid",
                "\(instance.child.pid)")
            #expect(end == .exited(0))
            let requests = try #require(report["requests"]?.integer)
            #expect(requests > 50)
            #expect(report["statuses"]?["201"]?.integer == requests)
            #expect(report["call"]?.text == "record")
            #expect(report["keys"]?.integer == 20)
            guard case .object(let errors)? = report["errors"] else {
                Issue.record("no errors")
                return
            }
            #expect(errors.isEmpty)
            let latencies = ["p50", "p90", "p99", "p99.9", "max"].map {
                report["latencyMs"]?[$0]?.double ?? .nan
            }
            #expect(latencies[0] > 0)
            #expect(latencies == latencies.sorted())
            #expect(report["server"]?["cpuS"]?.double ?? 0 > 0)

            // What was sent while it warmed up and wound down is recorded too, in units of two.
            let stats = try await instance.call("GET", "/v1/stats", key: tenant.key)
            let total = try #require(stats.json?["totalRequests"]?.integer)
            #expect(total >= 2 * requests && total.isMultiple(of: 2))
            let asked = Double(requests) / (report["elapsedS"]?.double ?? .nan)
            #expect(abs((report["requestsPerS"]?.double ?? 0) / asked - 1) < 0.01)
            try await instance.stop()
        }
    }

    @Test func `takes a denial for an answer and makes its own tenant for an operator`()
        async throws
    {
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(database: url)
            let (end, report) = try await bench(
                scratch, instance, key: Instance.operatorKey, "--call", "acquire", "--duration",
                "0.5", "--connections", "4", "--distribution", "one", "--max-per-hour", "7",
                "--warm-up", "0")
            #expect(end == .exited(0))
            #expect(report["statuses"]?["200"]?.integer == 7)
            #expect(report["statuses"]?["429"]?.integer ?? 0 > 0)
            for call in ["check", "stats"] {
                let (end, report) = try await bench(
                    scratch, instance, key: Instance.operatorKey, "--call", call, "--duration",
                    "0.3", "--connections", "2")
                #expect(end == .exited(0))
                #expect(report["statuses"]?["200"]?.integer == report["requests"]?.integer)
            }
            try await instance.stop()
        }
    }

    @Test func `fails when answers are not what the call may have`() async throws {
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(database: url)
            let tenant = try await instance.tenant()
            let made = try await instance.asOperator(
                "POST", "/v1/admin/tenants/\(tenant.id)/keys", #"{"scopes":["read"]}"#)
            let reader = try #require(made.json?["key"]?.text)
            let outcome = try await scratch.run([
                "bench", "--url", instance.url, "--key", reader, "--duration", "0.3",
                "--connections", "2",
            ])
            #expect(outcome.end == .exited(1))
            #expect(outcome.output.contains("403: "))
            #expect(!outcome.output.contains("201: "))
            try await instance.stop()
            let gone = try await scratch.run([
                "bench", "--url", instance.url, "--key", reader, "--duration", "0.3",
            ])
            #expect(gone.end == .exited(1))
            #expect(gone.errors.hasPrefix("breakwater: \(instance.url): Couldn't connect"))
        }
    }

    @Test(arguments: [
        (["--connections", "0"], "Error: --connections must be from 1 to 20000, not 0"),
        (["--keys", "1001"], "Error: --keys must be from 1 to 1000, not 1001"),
        (["--duration", "0"], "Error: --duration must be from 0.1 to 86400"),
        (["--distribution", "normal"], "Error: The value 'normal' is invalid"),
        (["--url", "https://127.0.0.1:1"], "Error: bench speaks plain HTTP"),
    ])
    func `refuses what makes no sense`(_ options: [String], _ message: String) async throws {
        try await Scratch.with { scratch in
            let outcome = try await scratch.run(["bench", "--key", "e2b_x"] + options)
            #expect(outcome.end == .exited(64))
            #expect(outcome.errors.hasPrefix(message), "\(outcome.errors)")
        }
    }
}

@Suite struct `A load's figures` {
    @Test func `name quantiles to a 64th`() {
        var histogram = LatencyHistogram()
        #expect(histogram.value(at: 0.5) == 0)
        let values = (1...10_000).map { Int64($0 * $0) }
        for value in values.shuffled() { histogram.add(nanoseconds: value) }
        for quantile in [0.001, 0.5, 0.9, 0.99, 0.999] {
            let exact = values[Int((quantile * 10_000).rounded(.up)) - 1]
            let shown = histogram.value(at: quantile)
            #expect(shown >= exact && Double(shown) <= Double(exact) * (1 + 1.0 / 64) + 1)
        }
        #expect(histogram.value(at: 1) == 100_000_000 && histogram.max == 100_000_000)
        histogram.add(nanoseconds: .max)
        histogram.add(nanoseconds: -1)
        #expect(histogram.value(at: 1) == .max && histogram.value(at: 0) == 0)
    }

    @Test func `draw keys by their distribution, each run alike`() {
        func draw(_ distribution: KeySampler.Distribution, _ count: Int) -> [Int: Int] {
            var sampler = KeySampler(distribution, count: count)
            return (0..<100_000).reduce(into: [:]) { drawn, _ in
                drawn[sampler.next(), default: 0] += 1
            }
        }
        #expect(draw(.one, 1_000) == [0: 100_000])
        #expect(draw(.zipf, 1) == [0: 100_000])
        let uniform = draw(.uniform, 10)
        #expect(Set(uniform.keys) == Set(0..<10))
        #expect(uniform.values.allSatisfy { abs($0 - 10_000) < 500 })
        let zipf = draw(.zipf, 10)  // the weights 1/1 ... 1/10 sum up to 2.929
        for key in 0..<10 {
            #expect(abs(Double(zipf[key] ?? 0) - 100_000 / 2.929 / Double(key + 1)) < 500)
        }
        #expect(draw(.zipf, 10) == zipf)
    }
}

extension JSONValue {
    fileprivate var double: Double? {
        if case .number(let number) = self { number.double } else { nil }
    }
}
