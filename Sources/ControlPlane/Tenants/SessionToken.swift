/// What a browser holds of a session: the 16 hexadecimal digits of its key's id, which name the tenant, and
/// 64 of secret (256 random bits).
package struct SessionToken: Hashable, Sendable {
    package let text: String

    /// Reads a token; nil if it is of another form.
    package init?(_ text: String) {
        guard text.utf8.count == 80, text.utf8.allSatisfy({ lowerHexDigit($0) != nil }) else {
            return nil
        }
        self.text = text
    }

    /// Makes a new one, for a key.
    init(key id: String, using random: inout some RandomNumberGenerator) {
        text = id + hexadecimal((0..<32).map { _ in .random(in: .min ... .max, using: &random) })
    }

    package var keyID: String { String(text.utf8.prefix(16)) ?? "" }

    /// What the database keeps: SHA-256, in hexadecimal.
    var hash: String { sha256Hex(text) }

    /// What a page must name in each call that changes something: it cannot read the cookie, and a page of
    /// another origin can read neither. From the token, so that there is nothing more to keep.
    package var csrf: String { sha256Hex("csrf \(text)") }

    /// Whether `text` is that, in the same time wherever the first difference is.
    package func matches(csrf text: String) -> Bool {
        KeyHash(of: text.utf8) == KeyHash(of: csrf.utf8)
    }
}

extension SessionToken: CustomStringConvertible, CustomReflectable {
    package var description: String { "<redacted>" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
