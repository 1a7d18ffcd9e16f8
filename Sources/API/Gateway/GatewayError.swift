internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Outbound

/// An error in the provider's own form, so that the SDK's exceptions stay what they are:
/// `{"code", "message", "error_code"?}`, and whether the SDK should try again.
struct GatewayError: Error, Sendable {
    let status: Int
    let message: String
    var code: String?
    /// False: we have tried already, or it cannot help. Without the field newer SDKs try each call four
    /// times.
    var shouldRetry = false
    var retryAfter: Duration?
    /// Of a fault of ours, for the log.
    var cause: String?

    init(
        _ status: Int, _ message: String, code: String? = nil, shouldRetry: Bool = false,
        retryAfter: Duration? = nil
    ) {
        self.status = status
        self.message = message
        self.code = code
        self.shouldRetry = shouldRetry
        self.retryAfter = retryAfter
    }

    var response: Response {
        var response = Response.json(
            encoded { json in
                json.member("code", status)
                json.member("message", message)
                json.member("error_code", ifPresent: code)
            }, status: Status(provider: status))
        response.fields.append(Field(FieldName("Should-Retry"), shouldRetry ? "true" : "false"))
        if let retryAfter {
            response.fields.append(Field(.retryAfter, "\(retryAfter.wholeSecondsUp)"))
        }
        return response
    }

    static func noSandbox(_ id: String) -> GatewayError {
        GatewayError(404, "Sandbox \"\(id)\" doesn't exist or you don't have access to it")
    }
}

extension GatewayError {
    /// What the service itself refuses.
    init(_ failure: Failure, _ services: Services) {
        switch failure {
        case .problem(let problem): self.init(problem)
        case .domain(let error):
            self.init(error, retryAfter: services.settings.storeRetryAfter)
        }
    }

    init(_ error: ControlPlaneError, retryAfter: Duration) {
        let problem = Problem(error, retryAfter: retryAfter)
        self.init(problem)
        if problem.status.code == 500 { cause = error.cause }
    }

    init(_ problem: Problem) {
        let status = Int(problem.status.code)
        self.init(
            status, problem.detail ?? problem.type.title,
            shouldRetry: status == 503 || status == 429, retryAfter: problem.retryAfter)
    }

    /// Why no sandbox was made.
    init(_ failure: CreationFailure, _ order: CreationOrder) {
        switch failure {
        case .domain(.tooManySandboxes(let most)):
            // In the provider's own words, which callers know.
            self.init(
                429, "you have reached the maximum number of concurrent sandboxes (\(most))",
                retryAfter: .roomWait)
        case .domain(let error):
            self.init(error, retryAfter: .seconds(1))
        case .notWorking(let reason, _, _):
            self.init(502, "No sandbox that was made works: \(reason)")
        case .breakerOpen(let refusal):
            self.init(503, refusal.message, retryAfter: .seconds(refusal.retryAfterSeconds))
        case .overQuota(let verdict):
            let problem = denial(Ask(Creations.Settings.operation), verdict)
            self.init(
                429, "Rate limit exceeded: \(problem.detail ?? "")",
                retryAfter: problem.retryAfter)
        case .notTried(.throttled, let wait):
            self.init(
                429, "Rate limit exceeded: the account creates no more for now",
                shouldRetry: true, retryAfter: wait ?? .seconds(1))
        case .notTried(_, let wait):
            self.init(
                503, "Too many sandboxes are being made", shouldRetry: true,
                retryAfter: wait ?? .seconds(1))
        case .provider(let cause, _, let wait, _, _):
            self.init(cause.facts, cause.error, retryAfter: wait)
        }
    }

    /// The provider's last word, or that there was none.
    init(_ facts: ErrorFacts, _ error: Classification, retryAfter: Duration? = nil) {
        let isOther = facts.message.drop { $0.isWhitespace }.hasPrefix("<")
        if let status = facts.status, !(200...299).contains(status) {
            self.init(
                status,
                isOther || facts.message.isEmpty
                    ? "The provider answered \(status)" : facts.message,
                code: facts.errorCode, retryAfter: retryAfter ?? error.retryAfter)
            return
        }
        let status = error.kind == .timeout ? 504 : 502
        self.init(
            status,
            error.mayHaveBeenApplied
                ? "The provider gave no answer that can be read: \(facts.message)"
                : "The provider cannot be reached: \(facts.message)", retryAfter: retryAfter)
    }
}

extension Status {
    /// A provider's; what is none by RFC 9110 section 15 is a bad gateway's.
    init(provider code: Int) { self.init((100...599).contains(code) ? code : 502) }
}
