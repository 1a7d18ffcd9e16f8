/// The last line of defence: what looks like a secret is replaced before a line is written.
///
/// Secrets have types that print as `<redacted>`; this catches what slipped into free text, such as
/// a library's message with a connection string in it.
package func redacted(_ text: String) -> String {
    var bytes = Array(text.utf8)
    for prefix in ["e2b_", "whsec_", "Bearer "] { redact(after: Array(prefix.utf8), in: &bytes) }
    redactPasswords(in: &bytes)
    return String(decoding: bytes, as: UTF8.self)
}

private let mark = Array("<redacted>".utf8)

/// Replaces what follows a prefix, up to the end of the word, if it is 8 characters or longer.
private func redact(after prefix: [UInt8], in bytes: inout [UInt8]) {
    var index = 0
    while let start = find(prefix, in: bytes, from: index) {
        let from = start + prefix.count
        var end = from
        while end < bytes.count, isWord(bytes[end]) { end += 1 }
        index = from
        if end - from >= 8 {
            bytes.replaceSubrange(from..<end, with: mark)
            index = from + mark.count
        }
    }
}

/// `scheme://user:password@host` keeps its user and loses its password.
private func redactPasswords(in bytes: inout [UInt8]) {
    let separator = Array("://".utf8)
    var index = 0
    while let start = find(separator, in: bytes, from: index) {
        let from = start + separator.count
        index = from
        let authority = bytes[from...].prefix { $0 > 0x20 && $0 != UInt8(ascii: "/") }
        guard let at = authority.lastIndex(of: UInt8(ascii: "@")),
            let colon = authority[..<at].firstIndex(of: UInt8(ascii: ":"))
        else { continue }
        bytes.replaceSubrange(colon + 1..<at, with: mark)
    }
}

private func find(_ needle: [UInt8], in bytes: [UInt8], from: Int) -> Int? {
    guard bytes.count - from >= needle.count else { return nil }
    return (from...bytes.count - needle.count).first {
        bytes[$0] == needle[0] && bytes[$0..<$0 + needle.count].elementsEqual(needle)
    }
}

private func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: "-"),
        UInt8(ascii: "."), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="):
        true
    default: false
    }
}
