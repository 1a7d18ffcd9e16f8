import JSON

/// The framing of a Connect stream: one octet of flags, the length in four (big-endian), the message.
package enum Envelope {
    package static let endOfStream: UInt8 = 2

    package static func wrap(_ message: [UInt8], flags: UInt8 = 0) -> [UInt8] {
        let length = UInt32(message.count)
        return [
            flags, UInt8(length >> 24), UInt8(length >> 16 & 0xff), UInt8(length >> 8 & 0xff),
            UInt8(length & 0xff),
        ] + message
    }

    /// The one message of a request; nil if the octets are not exactly one uncompressed envelope.
    package static func unwrap(_ bytes: [UInt8]) -> [UInt8]? {
        guard bytes.count >= 5, bytes[0] == 0 else { return nil }
        let length = bytes[1..<5].reduce(0) { $0 << 8 | Int($1) }
        return length == bytes.count - 5 ? Array(bytes[5...]) : nil
    }
}

/// What envd sends while a command runs, each in its envelope, as protojson writes it: members that are
/// zero are left out.
enum ProcessEvent {
    private static func event(_ members: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { $0.object("event", members) }
        return Envelope.wrap(writer.bytes)
    }

    static func start(pid: Int) -> [UInt8] {
        event { $0.object("start") { $0.member("pid", pid) } }
    }

    static func data(_ text: String, toErrors: Bool = false) -> [UInt8] {
        event {
            $0.object("data") { $0.member(toErrors ? "stderr" : "stdout", base64(text.utf8)) }
        }
    }

    static var keepalive: [UInt8] { event { $0.object("keepalive") { _ in } } }

    static func end(status: Int) -> [UInt8] {
        event {
            $0.object("end") { json in
                if status != 0 { json.member("exitCode", status) }
                json.member("exited", true)
                json.member("status", "exit status \(status)")
                if status != 0 { json.member("error", "exit status \(status)") }
            }
        }
    }

    /// The stream's end, in order or with an error.
    static func endOfStream(_ error: (code: String, message: String)? = nil) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { json in
            guard let error else { return }
            json.object("error") { json in
                json.member("code", error.code)
                json.member("message", error.message)
            }
        }
        return Envelope.wrap(writer.bytes, flags: Envelope.endOfStream)
    }
}

/// RFC 4648 section 4.
package func base64(_ bytes: some Collection<UInt8>) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    text.reserveCapacity((bytes.count + 2) / 3 * 4)
    var rest = bytes[...]
    while !rest.isEmpty {
        let group = Array(rest.prefix(3))
        rest = rest.dropFirst(3)
        let word = group.enumerated().reduce(0) { $0 | Int($1.element) << (16 - 8 * $1.offset) }
        for place in 0..<4 {
            text.append(
                place <= group.count ? alphabet[word >> (18 - 6 * place) & 63] : UInt8(ascii: "="))
        }
    }
    return String(decoding: text, as: UTF8.self)
}
