/// Answers one request, on its connection's loop.
package typealias Handler = @Sendable (Request) async throws(Problem) -> Response

/// Looks at a request's head before its body is read, and refuses it by throwing: credentials,
/// limits of callers. The request's body is empty then.
package typealias Gate = @Sendable (Request) async throws(Problem) -> Void

/// One operation of the service.
package struct Route: Sendable {
    package let method: Method
    package let pattern: RoutePattern
    /// Its name in the contract, in metrics and logs.
    package let operationID: String
    /// Octets of a body that it takes; nil: as `HTTPLimits.bodyBytes`.
    package let maxBodyBytes: Int?
    package let gate: Gate?
    /// The handler's task is cancelled when the client closes the connection, its sending side alone
    /// included: for long calls whose answer nobody may want any more.
    package let watchesClient: Bool
    package let handler: Handler

    /// - Parameter pattern: literal segments, `{name}` for one segment that is not empty, and as the
    ///   last one `{name...}` for all that follows, e.g. `/v1/requests/{id}/refund`.
    package init(
        _ method: Method, _ pattern: RoutePattern, _ operationID: String,
        maxBodyBytes: Int? = nil, gate: Gate? = nil, watchesClient: Bool = false,
        handler: @escaping Handler
    ) {
        self.method = method
        self.pattern = pattern
        self.operationID = operationID
        self.maxBodyBytes = maxBodyBytes
        self.gate = gate
        self.watchesClient = watchesClient
        self.handler = handler
    }
}

/// A path with places for parameters.
package struct RoutePattern: Hashable, Sendable {
    enum Segment: Hashable, Sendable {
        case literal([UInt8])
        case parameter
        case rest
    }

    /// A named segment: parameters are found in the path again on demand.
    struct Parameter: Hashable, Sendable {
        let name: String
        let segment: Int
        let isRest: Bool

        /// Where its value is in a path that matched.
        func range(in bytes: Span<UInt8>, _ path: ByteRange) -> ByteRange? {
            var place = path.lowerBound
            var index = -1
            while place < path.upperBound {
                if bytes[place] == UInt8(ascii: "/") {
                    index &+= 1
                    if index == segment { break }
                }
                place &+= 1
            }
            guard index == segment else { return nil }
            let first = place &+ 1
            if isRest { return ByteRange(first, path.upperBound) }
            let past = bytes.firstIndex(of: UInt8(ascii: "/"), from: first) ?? path.upperBound
            return ByteRange(first, min(past, path.upperBound))
        }
    }

    package let text: String
    let segments: [Segment]
    let parameters: [Parameter]

    /// Nil if the text is not a pattern: no leading "/", an unclosed brace, a name used twice, a
    /// `{name...}` before the end, a character that no path has.
    package init?(_ text: String) {
        guard text.first == "/" else { return nil }
        var segments: [Segment] = []
        var parameters: [Parameter] = []
        let parts = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if part.hasPrefix("{"), part.hasSuffix("}") {
                var name = part.dropFirst().dropLast()
                let isRest = name.hasSuffix("...")
                if isRest { name = name.dropLast(3) }
                guard !name.isEmpty, name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "_" }),
                    !parameters.contains(where: { $0.name == name }),
                    !isRest || index == parts.count - 1
                else { return nil }
                segments.append(isRest ? .rest : .parameter)
                parameters.append(
                    Parameter(name: String(name), segment: index, isRest: isRest))
            } else {
                guard part.utf8.allSatisfy({ ByteSet.path.contains($0) && $0 != UInt8(ascii: "%") })
                else { return nil }
                segments.append(.literal(Array(part.utf8)))
            }
        }
        self.text = text
        self.segments = segments
        self.parameters = parameters
    }
}

extension RoutePattern: ExpressibleByStringLiteral {
    /// Patterns in code are ours: a wrong one stops the start.
    package init(stringLiteral text: String) {
        guard let pattern = RoutePattern(text) else {
            preconditionFailure("not a route pattern: \(text)")
        }
        self = pattern
    }
}
