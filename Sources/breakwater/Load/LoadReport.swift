import Glibc
import IO
import JSON

/// A load's figures, for people and for scripts.
struct LoadReport: Sendable {
    var title: String
    /// What was asked, as members of the JSON document.
    var asked: [(name: String, value: Asked)]
    var tally: LoadTally
    /// Answers that the call may have.
    var wanted: Set<Int>
    /// Who said how much CPU the server used.
    var cpuSource = ""

    var requestsPerSecond: Double {
        tally.elapsed > .zero ? Double(tally.latencies.count) / tally.elapsed.seconds : 0
    }

    /// All was answered, and as it should be.
    var isClean: Bool {
        tally.failures == 0 && tally.latencies.count > 0
            && tally.statuses.keys.allSatisfy { wanted.contains($0) }
    }

    enum Asked: Sendable {
        case text(String)
        case number(Int)
    }

    private static let quantiles: [(name: String, share: Double)] = [
        ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999),
    ]

    /// The mean and quantiles in milliseconds.
    private var latencies: [(name: String, milliseconds: Double)] {
        let all = tally.latencies
        return [("mean", rounded(all.mean / 1e6))]
            + Self.quantiles.map { ($0.name, rounded(Double(all.value(at: $0.share)) / 1e6)) }
            + [("max", rounded(Double(all.max) / 1e6))]
    }

    var text: String {
        var lines = [
            title,
            "\(Int(requestsPerSecond.rounded())) requests/s: \(tally.latencies.count) in "
                + "\(rounded(tally.elapsed.seconds)) s",
            "latency in ms  "
                + latencies.map { "\($0.name) \($0.milliseconds)" }.joined(separator: "  "),
            "statuses       "
                + tally.statuses.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
                .joined(separator: "  "),
            "errors         \(tally.failures)",
        ]
        lines += tally.errors.sorted { $0.key < $1.key }.map { "    \($0.value) x \($0.key)" }
        if let seconds = tally.serverCPU {
            lines.append(
                "server's CPU   \(rounded(seconds)) s, \(rounded(microsecondsPerRequest)) "
                    + "us a request (\(cpuSource))")
        }
        return lines.joined(separator: "\n")
    }

    private var microsecondsPerRequest: Double {
        guard let seconds = tally.serverCPU, tally.latencies.count > 0 else { return 0 }
        return seconds * 1e6 / Double(tally.latencies.count)
    }

    var json: String {
        var writer = JSONWriter()
        writer.object { writer in
            for (name, value) in asked {
                switch value {
                case .text(let text): writer.member(name, text)
                case .number(let number): writer.member(name, number)
                }
            }
            writer.member("requests", tally.latencies.count)
            writer.member("elapsedS", rounded(tally.elapsed.seconds))
            writer.member("requestsPerS", rounded(requestsPerSecond))
            writer.object("latencyMs") { writer in
                for (name, value) in latencies { writer.member(name, value) }
            }
            writer.object("statuses") { writer in
                for (status, count) in tally.statuses.sorted(by: { $0.key < $1.key }) {
                    writer.member("\(status)", count)
                }
            }
            writer.object("errors") { writer in
                for (what, count) in tally.errors.sorted(by: { $0.key < $1.key }) {
                    writer.member(what, count)
                }
            }
            if let seconds = tally.serverCPU {
                writer.object("server") { writer in
                    writer.member("cpuS", rounded(seconds))
                    writer.member("cpuUsPerRequest", rounded(microsecondsPerRequest))
                    writer.member("source", cpuSource)
                }
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}

/// To a thousandth.
private func rounded(_ value: Double) -> Double { (value * 1_000).rounded() / 1_000 }

/// Seconds of CPU that a local process has used, all its threads; nil if there is none.
func cpuSeconds(of process: Int32) -> Double? {
    // The name may hold spaces; behind its bracket the 12th and 13th fields are user and system time.
    guard let text = readFile("/proc/\(process)/stat"), let bracket = text.lastIndex(of: ")")
    else { return nil }
    let fields = text[text.index(after: bracket)...].split(separator: " ")
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12])
    else { return nil }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
}

/// `process_cpu_seconds_total` of a page of metrics.
func cpuSeconds(inMetrics page: [UInt8]) -> Double? {
    for line in String(decoding: page, as: UTF8.self).split(separator: "\n")
    where line.hasPrefix("process_cpu_seconds_total ") {
        return line.split(separator: " ").last.flatMap { Double($0) }
    }
    return nil
}
