import JSON

extension Effect {
    /// The names of effects in a script.
    private enum Name: String, CaseIterable {
        case error, quota, capacity, placementTimeout, rateLimit
        case reset, close, hang, resetInBody, malformed, missingField, slow
        case zombie, vanish, lateInList

        /// The members that it takes beside `effect` and `weight`.
        var members: Set<String> {
            switch self {
            case .error:
                [
                    "status", "message", "errorCode", "retryAfterS", "shouldRetry", "format",
                    "applied",
                ]
            case .quota, .capacity, .placementTimeout: ["shouldRetry", "applied"]
            case .rateLimit: ["retryAfterS", "shouldRetry"]
            case .reset, .close: ["applied"]
            case .hang: ["forS", "applied"]
            case .resetInBody, .malformed: []
            case .missingField: ["field"]
            case .slow: ["factor", "addMs"]
            case .zombie: ["mode"]
            case .vanish: ["withinS"]
            case .lateInList: ["delayS"]
            }
        }
    }

    /// Every member that some effect has.
    fileprivate struct Members {
        var status = 500
        var message: String?
        var errorCode: String?
        var retryAfter: Int?
        var shouldRetry: Bool?
        var format = InjectedAnswer.Format.json
        var applied = false
        var length: Duration = .seconds(120)
        var field = "sandboxID"
        var factor = 10.0
        var plus: Duration = .zero
        var mode: ZombieMode?
        var within: Duration?
        var delay: Duration?
    }

    init(from reader: inout JSONReader) throws(JSONError) {
        var name: Name?
        var weight = 1.0
        var given: [String] = []
        var members = Members()
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "effect": name = try reader.readCase()
            case "weight": weight = try reader.readDouble(in: 0.000_001...1_000_000)
            default:
                try members.read(key, from: &reader)
                given.append(key.string)
            }
        }
        let known = try reader.require(name, "effect")
        if let foreign = given.first(where: { !known.members.contains($0) }) {
            throw reader.failure(.unknownField, "the effect \(known.rawValue) has no \(foreign)")
        }
        self.init(try Self.action(known, members, reader), weight: weight)
    }

    private static func action(
        _ name: Name, _ members: Members, _ reader: JSONReader
    ) throws(JSONError) -> Action {
        switch name {
        case .error: return members.answer(members.error)
        case .quota: return members.answer(.quota(20))
        case .capacity: return members.answer(.capacity)
        case .placementTimeout: return members.answer(.placementTimeout)
        case .rateLimit: return members.answer(.rateLimit(retryAfter: members.retryAfter ?? 1))
        case .reset: return .abandon(byReset: true, applied: members.applied)
        case .close: return .abandon(byReset: false, applied: members.applied)
        case .hang: return .hang(members.length, applied: members.applied)
        case .resetInBody: return .resetInBody
        case .malformed: return .malformed
        case .missingField: return .missingField(members.field)
        case .slow: return .slow(factor: members.factor, plus: members.plus)
        case .zombie: return .zombie(try reader.require(members.mode, "mode"))
        case .vanish: return .vanish(within: try reader.require(members.within, "withinS"))
        case .lateInList: return .lateInList(try reader.require(members.delay, "delayS"))
        }
    }
}

extension Effect.Members {
    fileprivate mutating func read(
        _ key: JSONKey, from reader: inout JSONReader
    ) throws(JSONError) {
        switch key {
        case "status": status = try reader.readInt(in: 400...599)
        case "message": message = try reader.readString(maxBytes: 1000)
        case "errorCode": errorCode = try reader.readName()
        case "retryAfterS": retryAfter = try reader.readInt(in: 0...86_400)
        case "shouldRetry": shouldRetry = try reader.readBool()
        case "format": format = try reader.readCase()
        case "applied": applied = try reader.readBool()
        case "forS": length = try reader.readSeconds(in: 0...3600)
        case "field": field = try reader.readName()
        case "factor": factor = try reader.readDouble(in: 0...10_000)
        case "addMs": plus = try reader.readMilliseconds()
        case "mode": mode = try reader.readCase()
        case "withinS": within = try reader.readSeconds(in: 0...2_592_000)
        case "delayS": delay = try reader.readSeconds(in: 0...86_400)
        default: throw reader.unknownField(key)
        }
    }

    /// The provider's usual words for the status unless others were given.
    fileprivate var error: ProviderError {
        var error = ProviderError.usual(status)
        if let message {
            error.message = message
            error.errorCode = nil
        }
        if let errorCode { error.errorCode = errorCode }
        if let retryAfter { error.retryAfter = retryAfter }
        return error
    }

    fileprivate func answer(_ error: ProviderError) -> Effect.Action {
        .answer(
            InjectedAnswer(error: error, format: format, shouldRetry: shouldRetry),
            applied: applied)
    }
}
