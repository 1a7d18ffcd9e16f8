/// An SVG picture, as text, for light and dark pages.
struct Drawing {
    private static let style = """
        text { font: 12px system-ui, sans-serif; fill: #24292f }
        .page { fill: #ffffff } .grid { stroke: #d0d7de } .band { fill: #f3f4f6 }
        .a0 { fill: #6e7781; stroke: #6e7781 } .a1 { fill: #b35900; stroke: #b35900 }
        .a2 { fill: #0969da; stroke: #0969da } .a3 { fill: #1a7f37; stroke: #1a7f37 }
        .curve { fill: none; stroke-width: 1.6; stroke-linejoin: round }
        @media (prefers-color-scheme: dark) {
          text { fill: #e6edf3 } .page { fill: #0d1117 } .grid { stroke: #30363d } .band { fill: #161b22 }
          .a0 { fill: #9198a1; stroke: #9198a1 } .a1 { fill: #f0a04b; stroke: #f0a04b }
          .a2 { fill: #58a6ff; stroke: #58a6ff } .a3 { fill: #3fb950; stroke: #3fb950 }
          .curve { fill: none }
        }
        """

    enum Anchor: String { case start, middle, end }

    private let width: Int
    private let height: Int
    private let title: String
    private var body: [String] = []

    init(width: Int, height: Int, title: String) {
        (self.width, self.height, self.title) = (width, height, title)
    }

    var svg: String {
        """
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(width) \(height)" width="\(width)" \
        height="\(height)" role="img" aria-label="\(title)">
        <style>
        \(Self.style)
        </style>
        <rect class="page" width="\(width)" height="\(height)"/>
        \(body.joined(separator: "\n"))
        </svg>

        """
    }

    mutating func text(_ text: String, _ x: Double, _ y: Double, _ anchor: Anchor = .start) {
        body.append(
            "<text x=\"\(point(x))\" y=\"\(point(y))\" text-anchor=\"\(anchor.rawValue)\">\(text)</text>"
        )
    }

    mutating func band(_ y: Double, _ height: Double, from left: Double, to right: Double) {
        body.append(
            "<rect class=\"band\" x=\"\(point(left))\" y=\"\(point(y))\" "
                + "width=\"\(point(right - left))\" height=\"\(point(height))\"/>")
    }

    mutating func line(
        _ from: (x: Double, y: Double), _ to: (x: Double, y: Double), _ kind: String = "grid"
    ) {
        body.append(
            "<line class=\"\(kind)\" x1=\"\(point(from.x))\" y1=\"\(point(from.y))\" "
                + "x2=\"\(point(to.x))\" y2=\"\(point(to.y))\"/>")
    }

    mutating func curve(_ points: [(x: Double, y: Double)], arm: Int) {
        let path = points.map { "\(point($0.x)),\(point($0.y))" }.joined(separator: " ")
        body.append("<polyline class=\"curve a\(arm)\" points=\"\(path)\" style=\"fill: none\"/>")
    }

    /// An arm's mark: a dot, a square, a triangle, a diamond.
    mutating func mark(_ x: Double, _ y: Double, arm: Int) {
        let steps: [(Double, Double)]
        switch arm {
        case 1: steps = [(-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)]
        case 2: steps = [(0, -4.5), (4.5, 3.5), (-4.5, 3.5)]
        case 3: steps = [(0, -5), (5, 0), (0, 5), (-5, 0)]
        default:
            body.append(
                "<circle class=\"a\(arm)\" cx=\"\(point(x))\" cy=\"\(point(y))\" r=\"3.5\"/>")
            return
        }
        let path = steps.map { "\(point(x + $0.0)),\(point(y + $0.1))" }.joined(separator: " ")
        body.append("<polygon class=\"a\(arm)\" points=\"\(path)\"/>")
    }

    mutating func legend(_ names: [String], x: Double, y: Double) {
        var x = x
        for (arm, name) in names.enumerated() {
            mark(x, y - 4, arm: arm)
            text(name, x + 10, y)
            x += 34 + Double(name.count) * 6.6
        }
    }

    private func point(_ value: Double) -> String { digits(value, 1) }
}
