internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Postgres

/// What an error is and what to do about it.
struct ErrorRoutes {
    let endpoint: Endpoint

    var all: [Route] {
        let (classifier, policy) = (endpoint.services.classifier, endpoint.services.retries)
        return [
            endpoint.route(.post, "/v1/errors/classify", "classifyError", [.record, .read]) {
                call throws(Failure) in
                let input = try call.body(ClassifyInput.self)
                let error = classifier.classify(input.facts)
                var random = SystemRandomNumberGenerator()
                let verdict = policy.verdict(
                    on: error, attempt: input.attempt, maxAttempts: input.maxAttempts,
                    remaining: input.deadline, using: &random)
                return .json(encoded { write(error, verdict, to: &$0) })
            }
        ]
    }
}

/// The body of `classifyError`: what is known; all of it may be missing.
private struct ClassifyInput: JSONReadable {
    let facts: ErrorFacts
    let attempt: Int
    let maxAttempts: Int?
    let deadline: Duration?

    init(from reader: inout JSONReader) throws(JSONError) {
        var facts = ErrorFacts()
        var attempt = 1
        var maxAttempts: Int?
        var deadline: Int?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "attempt": attempt = try reader.readInt(in: 1...1_000_000)
            case "maxAttempts": maxAttempts = try reader.readInt(in: 1...RetryPolicy.mostAttempts)
            case "deadlineMs": deadline = try reader.readInt(in: 0...86_400_000)
            default: try facts.read(key, &reader)
            }
        }
        self.facts = facts
        self.attempt = attempt
        self.maxAttempts = maxAttempts
        self.deadline = deadline.map { .milliseconds($0) }
    }
}

extension ErrorFacts {
    /// Header fields that an answer may have.
    private static let maxFields = 100

    /// Reads one of its members. Throws for any other.
    mutating func read(_ key: JSONKey, _ reader: inout JSONReader) throws(JSONError) {
        switch key {
        case "plane": plane = try reader.readChoice()
        case "status": status = try reader.readInt(in: 100...599)
        case "errorCode": errorCode = try reader.readString(maxBytes: 256)
        case "exception": exception = try reader.readString(maxBytes: 256)
        case "phase": phase = try reader.readChoice()
        case "headers": try readFields(&reader)
        case "message": message = try reader.readString(maxBytes: 65_536)
        default: throw reader.unknownField(key)
        }
    }

    private mutating func readFields(_ reader: inout JSONReader) throws(JSONError) {
        let now = Timestamp.now
        var count = 0
        try reader.readObject { key, reader throws(JSONError) in
            count += 1
            if count > Self.maxFields {
                throw reader.failure(
                    .count, "is one field too many: at most \(Self.maxFields)")
            }
            note(field: key.string, try reader.readString(maxBytes: 8192), now: now)
        }
    }
}

extension JSONReader {
    /// One of an enum's names.
    mutating func readChoice<Choice: RawRepresentable<String> & CaseIterable>()
        throws(JSONError) -> Choice
    {
        guard let choice = Choice(rawValue: try readString(maxBytes: 64)) else {
            let names = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw failure(.range, "must be one of \(names)")
        }
        return choice
    }
}

func write(_ error: Classification, to json: inout JSONWriter) {
    let traits = error.kind.traits
    json.member("kind", error.kind.rawValue)
    json.member("api", traits.flags.isAPI)
    json.member("transient", traits.flags.isTransient)
    json.member("permanent", traits.flags.isPermanent)
    json.member("evidence", error.evidence.rawValue)
    json.member("schedule", error.schedule.rawValue)
    json.member("countsForBreaker", traits.countsForBreaker)
    json.member("failsOver", traits.failsOver)
    json.member("mayHaveBeenApplied", error.mayHaveBeenApplied)
    json.member("mayUseDefaultTemplate", error.mayUseDefaultTemplate)
}

private func write(
    _ error: Classification, _ verdict: RetryPolicy.Verdict, to json: inout JSONWriter
) {
    write(error, to: &json)
    switch verdict {
    case .retry(let wait):
        json.member("retry", true)
        json.member("retryAfterMs", wait.milliseconds)
        json.member("stop", orNull: nil as String?)
    case .stop(let stop, let retryAfter):
        json.member("retry", false)
        json.member("retryAfterMs", orNull: retryAfter?.milliseconds)
        json.member("stop", stop.rawValue)
    }
    json.member("text", text(error, verdict))
}

/// For people.
private func text(_ error: Classification, _ verdict: RetryPolicy.Verdict) -> String {
    let what =
        switch error.kind {
        case .rateLimit: "The provider limits the rate of requests."
        case .quota: "A limit of the provider's plan is reached."
        case .auth: "The provider refuses the credentials, or they do not allow this."
        case .notFound: "The provider has no such thing."
        case .invalidRequest: "The request is not one that the provider can carry out."
        case .network: "The connection to the provider failed."
        case .timeout: "The provider did not answer in time."
        case .unavailable where error.schedule == .capacity: "The provider lacks machines."
        case .unavailable: "The provider is not available now."
        case .internal: "The provider failed."
        case .unknown: "It is not known what went wrong."
        }
    let advice =
        switch verdict {
        case .retry(let wait): "Try again in \(wait.words)."
        case .stop(.permanent, _): "Trying again does not help until something changes."
        case .stop(.attempts, _): "All tries are used up."
        case .stop(.deadline, let wait):
            "The next try would be in \(wait?.words ?? "a while"), too late for the deadline."
        case .stop(_, let wait): "Try again in \(wait?.words ?? "a while")."
        }
    let warning =
        error.mayHaveBeenApplied
        ? " It may have been carried out all the same: look before you repeat it." : ""
    return "\(what) \(advice)\(warning)"
}

extension Duration {
    /// Whole seconds, rounded up.
    fileprivate var words: String { "\((milliseconds + 999) / 1000) s" }
}
