extension Classifier {
    /// Whether a call that ended so may have been carried out.
    ///
    /// A refusal is an answer: it was not. No answer, or one from a gateway that had none itself,
    /// says nothing, unless the call never left.
    func mayHaveBeenApplied(
        _ facts: ErrorFacts, _ kind: ErrorKind, _ text: MessageReading
    ) -> Bool {
        if facts.errorCode == "idempotency_outcome_unknown" { return true }
        switch facts.status ?? text.words.status {
        case .some(200...299): return true
        case .some(408): return false
        case .some(let status) where kind != .network && kind != .timeout:
            return status < 400 && kind == .unknown
        case .some: return !text.means(.portClosed)
        case nil: break
        }
        if let phase = facts.phase { return phase.mayHaveArrived }
        switch kind {
        case .network, .timeout: return !text.neverLeft && !ErrorNames.neverLeft(facts.exception)
        case .unknown: return true
        default: return false
        }
    }

    /// Whether the default template may do: this one is missing, not ours, or fits no machine.
    func mayUseDefaultTemplate(
        _ facts: ErrorFacts, _ kind: ErrorKind, _ text: MessageReading
    ) -> Bool {
        guard facts.plane == .control else { return false }
        if facts.errorCode == "sandbox_no_compatible_node" || text.means(.incompatible) {
            return true
        }
        guard text.mentions("template") else { return false }
        switch kind {
        case .notFound: return true
        case .auth: return text.means(.auth)
        default: return false
        }
    }
}
