import IO
import JSON

extension Problem {
    /// The members of RFC 9457 section 3.1, then ours.
    package func json(_ requestID: RequestID) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { json in
            json.member("type", type.urn)
            json.member("title", type.title)
            json.member("status", Int(status.code))
            json.member("detail", ifPresent: detail)
            json.member("instance", requestID.urn)
            if let retryAfter {
                // Rounded up, so that who waits exactly this long is not early.
                json.member("retryAfterMs", max(0, (retryAfter.nanoseconds &+ 999_999) / 1_000_000))
            }
            if !errors.isEmpty {
                json.array("errors") { json in
                    for error in errors {
                        json.object { json in
                            json.member("pointer", error.pointer)
                            json.member("detail", error.detail)
                        }
                    }
                }
            }
            for member in members { json.write(member.name, member.value) }
        }
        return writer.bytes
    }
}

extension JSONWriter {
    fileprivate mutating func write(_ name: String, _ value: Problem.Value) {
        switch value {
        case .string(let text): member(name, text)
        case .integer(let number): member(name, number)
        case .boolean(let flag): member(name, flag)
        case .strings(let list):
            array(name) { json in
                for text in list { json.value(text) }
            }
        }
    }
}
