/// The service's operations: one list, checked at start.
package final class Routes: Sendable {
    /// A last touch to every answer, problems included: CORS, security fields.
    package typealias Finish = @Sendable (Request, inout Response) -> Void

    package let all: [Route]
    private let tree: RouteTree
    /// `Allow` of each place in the tree, and of the whole server.
    private let allowed: [String]
    private let allowedAnywhere: String
    private let finish: Finish?

    /// What was wrong with the list.
    package enum Fault: Error, Hashable, Sendable, CustomStringConvertible {
        case clash(Method, String, String)
        case repeatedOperation(String)
        case unknownMethod(String)
        case tooMany

        package var description: String {
            switch self {
            case .clash(let method, let first, let second):
                "\(method) \(second) is the same as \(first)"
            case .repeatedOperation(let name): "two operations are called \(name)"
            case .unknownMethod(let name): "\(name) is not a method that this server knows"
            case .tooMany: "more than 32767 routes"
            }
        }
    }

    /// - Throws: `Fault` when two routes are the same but for the names of their parameters, two
    ///   operations have one name, or a method is not a known one.
    package init(_ routes: [Route], finish: Finish? = nil) throws(Fault) {
        guard routes.count <= Int16.max else { throw .tooMany }
        var tree = RouteTree()
        var operations: Set<String> = []
        for (index, route) in routes.enumerated() {
            guard let method = MethodToken(route.method) else {
                throw .unknownMethod(route.method.description)
            }
            guard operations.insert(route.operationID).inserted else {
                throw .repeatedOperation(route.operationID)
            }
            let endpoint = tree.endpoint(for: route.pattern)
            if let other = tree.route(endpoint, method) {
                throw .clash(route.method, routes[other].pattern.text, route.pattern.text)
            }
            tree.set(endpoint, method, index)
        }
        all = routes
        self.tree = tree
        self.finish = finish
        allowed = (0..<tree.endpointCount).map { endpoint in
            Self.list(Method.known.filter { tree.serves(endpoint, $0) })
        }
        allowedAnywhere = Self.list(
            Method.known.filter { method in
                method == .options
                    || (0..<tree.endpointCount).contains { tree.serves($0, method) }
            })
    }

    private static func list(_ methods: [Method]) -> String {
        methods.map(\.description).joined(separator: ", ")
    }

    /// What a request leads to; places are indices, so that it is trivial to copy.
    enum Match: Sendable {
        case route(Int)
        /// A path with routes, asked for what it has; nil for the whole server.
        case options(Int?)
        case notFound
        case methodNotAllowed(Int)
        /// No route could have such a method.
        case unknownMethod
    }

    /// The refusal in a match that leads nowhere.
    func problem(_ match: Match) -> Problem? {
        switch match {
        case .route, .options: nil
        case .notFound: Problem(refusal: .notFound)
        case .methodNotAllowed(let endpoint):
            Problem(refusal: .methodNotAllowed, fields: [Field(.allow, allowed[endpoint])])
        case .unknownMethod:
            Problem(refusal: .notImplemented, detail: "the method is not known here")
        }
    }

    /// Finds the route and gives the request its parameters.
    func match(_ request: inout Request) -> Match {
        if request.head.isAsterisk { return .options(nil) }
        let method = request.head.method
        if method == .other { return .unknownMethod }
        guard let endpoint = request.withPath({ tree.find($0, $1) }) else { return .notFound }
        let route =
            tree.route(endpoint, method) ?? (method == .head ? tree.route(endpoint, .get) : nil)
        if let route {
            request.parameters = all[route].pattern.parameters
            return .route(route)
        }
        return method == .options ? .options(endpoint) : .methodNotAllowed(endpoint)
    }

    /// The answer to a request with its body, by the route that it matched.
    @inline(__always) func answer(_ request: Request, _ match: Match) async -> Response {
        guard case .route(let index) = match else { return answerWithoutRoute(request, match) }
        do throws(Problem) {
            return finished(try await all[index].handler(request), request)
        } catch {
            return answer(request, refusedBy: error)
        }
    }

    private func answerWithoutRoute(_ request: Request, _ match: Match) -> Response {
        if let problem = problem(match) { return answer(request, refusedBy: problem) }
        var allow = allowedAnywhere
        if case .options(let endpoint?) = match { allow = allowed[endpoint] }
        return finished(Response(.noContent, fields: [Field(.allow, allow)]), request)
    }

    func answer(_ request: Request, refusedBy problem: Problem) -> Response {
        finished(Response(problem, requestID: request.id), request)
    }

    @inline(__always) private func finished(_ response: Response, _ request: Request) -> Response {
        guard let finish else { return response }
        var response = response
        finish(request, &response)
        return response
    }

    /// Answers a request without a connection: gate, then handler. For tests and calls from inside.
    package func respond(to request: Request) async -> Response {
        var request = request
        let match = match(&request)
        if case .route(let index) = match {
            do throws(Problem) {
                try await all[index].gate?(request)
            } catch {
                return answer(request, refusedBy: error)
            }
        }
        return await answer(request, match)
    }
}

extension MethodToken {
    init?(_ method: Method) {
        switch method {
        case .get: self = .get
        case .head: self = .head
        case .post: self = .post
        case .put: self = .put
        case .patch: self = .patch
        case .delete: self = .delete
        case .options: self = .options
        case .trace: self = .trace
        case .connect, .other: return nil
        }
    }
}

extension RouteTree {
    /// HEAD is served wherever GET is, OPTIONS everywhere.
    fileprivate func serves(_ endpoint: Int, _ method: Method) -> Bool {
        if method == .options { return true }
        guard let token = MethodToken(method) else { return false }
        return route(endpoint, token) != nil
            || (token == .head && route(endpoint, .get) != nil)
    }
}
