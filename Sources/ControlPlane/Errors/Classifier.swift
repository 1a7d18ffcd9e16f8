/// Tells what an error is: structured facts first, the message last and by whole words.
///
/// Pure and linear in the length of the message, of which at most `maxMessageBytes` are read.
package struct Classifier: Hashable, Sendable {
    package struct Settings: Hashable, Sendable {
        /// Octets of a message that are read.
        package var maxMessageBytes = 4096

        package init() {}
    }

    package let settings: Settings

    package init(_ settings: Settings = Settings()) { self.settings = settings }

    package func classify(_ facts: ErrorFacts) -> Classification {
        let text = MessageReading(facts.message, maxBytes: settings.maxMessageBytes)
        let (kind, evidence) = decide(facts, text)
        let isLackOfCapacity =
            kind == .unavailable
            && (text.means(.capacity) || facts.errorCode == "sandbox_capacity_unavailable")
        return Classification(
            kind: kind, evidence: evidence,
            schedule: isLackOfCapacity ? .capacity : kind.traits.schedule,
            retryAfter: kind.traits.flags.isPermanent ? nil : facts.wait,
            mayHaveBeenApplied: mayHaveBeenApplied(facts, kind, text),
            mayUseDefaultTemplate: mayUseDefaultTemplate(facts, kind, text))
    }

    private func decide(
        _ facts: ErrorFacts, _ text: MessageReading
    ) -> (ErrorKind, Classification.Evidence) {
        if let code = facts.errorCode, let kind = self.kind(ofCode: code, text) {
            return (kind, .errorCode)
        }
        if let status = facts.status, let kind = self.kind(ofStatus: status, facts, text) {
            return (kind, .status)
        }
        if let name = facts.exception, let kind = self.kind(ofException: name, text) {
            return (kind, .exception)
        }
        if facts.phase != nil { return (refined(.network, text), .phase) }
        if let status = text.words.status, let kind = self.kind(ofStatus: status, facts, text) {
            return (kind, .message)
        }
        if let kind = text.always ?? text.meaning?.kind ?? text.codeKind { return (kind, .message) }
        return (.unknown, .none)
    }

    // MARK: Codes

    private func kind(ofCode code: String, _ text: MessageReading) -> ErrorKind? {
        if let kind = ProviderCodes.kinds[code] { return kind }
        if let rpc = RPCCode(code) { return kind(of: rpc, text) }
        switch ErrorNames.said(by: code) {
        case .always(let kind): return kind == .unknown ? nil : kind
        case .meaning(let meaning): return refined(meaning.kind, text)
        case nil: return nil
        }
    }

    private func kind(of rpc: RPCCode, _ text: MessageReading) -> ErrorKind {
        switch rpc.kind {
        case .unavailable, .internal, .unknown:
            // What stands behind them is told by the message alone.
            guard let meaning = text.meaning, meaning <= .network else { return rpc.kind }
            return meaning.kind
        default: return refined(rpc.kind, text)
        }
    }

    // MARK: Status

    private func kind(
        ofStatus status: Int, _ facts: ErrorFacts, _ text: MessageReading
    ) -> ErrorKind? {
        switch status {
        case 401, 407: return .auth
        case 402, 507: return .quota
        case 403:
            if text.means(.quota) { return .quota }
            return text.means(.rateLimit) ? .rateLimit : text.means(.limit) ? .quota : .auth
        case 404, 410: return .notFound
        case 408, 504, 522, 524: return .timeout
        case 409: return text.saysItPasses ? .unavailable : .invalidRequest
        case 423, 425, 529: return .unavailable
        case 429:
            let isQuota = text.means(.quota) || (text.means(.limit) && !text.means(.rateLimit))
            return isQuota && facts.retryAfter == nil ? .quota : .rateLimit
        case 400 where text.saysLimit: return text.means(.quota) ? .quota : .rateLimit
        case 400...499, 501, 505: return .invalidRequest
        case 502: return text.means(.gone) && !text.means(.portClosed) ? .notFound : .network
        case 503: return text.means(.incompatible) ? .invalidRequest : .unavailable
        case 520, 521, 523, 525, 526, 530: return .network
        case 500 where text.means(.timeout): return .timeout
        case 500...599: return .internal
        case 200...299: return nil  // an answer that could not be read: the rest decides
        default: return .unknown
        }
    }

    // MARK: Exceptions

    private func kind(ofException name: String, _ text: MessageReading) -> ErrorKind? {
        switch ErrorNames.said(by: name) {
        case .always(let kind): return kind == .unknown ? nil : kind
        case .meaning(let meaning): return refined(meaning.kind, text)
        case nil: return nil
        }
    }

    /// What the message may add to a kind that is known already.
    private func refined(_ kind: ErrorKind, _ text: MessageReading) -> ErrorKind {
        switch kind {
        case .network, .timeout:
            if text.means(.portClosed) { return .network }
            if text.means(.gone) { return .notFound }
            if text.means(.certificate) { return .auth }
            return text.means(.timeout) ? .timeout : kind
        case .rateLimit:
            return text.means(.capacity) ? .unavailable : text.means(.quota) ? .quota : kind
        default: return kind
        }
    }
}
