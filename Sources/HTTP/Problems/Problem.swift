/// An answer that says what went wrong, RFC 9457; thrown by handlers.
package struct Problem: Error, Sendable {
    /// What is wrong with one value of the request.
    package struct Invalid: Hashable, Sendable {
        /// RFC 6901 into the body, e.g. `/limits/0/windowS`; for a query item or field, its name.
        package var pointer: String
        package var detail: String

        package init(_ pointer: String, _ detail: String) {
            self.pointer = pointer
            self.detail = detail
        }
    }

    /// The value of an extension member.
    package enum Value: Hashable, Sendable {
        case string(String)
        case integer(Int64)
        case boolean(Bool)
        case strings([String])
    }

    package var type: ProblemType
    package var status: Status
    /// For this case; the title belongs to the type.
    package var detail: String?
    /// Sent as `Retry-After` in whole seconds, rounded up, at least 1, and as `retryAfterMs`.
    package var retryAfter: Duration?
    package var errors: [Invalid]
    /// Extension members, RFC 9457 section 3.2, in order.
    package var members: [(name: String, value: Value)]
    /// Fields of the answer, e.g. `Allow` or `WWW-Authenticate`.
    package var fields: [Field]

    package init(
        _ type: ProblemType, detail: String? = nil, status: Status? = nil,
        retryAfter: Duration? = nil, errors: [Invalid] = [],
        members: [(name: String, value: Value)] = [], fields: [Field] = []
    ) {
        self.type = type
        self.status = status ?? type.status
        self.detail = detail
        self.retryAfter = retryAfter
        self.errors = errors
        self.members = members
        self.fields = fields
    }
}

extension Problem {
    /// A refusal before it is known for whom the request is. Stock E2B SDKs cannot read an error without `code`
    /// and `message`, and try a call four times unless `Should-Retry` says otherwise.
    init(
        refusal type: ProblemType, detail: String? = nil, retryAfter: Duration? = nil,
        fields: [Field] = []
    ) {
        self.init(
            type, detail: detail, retryAfter: retryAfter,
            members: [
                ("code", .integer(Int64(type.status.code))),
                ("message", .string(detail ?? type.title)),
            ],
            fields: fields + [
                Field(FieldName("Should-Retry"), type.status.code == 503 ? "true" : "false")
            ])
    }
}

extension Response {
    /// The problem as an answer: `application/problem+json`, not to be cached.
    package init(_ problem: Problem, requestID: RequestID) {
        self.init(problem.status, contentType: .problem, body: .bytes(problem.json(requestID)))
        fields = problem.fields
        fields.append(Field(.cacheControl, "no-store"))
        if let wait = problem.retryAfter {
            fields.append(Field(.retryAfter, String(wait.wholeSecondsUp)))
        }
    }
}

extension Duration {
    /// Whole seconds, rounded up, at least 1: what `Retry-After` may say (RFC 9110 section 10.2.3).
    package var wholeSecondsUp: Int64 {
        let (seconds, attoseconds) = components
        return max(1, attoseconds > 0 ? seconds + 1 : seconds)
    }
}
