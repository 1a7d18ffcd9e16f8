/// Something that goes wrong: to whom, when, how often, and what then happens.
package struct Fault: Sendable {
    /// As the book calls it.
    package var name = "fault"

    // To whom; nil is all.
    package var regions: [String]?
    package var keys: [String]?
    package var templates: [String]?
    package var operations: Set<Operation> = [.create]

    // When: half-open, from the script's start.
    package var from: Duration = .zero
    /// Nil: for good.
    package var length: Duration?

    // How often.
    package var intensity = Intensity.rate(1)
    /// Calls that match and are let through before the first that may be hit.
    package var skip = 0
    /// Calls that are hit at most; nil: any number.
    package var limit: Int?

    /// What happens; one of them by weight.
    package var effects: [Effect]

    package init(effects: [Effect]) { self.effects = effects }
}

/// What a call asks for. The last two are the data plane's.
package enum Operation: String, Hashable, Sendable, CaseIterable {
    case create, connect, get, list, kill, timeout, pause, resume, refresh, metrics, template, other
    case health, command
}

/// How likely a matching call is to be hit.
package enum Intensity: Sendable {
    /// 0 to 1, the same all the time.
    case rate(Double)
    /// One after the other; after the last one nothing happens any more.
    case phases([Phase])
    /// Gilbert-Elliott: good and bad times take turns, each exponentially long.
    case bursts(Bursts)

    package struct Phase: Sendable {
        package var length: Duration
        /// At its start and its end, linear in between.
        package var rate: Double
        package var toRate: Double
    }

    package struct Bursts: Sendable {
        /// Share of the time that is bad, 0 to 1.
        package var badShare = 0.02
        package var meanBad: Duration
        package var goodRate = 0.002
        package var badRate = 0.6
    }
}

package struct Effect: Sendable {
    package var weight = 1.0
    package var action: Action

    package init(_ action: Action, weight: Double = 1) {
        self.action = action
        self.weight = weight
    }

    package enum Action: Sendable {
        /// This answer instead of the true one. `applied`: after doing what was asked, so that the
        /// caller does not learn of it.
        case answer(InjectedAnswer, applied: Bool)
        /// The connection ends before the answer.
        case abandon(byReset: Bool, applied: Bool)
        /// No answer for so long, then a reset.
        case hang(Duration, applied: Bool)
        /// The true answer's head and half its body, then a reset.
        case resetInBody
        /// The true answer, its JSON cut off.
        case malformed
        /// The true answer without one member.
        case missingField(String)
        /// The true answer, later: `factor` times the latency, and so much more.
        case slow(factor: Double, plus: Duration)
        // What becomes of the sandbox that is created.
        case zombie(ZombieMode)
        /// It ends by itself, at a time drawn evenly from this span.
        case vanish(within: Duration)
        /// Lists show it only so much later.
        case lateInList(Duration)
    }
}

/// How a sandbox that was created is dead.
package enum ZombieMode: String, Hashable, Sendable, CaseIterable {
    /// The health check too says 502, "The sandbox is running but port is not open". The others pass
    /// it and fail when a command is run.
    case portClosed
    /// Nothing comes until the caller gives up.
    case commandsHang
    /// The stream ends in an error.
    case streamError
    /// The stream ends in order but never said how the command ended.
    case noEndEvent
    case wrongOutput
    case nonZeroExit
    /// The command begins and prints nothing, and nothing more comes.
    case hangMidStream
    /// Half of the output, and then an end in good order.
    case halfOutput
    /// The connection is reset after the command has begun.
    case resetMidStream
    /// The connection is reset when a command is asked for.
    case resetAtOnce
}

/// An answer that a fault gives.
package struct InjectedAnswer: Sendable {
    package enum Format: String, Hashable, Sendable, CaseIterable { case json, html, text }

    package var error: ProviderError
    package var format = Format.json
    /// `Should-Retry`, which newer SDKs obey.
    package var shouldRetry: Bool?
}
