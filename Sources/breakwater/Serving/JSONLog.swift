import ControlPlane
import Glibc
import JSON
import Logging
import Postgres

/// Writes each entry as one JSON line on standard output, fields flat at the top level.
struct JSONLogHandler: LogHandler {
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var writer = JSONWriter(capacity: 512)
        writer.object { writer in
            writer.member("time", Timestamp.now.description)
            writer.member("level", event.level.rawValue)
            writer.member("message", redacted(event.message.description))
            let fields = metadata.merging(event.metadata ?? [:]) { _, new in new }
            for (name, value) in fields.sorted(by: { $0.key < $1.key }) {
                writer.startMember(name)
                Self.write(value, &writer)
            }
        }
        var line = writer.bytes
        line.append(UInt8(ascii: "\n"))
        var rest = line[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count)
            }
            if count < 0 { if errno == EINTR { continue } else { return } }
            rest = rest.dropFirst(count)
        }
    }

    private static func write(_ value: Logger.Metadata.Value, _ writer: inout JSONWriter) {
        switch value {
        case .string(let text): writer.value(redacted(text))
        case .stringConvertible(let number as Int64): writer.value(number)
        case .stringConvertible(let flag as Bool): writer.value(flag)
        case .stringConvertible(let document as RawJSON):
            writer.raw(Array(redacted(document.description).utf8))
        case .stringConvertible(let value): writer.value(redacted(value.description))
        case .array(let values):
            writer.array { writer in for value in values { Self.write(value, &writer) } }
        case .dictionary(let members):
            writer.object { writer in
                for (name, value) in members.sorted(by: { $0.key < $1.key }) {
                    writer.startMember(name)
                    Self.write(value, &writer)
                }
            }
        }
    }
}

/// A JSON document that is part of the line as it is, not as text.
private struct RawJSON: CustomStringConvertible, Sendable {
    let description: String
}

extension Event.Value {
    var metadata: Logger.Metadata.Value {
        switch self {
        case .text(let text): .string(text)
        case .texts(let texts): .array(texts.map { .string($0) })
        case .integer(let number): .stringConvertible(number)
        case .flag(let flag): .stringConvertible(flag)
        case .json(let text): .stringConvertible(RawJSON(description: text))
        }
    }
}

/// Sends events to the log.
func makeTell(level: Settings.LogLevel) -> Tell {
    let logger = Logger(label: "breakwater") { _ in
        JSONLogHandler(logLevel: Logger.Level(rawValue: level.rawValue) ?? .info)
    }
    return { event in
        let metadata = Logger.Metadata(
            event.fields.map { ($0.name, $0.value.metadata) },
            uniquingKeysWith: { first, _ in first })
        logger.log(
            level: Logger.Level(rawValue: event.level.rawValue) ?? .info, "\(event.message)",
            metadata: metadata)
    }
}
