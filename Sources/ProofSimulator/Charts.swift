import Glibc

/// The pictures of `docs/proof.md`.
struct Charts {
    private let results: Results
    private static let left = 64.0
    private static let right = 736.0

    init(_ results: Results) { self.results = results }

    private var names: [String] { results.arms.map(\.name) }

    /// What fails, by model and arm; logarithmic.
    var failures: String {
        let floor = 0.00001
        return dots(
            "Failures, share of all requests", \.failureShare,
            ticks: [
                (floor, "none"), (0.0001, "0.01 %"), (0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"),
                (1, "100 %"),
            ]
        ) { log10(max($0, floor) / floor) / log10(1 / floor) }
    }

    /// Calls that the provider gets.
    var calls: String {
        dots(
            "Calls to the provider a request", \.callsPerRequest,
            ticks: [(0, "0"), (1, "1"), (2, "2"), (3, "3")]
        ) { $0 / 3 }
    }

    /// A mark for each model and arm, with its interval.
    private func dots(
        _ title: String, _ value: (Tally) -> Double, ticks: [(at: Double, name: String)],
        _ place: @escaping (Double) -> Double
    ) -> String {
        let (top, step) = (58.0, 34.0)
        let bottom = top + step * Double(results.rows.count)
        var drawing = Drawing(width: 760, height: Int(bottom) + 30, title: title)
        let x = { (value: Double) in
            Self.left + 8 + min(max(place(value), 0), 1) * (Self.right - Self.left - 16)
        }
        drawing.text(title, 12, 20)
        drawing.legend(names, x: Self.left + 8, y: 44)
        for index in results.rows.indices where index % 2 == 0 {
            drawing.band(top + step * Double(index), step, from: Self.left, to: Self.right)
        }
        for tick in ticks {
            drawing.line((x(tick.at), top), (x(tick.at), bottom))
            drawing.text(tick.name, x(tick.at), bottom + 18, .middle)
        }
        for (index, row) in results.rows.enumerated() {
            let y = top + step * Double(index)
            drawing.text(row.model.id, Self.left - 8, y + step / 2 + 4, .end)
            for arm in results.arms.indices {
                let estimate = row.estimate(arm, value)
                let height = y + 6 + Double(arm) * (step - 12) / 3
                drawing.line(
                    (x(estimate.mean - estimate.half), height),
                    (x(estimate.mean + estimate.half), height), "a\(arm)")
                drawing.mark(x(estimate.mean), height, arm: arm)
            }
        }
        return drawing.svg
    }

    /// One model minute by minute: what fails, and what the provider gets.
    func course(of id: String) -> String? {
        guard let row = results.rows.first(where: { $0.model.id == id }) else { return nil }
        var drawing = Drawing(width: 760, height: 440, title: row.model.text)
        drawing.text("\(id), \(row.model.text)", 12, 20)
        drawing.legend(names, x: Self.left + 8, y: 44)
        let minutes = Int(row.model.length / 60)
        panel(&drawing, "failures a minute", \.failuresByMinute, row, minutes, top: 76, bottom: 216)
        panel(&drawing, "calls a minute", \.callsByMinute, row, minutes, top: 264, bottom: 404)
        drawing.text("minutes", Self.right, 434, .end)
        return drawing.svg
    }

    private func panel(
        _ drawing: inout Drawing, _ title: String, _ value: (Tally) -> [Int], _ row: Results.Row,
        _ minutes: Int, top: Double, bottom: Double
    ) {
        let curves = row.tallies.map { tallies in
            (0..<minutes).map { minute in
                Double(tallies.map { value($0)[minute] }.reduce(0, +)) / Double(tallies.count)
            }
        }
        let most = curves.joined().max() ?? 1
        let scale = max((most / 50).rounded(.up), 1) * 50
        let y = { (value: Double) in bottom - value / scale * (bottom - top) }
        let x = { (minute: Double) in
            Self.left + minute / Double(minutes) * (Self.right - Self.left)
        }
        for value in [0, scale / 2, scale] {
            drawing.line((Self.left, y(value)), (Self.right, y(value)))
            drawing.text(digits(value, 0), Self.left - 8, y(value) + 4, .end)
        }
        for minute in stride(from: 0, through: minutes, by: 10) {
            drawing.text("\(minute)", x(Double(minute)), bottom + 16, .middle)
        }
        drawing.text(title, Self.left + 8, top - 8)
        for (arm, curve) in curves.enumerated() {
            let points = curve.enumerated().map { (x(Double($0.offset) + 0.5), y($0.element)) }
            drawing.curve(points, arm: arm)
        }
    }
}
