import ArgumentParser
import ControlPlane
import IO
import JSON
import Postgres

/// Decides batches as the service does, without HTTP and without tasks that wait: what the ledger's
/// merging, its one statement and the database can do. For `Scripts/bench-ledger`.
struct BenchLedger: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-ledger",
        abstract: "Load a database with batches of decisions, under tenants that do not exist.",
        shouldDisplay: false)

    @Option(help: "A database with the schema.") var database: String
    @Option(help: "Batches out at a time.") var batches = 1
    @Option(help: "Connections that share a batch.")
    var connections = Ledger.Settings().connections
    @Option(help: "Calls of a batch.") var batch = 1_000
    @Option(help: "Distinct keys of a statement.") var maxKeys = Ledger.Settings().maxBatchKeys
    @Option(help: "Keys: ten operations a tenant.") var keys = 10_000
    @Option(help: "How often which key.") var distribution = KeySampler.Distribution.zipf
    @Option(help: "Units allowed in an hour; -1: record without a limit.")
    var maxPerHour: Int64 = 1_000_000_000
    @Option(help: "The rolling window in seconds.") var window: Int32 = 3_600
    @Option(help: "Seconds to measure for.") var duration = 5.0
    @Option(help: "Seconds of load before that.") var warmUp = 1.0

    func validate() throws {
        guard batches > 0, connections > 0, batch > 0, maxKeys > 0, keys > 0, window > 0 else {
            throw ValidationError("numbers must be at least 1")
        }
    }

    func run() async throws {
        let loop = try EventLoop.start(name: "bw-bench")
        defer { loop.stop() }
        let sampler = KeySampler(distribution, count: keys)
        let calls = CallSource(
            sampler: sampler, batch: batch, limit: maxPerHour < 0 ? nil : maxPerHour, window: window
        )
        let load = LedgerLoad(on: loop, calls, maxKeys: maxKeys)
        let pipelines = (0..<batches).map { _ in
            (0..<connections).map { _ in Pipeline(on: loop, Pipeline.Settings(url: database)) }
        }
        do {
            let tally = try await load.run(
                pipelines, warmUp: .seconds(warmUp), duration: .seconds(duration))
            print(tally.json, to: .standardOutput)
        } catch {
            print("breakwater: \(describe(error))", to: .standardError)
            throw ExitCode(1)
        }
    }
}

/// Batches of calls for drawn keys.
private struct CallSource: Sendable {
    var sampler: KeySampler
    let batch: Int
    let limit: Int64?
    let window: Int32

    mutating func next() -> [LedgerCall] {
        (0..<batch).map { _ in
            let key = sampler.next()
            return LedgerCall(
                key: UsageKey(
                    tenant: Tenant.ID(UUID(high: 0xbe, low: UInt64(key / 10))),
                    operation: Int16(key % 10 + 1)),
                cost: 1, limit: limit, window: window)
        }
    }
}

private struct LedgerTally: Sendable {
    var batches = LatencyHistogram()
    var admitted = 0
    var denied = 0
    var elapsed: Duration = .zero

    var json: String {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("admitted", admitted)
            writer.member("denied", denied)
            writer.member("decisionsPerS", Double(admitted + denied) / elapsed.seconds)
            writer.member("batches", batches.count)
            for (name, share) in [("batchMsP50", 0.5), ("batchMsP99", 0.99)] {
                writer.member(name, Double(batches.value(at: share)) / 1e6)
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}

/// Keeps batches out, each on connections of its own.
private actor LedgerLoad: LoopBound {
    nonisolated let loop: EventLoop
    private var calls: CallSource
    private let maxKeys: Int
    private var tally = LedgerTally()
    private var isMeasuring = false
    private var isOver = false
    private var failure: PostgresError?

    init(on loop: EventLoop, _ calls: CallSource, maxKeys: Int) {
        self.loop = loop
        self.calls = calls
        self.maxKeys = maxKeys
    }

    func run(
        _ pipelines: [[Pipeline]], warmUp: Duration, duration: Duration
    ) async throws -> LedgerTally {
        await withDiscardingTaskGroup { group in
            for pipelines in pipelines {
                for pipeline in pipelines {
                    group.addTask(executorPreference: loop) { await pipeline.run() }
                }
                group.addTask(executorPreference: loop) {
                    await self.drive(pipelines)
                    for pipeline in pipelines { await pipeline.close() }
                }
            }
            try? await loop.sleep(for: warmUp)
            isMeasuring = true
            let start = MonotonicInstant.now
            try? await loop.sleep(for: duration)
            isMeasuring = false
            tally.elapsed = start.duration(to: .now)
            isOver = true
        }
        if let failure { throw failure }
        return tally
    }

    private func drive(_ pipelines: [Pipeline]) async {
        while !isOver {
            let batch = calls.next()
            let start = MonotonicInstant.now
            let decisions = await decideAll(batch, maxKeys: maxKeys, now: nil, pipelines)
            let taken = start.duration(to: .now)
            for decision in decisions {
                switch decision {
                case .success(.admitted): if isMeasuring { tally.admitted += 1 }
                case .success: if isMeasuring { tally.denied += 1 }
                case .failure(let error):
                    failure = error
                    isOver = true
                }
            }
            if isMeasuring { tally.batches.add(taken) }
        }
    }
}
