import JSON
import Postgres

/// What one check of `doctor` found.
struct Finding: Sendable {
    enum Level: String, Sendable { case ok, warning, problem }

    /// Stable, for scripts: `database.version`.
    let check: String
    let level: Level
    let found: String
    /// What to do; none where all is well.
    let advice: String?

    static func ok(_ check: String, _ found: String) -> Finding {
        Finding(check: check, level: .ok, found: found, advice: nil)
    }

    static func warning(_ check: String, _ found: String, _ advice: String) -> Finding {
        Finding(check: check, level: .warning, found: found, advice: advice)
    }

    static func problem(_ check: String, _ found: String, _ advice: String) -> Finding {
        Finding(check: check, level: .problem, found: found, advice: advice)
    }

    /// One line, without secrets.
    var line: String {
        let start = level.rawValue + String(repeating: " ", count: 9 - level.rawValue.count) + check
        let text = advice.map { "\(start): \(found). \($0)" } ?? "\(start): \(found)"
        return oneLine(text)
    }
}

extension Finding: JSONWritable {
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.member("check", check)
            $0.member("level", level.rawValue)
            $0.member("found", oneLine(found))
            $0.member("advice", orNull: advice)
        }
    }
}

/// A limit between two levels, the worse first.
func grade<Value: Comparable>(_ value: Value, problemBelow: Value, warningBelow: Value)
    -> Finding.Level
{
    value < problemBelow ? .problem : value < warningBelow ? .warning : .ok
}
