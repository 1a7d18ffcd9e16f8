import ControlPlane
import Foundation

/// A labelled line of `Messages/*.tsv`; see the page beside them.
struct LabelledMessage: Sendable, CustomStringConvertible {
    let kind: ErrorKind
    let facts: ErrorFacts
    let source: String
    /// The message as the file has it.
    let text: String

    var isSynthetic: Bool { source == "synthetic" }
    var description: String { "\(kind.rawValue): \(text) (\(source))" }

    /// Which file it belongs to: by the parity of its FNV-1a hash.
    var part: MessageCorpus.Part {
        let hash = text.utf8.reduce(into: 0xcbf2_9ce4_8422_2325 as UInt64) {
            $0 = ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        return hash % 2 == 1 ? .tuning : .heldOut
    }

    init(line: String) throws {
        let fields = line.components(separatedBy: "\t")
        guard fields.count == 4, let kind = ErrorKind(rawValue: fields[0]) else {
            throw CorpusError(description: "malformed: \(line)")
        }
        self.kind = kind
        facts = try ErrorFacts(
            text: fields[1], message: fields[2].replacingOccurrences(of: "\\n", with: "\n"))
        text = fields[2]
        source = fields[3]
    }
}

struct CorpusError: Error, CustomStringConvertible { let description: String }

enum MessageCorpus {
    enum Part: String {
        case tuning
        case heldOut = "held-out"
        /// Of other kinds of services, gathered when the first rules were done.
        case elsewhere

        static let parted: [Part] = [.tuning, .heldOut]
    }

    static func read(_ part: Part) throws -> [LabelledMessage] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "Messages")
        let text = try String(
            contentsOf: folder.appending(path: "\(part.rawValue).tsv"), encoding: .utf8)
        return try text.split(separator: "\n").dropFirst().map {
            try LabelledMessage(line: String($0))
        }
    }
}

extension ErrorFacts {
    /// `plane=data;status=502`.
    init(text: String, message: String) throws {
        self.init()
        self.message = message
        for item in text.split(separator: ";") {
            let parts = item.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw CorpusError(description: "malformed: \(text)") }
            let value = parts[1]
            switch parts[0] {
            case "plane": plane = Plane(rawValue: value) ?? .control
            case "status": status = Int(value)
            case "code": errorCode = value
            case "exception": exception = value
            case "phase": phase = Phase(rawValue: value)
            case "retry-after": retryAfter = Int(value).map { .seconds($0) }
            default: throw CorpusError(description: "no such fact: \(parts[0])")
            }
        }
    }
}
