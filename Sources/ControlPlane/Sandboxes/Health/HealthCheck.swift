internal import IO
internal import Outbound

/// What is done about a sandbox that was made and does not work.
package enum HealthCheckMode: String, Hashable, Sendable, CaseIterable {
    /// Nobody looks.
    case off
    /// It is looked at after it was handed out: a warning and an event (the original).
    case warn
    /// It is looked at before it is handed out; one that is dead is killed and another made.
    case replace
}

/// What running `echo 'health_check'` in a sandbox showed.
package struct HealthCheck: Hashable, Sendable {
    package enum Verdict: String, Hashable, Sendable, CaseIterable {
        case healthy
        /// Created but dead.
        case zombie
        /// The provider has it no more.
        case gone
        /// Nothing that would prove either.
        case unknown
    }

    package let verdict: Verdict
    /// Why it is not healthy.
    package let reason: String?
    /// Commands that were begun.
    package let tries: Int
    package let took: Duration

    package init(_ verdict: Verdict, _ reason: String?, tries: Int, took: Duration) {
        self.verdict = verdict
        self.reason = reason
        self.tries = tries
        self.took = took
    }

    /// For the history.
    package var words: String {
        "\(verdict.rawValue) in \(took.milliseconds) ms" + (reason.map { ": \($0)" } ?? "")
    }

    /// Of its row; nil: it says nothing new.
    var health: Sandbox.Health? {
        switch verdict {
        case .healthy: .healthy
        case .zombie: .zombie
        case .gone, .unknown: nil
        }
    }
}

/// What one command showed.
enum HealthFinding: Hashable, Sendable {
    case healthy
    case dead(String)
    /// It was not the sandbox that failed.
    case nothing(String)

    static let line = "echo 'health_check'"
    private static let output = Array("health_check\n".utf8)
    /// Characters of what a sandbox said that are kept.
    private static let maxWords = 200

    init(_ outcome: Result<CommandResult, DataPlane.Fault>) {
        switch outcome {
        case .success(let result) where result.exitCode != 0:
            let end = result.exitCode.map { "exit status \($0)" } ?? "ended by a signal"
            self = .dead("the command failed: \(end) \(Self.words(result.errors))")
        case .success(let result) where result.output != Self.output:
            self = .dead("the command printed something else: \(Self.words(result.output))")
        case .success: self = .healthy
        case .failure(.transport(let failure)):
            let words = "no answer: \(failure.kind.rawValue) (\(failure.phase.rawValue))"
            self = failure.isOurs ? .nothing(words) : .dead(words)
        case .failure(.refused(let status, let message)):
            let words = "\(status) \(Self.words(Array(message.utf8)))"
            // The token is wrong, or this is no data plane: about the sandbox it says nothing.
            self = [401, 403].contains(status) ? .nothing(words) : .dead(words)
        case .failure(.stream(let code, let message)):
            self = .dead("the stream ended with \(code): \(Self.words(Array(message.utf8)))")
        case .failure(.noEnd): self = .dead("the stream ended before the command did")
        case .failure(.malformed(let reason)): self = .dead("not of envd's form: \(reason)")
        }
    }

    /// What came from a sandbox, fit for a log: short, one line.
    private static func words(_ octets: [UInt8]) -> String {
        let text = String(decoding: octets.prefix(4 * maxWords), as: UTF8.self)
        let scalars = text.unicodeScalars.prefix(maxWords).map {
            $0.properties.generalCategory == .control ? " " : $0
        }
        return String(String.UnicodeScalarView(scalars))
    }
}

extension HTTPClient.Failure {
    /// It says more about us, or about the way there, than about who was called.
    fileprivate var isOurs: Bool {
        if [.waiting, .resolve].contains(phase) { return true }
        return switch kind {
        case .refused, .unreachable, .reset, .timedOut, .protocol, .tooLarge: false
        case .name, .addressRefused, .wrongHost, .expired, .untrusted, .tls, .cancelled, .overloaded,
            .invalid, .outOfMemory:
            true
        }
    }
}
