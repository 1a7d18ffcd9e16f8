import ArgumentParser
import IO

/// Measures the service's policies under virtual time; `Scripts/proof-sim` calls it.
@main
struct ProofSimulator: AsyncParsableCommand {
    @Option(help: "runs of each fault model with each arm") var seeds = 20
    /// The settings were sought on the seeds from 1 on, and are measured on others.
    @Option(help: "the first run's seed") var firstSeed: UInt64 = 1001
    @Option(help: "fault models, with commas; all if not given") var models: String?
    @Option(help: "file of the original's settings") var original = "deploy/original.conf"
    @Option(help: "file of the recommended settings") var recommended = "deploy/recommended.conf"
    @Option(name: .customLong("set"), help: "name=value, over the recommended settings")
    var changes: [String] = []

    func validate() throws {
        guard (2...1000).contains(seeds) else { throw ValidationError("--seeds must be 2 to 1000") }
        guard firstSeed <= UInt64.max / 2 else {
            throw ValidationError("--first-seed is too large")
        }
        for name in models?.split(separator: ",") ?? [] {
            guard FaultModel.all.contains(where: { $0.id == name }) else {
                throw ValidationError("there is no fault model \(name)")
            }
        }
    }

    func run() async throws {
        let (chosen, arms, variations) = try prepare()
        let loop = try EventLoop.start(name: "proof")
        let seeds = firstSeed..<firstSeed + UInt64(seeds)
        let results = await Results.measure(chosen, arms, seeds: seeds, on: loop)
        let few = chosen.filter { Variations.models.contains($0.id) }
        // Half of the seeds will do to tell them apart.
        let fewer = seeds.lowerBound..<(seeds.lowerBound + seeds.upperBound) / 2
        let varied = await Results.measure(few, variations, seeds: fewer, on: loop)
        loop.stop()
        show(results, varied)
        let faults = Report(results).faults
        if !faults.isEmpty { throw Failure(faults: faults) }
    }

    /// Variations only where all is measured.
    private func prepare() throws -> (models: [FaultModel], arms: [Arm], variations: [Arm]) {
        var settings = try read(recommended)
        for change in changes { try settings.set(change[...]) }
        let names = models?.split(separator: ",").map(String.init)
        return (
            FaultModel.all.filter { names?.contains($0.id) ?? true },
            Arm.all(original: try read(original), recommended: settings),
            models == nil && changes.isEmpty ? try Variations.arms(settings) : []
        )
    }

    private func show(_ results: Results, _ varied: Results) {
        let report = Report(results)
        show("failures", report.summary("fail", \.failureShare))
        show("500s", report.summary("500s", \.share500))
        show("in-time", report.summary("fail or are late", \.notInTimeShare))
        show("bars", report.bars)
        show("models", report.models)
        if !varied.arms.isEmpty { show("variations", Variations.table(varied, direct: results)) }
        let charts = Charts(results)
        show("failures.svg", charts.failures)
        show("calls.svg", charts.calls)
        if let outage = charts.course(of: "F3") { show("outage.svg", outage) }
    }

    /// `Scripts/proof-sim` parts the output by these lines.
    private func show(_ name: String, _ text: String) { print("=== \(name)\n\(text)") }

    private func read(_ path: String) throws -> PolicySettings {
        guard let text = readFile(path) else { throw ValidationError("cannot read \(path)") }
        return try PolicySettings(file: text)
    }
}

/// The recommended settings do not do what they are recommended for.
private struct Failure: Error, CustomStringConvertible {
    let faults: [String]
    var description: String { faults.joined(separator: "; ") }
}
