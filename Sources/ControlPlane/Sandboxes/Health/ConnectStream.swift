internal import JSON

/// Takes the answer of envd's `process.Process/Start` apart: a Connect stream of JSON messages, each behind
/// one octet of flags and its length in four (big-endian), split and joined as they come.
///
/// Pure. What it does not know (keepalives, later members) it passes over.
struct ConnectStream {
    /// Longest message that is taken; what a health check prints has a dozen octets.
    static let maxMessageBytes = 65_536

    enum Event: Hashable, Sendable {
        case output([UInt8])
        case errors([UInt8])
        /// The command is over. Nil: it did not exit, a signal ended it.
        case end(exitCode: Int?)
        /// The stream is over, in order or with an error.
        case over(code: String?, message: String)
    }

    struct Malformed: Error, Hashable, Sendable { let reason: String }

    private var bytes: [UInt8] = []

    /// The events that are whole now.
    mutating func feed(_ more: [UInt8]) throws(Malformed) -> [Event] {
        bytes += more
        var events: [Event] = []
        var start = 0
        while bytes.count - start >= 5 {
            let length = bytes[start + 1..<start + 5].reduce(0) { $0 << 8 | Int($1) }
            guard length <= Self.maxMessageBytes else {
                throw Malformed(reason: "a message of \(length) octets")
            }
            let end = start + 5 + length
            guard bytes.count >= end else { break }
            if let event = try Self.event(flags: bytes[start], Array(bytes[start + 5..<end])) {
                events.append(event)
            }
            start = end
        }
        bytes.removeFirst(start)
        return events
    }

    private static func event(
        flags: UInt8, _ message: [UInt8]
    ) throws(Malformed) -> Event? {
        // 1: compressed, which nobody asked for.
        guard flags & 1 == 0, let document = JSONValue(bytes: message) else {
            throw Malformed(reason: "a message that is no JSON")
        }
        if flags & 2 != 0 {
            return .over(
                code: document["error"]?["code"]?.string,
                message: document["error"]?["message"]?.string ?? "")
        }
        guard let event = document["event"] else { return nil }
        if let data = event["data"] {
            for (name, isError) in [("stdout", false), ("stderr", true)] {
                guard let text = data[name]?.string else { continue }
                guard let printed = Base64.decode(lenient: text) else {
                    throw Malformed(reason: "\(name) that is no base64")
                }
                return isError ? .errors(printed) : .output(printed)
            }
        }
        guard let end = event["end"] else { return nil }
        // protojson leaves out what is zero.
        guard case .bool(true)? = end["exited"] else { return .end(exitCode: nil) }
        if case .number(let code)? = end["exitCode"] { return .end(exitCode: code.int) }
        return .end(exitCode: 0)
    }
}

/// What a command did.
struct CommandResult: Hashable, Sendable {
    var output: [UInt8] = []
    var errors: [UInt8] = []
    /// Nil: a signal ended it.
    var exitCode: Int?
}
