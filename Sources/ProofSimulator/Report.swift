import IO

/// The tables of `docs/proof.md`.
struct Report {
    /// A sandbox more may cost so many calls: what it does cost where 60 of 100 fail, the worst time
    /// of all models in which any can be had.
    static let price = 2.5

    private let results: Results
    private static let plain = 1
    private static let recommended = 3

    init(_ results: Results) { self.results = results }

    static func table(_ head: [String], _ rows: [[String]]) -> String {
        let lines = [head, head.map { _ in "---" }] + rows
        return lines.map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
    }

    // MARK: In short

    /// By how much less there is of something than with the direct call, in each model in which it has any.
    func summary(_ what: String, _ value: (Tally) -> Double) -> String {
        let rows = results.rows.filter { $0.estimate(0, value).mean > 0 }.map { row in
            [row.model.id, percent(row.estimate(0, value))]
                + results.arms.indices.dropFirst().map { reduction(row, $0, value) }
        }
        return Self.table(["", "direct: \(what)"] + results.arms.dropFirst().map(\.name), rows)
    }

    private func reduction(_ row: Results.Row, _ arm: Int, _ value: (Tally) -> Double) -> String {
        guard let estimate = row.reduction(arm, value) else { return "" }
        return "\(digits(estimate.mean * 100, 1)) % ± \(digits(estimate.half * 100, 1))"
    }

    // MARK: Model by model

    var models: String {
        results.rows.map { row in "**\(row.model.id)**, \(row.model.text)\n\n\(table(of: row))" }
            .joined(separator: "\n\n")
    }

    private func table(of row: Results.Row) -> String {
        let refuses = row.tallies.joined().contains { !$0.openings.isEmpty }
        let leaks = row.tallies.joined().contains { $0.leaked > 0 }
        var head = ["", "fail", "with 500", "late", "p50 s", "p99 s", "held s", "calls a request"]
        if refuses { head += ["refuses after s", "until s after"] }
        if leaks { head += ["leaked min"] }
        let rows = results.arms.indices.map { arm in
            var cells = [results.arms[arm].name]
            cells += [
                percent(row.estimate(arm, \.failureShare)),
                percent(row.estimate(arm, \.share500)),
                percent(row.estimate(arm, \.lateShare)),
                number(row.estimate(arm, \.medianSeconds), 2),
                number(row.estimate(arm, \.p99Seconds), 2),
                number(row.estimate(arm, \.heldPerFailure), 1),
                number(row.estimate(arm, \.callsPerRequest), 3),
            ]
            if refuses { cells += [times(row, arm, \.openings), times(row, arm, \.closings)] }
            if leaks { cells += [number(row.estimate(arm, \.leakedMinutes), 0)] }
            return cells
        }
        return Self.table(head, rows)
    }

    /// Over the bad times of all seeds that had any, and how many those are.
    private func times(_ row: Results.Row, _ arm: Int, _ value: (Tally) -> [Double]) -> String {
        let values = row.tallies[arm].flatMap(value)
        return values.isEmpty ? "" : "\(number(Estimate(of: values), 1)) (of \(values.count))"
    }

    // MARK: Bars

    /// How the recommended settings stand against three tries in a model.
    struct Standing {
        let model: String
        let failures: Estimate
        let calls: Estimate
        /// Calls for each sandbox more than with three tries; nil: there are no more calls.
        let price: Double?

        /// As good, as far as the seeds can tell.
        var isAsGood: Bool { failures.mean <= failures.half }
        var isCheap: Bool { price ?? 0 <= Report.price }
    }

    var standings: [Standing] {
        results.rows.map { row in
            let failures = row.excess(of: Self.recommended, over: Self.plain, \.failureShare)
            let calls = row.excess(of: Self.recommended, over: Self.plain, \.callsPerRequest)
            let isDearer = calls.mean > calls.half
            let price = calls.mean / max(-failures.mean, 1e-9)
            return Standing(
                model: row.model.id, failures: failures, calls: calls, price: isDearer ? price : nil
            )
        }
    }

    /// Calls by request while nobody's can succeed, by arm.
    var outageCalls: [Double] {
        results.arms.indices.map { arm in
            let tallies = results.rows.flatMap { $0.tallies[arm] }
            let requests = tallies.map(\.outageRequests).reduce(0, +)
            return Double(tallies.map(\.outageCalls).reduce(0, +)) / Double(max(requests, 1))
        }
    }

    /// The longest time past a deadline, of the recommended settings.
    var overrun: Duration {
        results.rows.flatMap { $0.tallies[Self.recommended] }.map(\.overrun).max() ?? .zero
    }

    /// What must hold and does not, in words.
    var faults: [String] {
        standings.filter { !$0.isAsGood }.map { "\($0.model): fails more than three tries" }
            + standings.filter { !$0.isCheap }.map { "\($0.model): pays too much for a sandbox" }
            + (outageCalls[Self.recommended] > 1.2 ? ["too many calls in an outage"] : [])
            + (overrun > .milliseconds(50) ? ["a deadline was overrun by \(overrun)"] : [])
    }

    var bars: String {
        let rows = standings.map { standing in
            [
                standing.model,
                "\(signed(standing.failures.mean * 100, 2)) % ± \(digits(standing.failures.half * 100, 2))",
                standing.isAsGood ? "yes" : "**no**",
                "\(signed(standing.calls.mean, 4)) ± \(digits(standing.calls.half, 4))",
                standing.price.map { "**no**, \(digits($0, 1)) for each sandbox more" } ?? "yes",
            ]
        }
        let head = ["", "requests that fail", "no more", "calls a request", "no more"]
        let all = { (arm: Int) in
            results.rows.map { $0.estimate(arm, \.callsPerRequest).mean }.reduce(0, +)
        }
        let lines = [
            "Calls, all models taken alike: \(signed((all(Self.recommended) / all(Self.plain) - 1) * 100, 1)) %"
                + " against three tries.",
            "Calls a request while nothing can succeed (F3): "
                + zip(results.arms, outageCalls).map { "\($0.name) \(digits($1, 2))" }
                .joined(separator: ", ") + ".",
            "Longest time past a deadline: \(overrun.milliseconds) ms.",
        ]
        return Self.table(head, rows) + "\n\n" + lines.joined(separator: "\n")
    }

    // MARK: Numbers

    private func percent(_ estimate: Estimate) -> String {
        estimate.mean == 0
            ? "0" : "\(digits(estimate.mean * 100, 2)) % ± \(digits(estimate.half * 100, 2))"
    }

    private func number(_ estimate: Estimate, _ places: Int) -> String {
        "\(digits(estimate.mean, places)) ± \(digits(estimate.half, places))"
    }

    private func signed(_ value: Double, _ places: Int) -> String {
        (value > 0 ? "+" : "") + digits(value, places)
    }
}

/// With so many digits after the point.
func digits(_ value: Double, _ places: Int) -> String {
    var unit = 1.0
    for _ in 0..<places { unit *= 10 }
    let whole = Int64((abs(value) * unit).rounded())
    let sign = value < 0 && whole > 0 ? "-" : ""
    if places == 0 { return "\(sign)\(whole)" }
    let fraction = String(whole % Int64(unit))
    let zeros = String(repeating: "0", count: places - fraction.count)
    return "\(sign)\(whole / Int64(unit)).\(zeros)\(fraction)"
}
