import IO

extension Problem {
    /// The members of RFC 9457 section 3.1, then ours.
    func json(_ requestID: RequestID) -> [UInt8] {
        var json = ObjectWriter()
        json.member("type", type.urn)
        json.member("title", type.title)
        json.member("status", Int64(status.code))
        if let detail { json.member("detail", detail) }
        json.member("instance", requestID.urn)
        if let retryAfter {
            // Rounded up, so that who waits exactly this long is not early.
            json.member("retryAfterMs", max(0, (retryAfter.nanoseconds &+ 999_999) / 1_000_000))
        }
        if !errors.isEmpty {
            json.array("errors", errors) { item in
                var error = ObjectWriter()
                error.member("pointer", item.pointer)
                error.member("detail", item.detail)
                return error.finish()
            }
        }
        for (name, value) in members {
            switch value {
            case .string(let text): json.member(name, text)
            case .integer(let number): json.member(name, number)
            case .boolean(let flag): json.raw(name, flag ? "true" : "false")
            case .strings(let list): json.array(name, list) { Array(quoted($0).utf8) }
            }
        }
        return json.finish()
    }
}

/// Just enough JSON for a problem.
private struct ObjectWriter {
    private var bytes = Array("{".utf8)

    mutating func member(_ name: String, _ text: String) { raw(name, quoted(text)) }
    mutating func member(_ name: String, _ number: Int64) { raw(name, String(number)) }

    mutating func raw(_ name: String, _ json: String) {
        key(name)
        bytes += json.utf8
    }

    mutating func array<Item>(_ name: String, _ items: [Item], _ write: (Item) -> [UInt8]) {
        key(name)
        bytes += "[".utf8
        bytes += items.map(write).joined(separator: ",".utf8)
        bytes += "]".utf8
    }

    private mutating func key(_ name: String) {
        if bytes.count > 1 { bytes += ",".utf8 }
        bytes += quoted(name).utf8
        bytes += ":".utf8
    }

    consuming func finish() -> [UInt8] {
        bytes += "}".utf8
        return bytes
    }
}

/// A JSON string, RFC 8259 section 7.
private func quoted(_ text: String) -> String {
    var json = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": json += "\\\""
        case "\\": json += "\\\\"
        case "\u{00}"..."\u{1F}":
            let code = String(scalar.value, radix: 16)
            json += "\\u" + String(repeating: "0", count: 4 - code.count) + code
        default: json.unicodeScalars.append(scalar)
        }
    }
    return json + "\""
}
