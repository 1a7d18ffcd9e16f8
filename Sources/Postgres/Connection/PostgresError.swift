/// Why a call did not give its rows.
///
/// What the server says is read once, from its SQLSTATE (PostgreSQL manual, appendix A). DETAIL,
/// HINT and CONTEXT are never kept: they may hold values of rows.
package enum PostgresError: Error, Hashable, Sendable {
    /// What became of a call whose answer did not come.
    package enum Outcome: Hashable, Sendable {
        /// Nothing was changed: it was never sent, or its failure was already known.
        case notApplied
        /// It may have been committed, or not.
        case unknown
    }

    /// No connection, and none within the time allowed; nothing was sent. The text is libpq's or
    /// the server's reason for the last failure, for people.
    case unavailable(String)
    /// The connection broke, or the deadline passed, between the call and its answer.
    case connectionLost(Outcome)
    /// The queue of the pipeline or batch is full; nothing was sent.
    case overloaded
    /// 25006: the server is a standby, or has become one; the connection is dropped.
    case readOnly
    /// 40001, 40P01: lost against other transactions; the whole transaction may be tried again.
    case serialization
    /// 55P03: a lock was not had within `lock_timeout`.
    case lockTimeout
    /// 57014: `statement_timeout`, or cancelled by an operator.
    case queryCanceled
    /// 53xxx: disk, memory or connections used up.
    case insufficientResources(SQLState)
    /// 23505.
    case uniqueViolation(constraint: String)
    /// 23503.
    case foreignKeyViolation(constraint: String)
    /// 23514.
    case checkViolation(constraint: String)
    /// 42501: a grant is missing, or a row does not satisfy row-level security.
    case insufficientPrivilege(String)
    /// 26000: this session has no such prepared statement (a pooler, `DISCARD ALL`).
    case undefinedStatement
    /// 42P05: this session has a prepared statement of that name already (a pooler).
    case duplicateStatement
    /// 0A000 "cached plan must not change result type": a table changed under a prepared statement.
    case stalePlan
    /// Another SQLSTATE, with the server's primary message.
    case other(SQLState, message: String)
    /// A row is not of the shape that the code reads, e.g. `column 2: uuid expected, found 25`.
    case decode(String)
}

/// Five characters that name what went wrong, e.g. `23505`.
package struct SQLState: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral {
    package let rawValue: String

    package init(rawValue: String) {
        self.rawValue = rawValue
    }

    package init(stringLiteral value: StaticString) {
        rawValue = value.description
    }
}

extension PostgresError {
    /// Whether the same call may succeed a little later.
    package var isTransient: Bool {
        switch self {
        case .unavailable, .connectionLost, .overloaded, .readOnly, .serialization, .lockTimeout,
            .queryCanceled, .insufficientResources:
            true
        case .uniqueViolation, .foreignKeyViolation, .checkViolation, .insufficientPrivilege,
            .undefinedStatement, .duplicateStatement, .stalePlan, .other, .decode:
            false
        }
    }

    /// The database is away, for now.
    package var isOutage: Bool {
        switch self {
        case .unavailable, .connectionLost, .readOnly, .insufficientResources: true
        default: false
        }
    }

    /// Whether the call may have been committed all the same, so that it may be repeated only
    /// where repeating does no harm.
    package var mayHaveHappened: Bool {
        self == .connectionLost(.unknown)
    }
}

extension PostgresError {
    /// Reads a SQLSTATE. `constraint` is the field of that name, "" where there is none.
    init(_ state: SQLState, message: String, constraint: String) {
        switch state.rawValue {
        case "23505": self = .uniqueViolation(constraint: constraint)
        case "23503": self = .foreignKeyViolation(constraint: constraint)
        case "23514": self = .checkViolation(constraint: constraint)
        case "25006": self = .readOnly
        case "26000": self = .undefinedStatement
        case "40001", "40P01": self = .serialization
        case "42501": self = .insufficientPrivilege(message)
        case "42P05": self = .duplicateStatement
        case "55P03": self = .lockTimeout
        case "57014": self = .queryCanceled
        case "57P01", "57P02", "57P03": self = .connectionLost(.unknown)
        // It idled in a transaction, which was rolled back; often the connection's end is read before this.
        case "25P03": self = .connectionLost(.notApplied)
        case "0A000" where message.hasPrefix("cached plan"): self = .stalePlan
        case let code where code.hasPrefix("08"): self = .connectionLost(.unknown)
        case let code where code.hasPrefix("53"): self = .insufficientResources(state)
        default: self = .other(state, message: message)
        }
    }

    /// Whether the connection that gave this error is of no more use (`trust.md`, 5.4).
    var endsConnection: Bool {
        switch self {
        case .connectionLost, .readOnly: true
        default: false
        }
    }
}

extension PostgresError {
    /// The cause in words, for people.
    package var reason: String {
        switch self {
        case .unavailable(let reason), .insufficientPrivilege(let reason), .decode(let reason):
            reason
        case .other(let state, let message): "\(state.rawValue): \(message)"
        default: "\(self)"
        }
    }
}
