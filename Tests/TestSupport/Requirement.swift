package import Testing

/// Names the rows of the requirements that a test proves, e.g. `.proves("E2", "H3")`.
///
/// `Scripts/requirements` reads these marks and prints the table row → tests; a row whose issue is
/// done and that no test names fails `make test`.
package struct Requirement: TestTrait, SuiteTrait {
    package let rows: [String]
    package var isRecursive: Bool { true }
}

extension Trait where Self == Requirement {
    package static func proves(_ rows: String...) -> Requirement { Requirement(rows: rows) }
}
