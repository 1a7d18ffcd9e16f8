/// Why the bytes are not a request that we take. Nothing is read as a request after one.
package struct Refusal: Error, Sendable {
    package let type: ProblemType
    package let detail: StaticString

    init(_ type: ProblemType, _ detail: StaticString) {
        self.type = type
        self.detail = detail
    }

    /// 400, the most frequent kind.
    static func malformed(_ detail: StaticString) -> Refusal { Refusal(.badRequest, detail) }

    package var problem: Problem { Problem(refusal: type, detail: detail.description) }
}
