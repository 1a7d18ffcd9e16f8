internal import Crypto

/// What a webhook is signed with (Standard Webhooks): `whsec_` and base64 of 24 to 64 octets.
package struct WebhookSecret: Sendable {
    private let key: SymmetricKey

    package static let prefix = "whsec_"

    /// Nil if it is none.
    package init?(_ text: String) {
        guard text.hasPrefix(Self.prefix),
            let octets = Base64.decode(String(text.dropFirst(Self.prefix.count))),
            (24...64).contains(octets.count)
        else { return nil }
        key = SymmetricKey(data: octets)
    }

    /// The field `webhook-signature`: HMAC-SHA256 over id, time and body with points between.
    package func signature(id: String, timestamp: Int64, body: [UInt8]) -> String {
        let signed = Array("\(id).\(timestamp).".utf8) + body
        return "v1," + Base64.encode(HMAC<SHA256>.authenticationCode(for: signed, using: key).map { $0 })
    }
}

extension WebhookSecret: CustomStringConvertible, CustomReflectable {
    package var description: String { "<redacted>" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
