internal import Crypto

/// A key that seals secrets at rest: 32 octets, never printed.
package struct SecretKey: Sendable {
    /// The first 8 hexadecimal digits of the SHA-256 of the octets: names the key, and is stored
    /// beside what it sealed.
    package let id: String
    let key: SymmetricKey

    /// Nil unless `octets` are 32.
    package init?(octets: [UInt8]) {
        guard octets.count == 32 else { return nil }
        id = hexadecimal(Array(SHA256.hash(data: octets).prefix(4)))
        key = SymmetricKey(data: octets)
    }

    /// Reads 64 hexadecimal digits, or base64 (RFC 4648, with or without `=`, either alphabet).
    package init?(_ text: String) {
        guard let octets = SecretKey.hex(text) ?? Base64.decode(lenient: text) else { return nil }
        self.init(octets: octets)
    }

    /// Makes a new one.
    package static func make(
        using random: inout some RandomNumberGenerator
    ) -> (key: SecretKey, text: String)? {
        let octets = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        return SecretKey(octets: octets).map { ($0, hexadecimal(octets)) }
    }

    private static func hex(_ text: String) -> [UInt8]? {
        guard text.utf8.count == 64 else { return nil }
        var octets: [UInt8] = []
        var high: UInt8?
        for character in text {
            guard let digit = character.hexDigitValue, character.isASCII else { return nil }
            if let first = high {
                octets.append(first << 4 | UInt8(digit))
                high = nil
            } else {
                high = UInt8(digit)
            }
        }
        return octets
    }
}

extension SecretKey: CustomStringConvertible, CustomReflectable {
    package var description: String { "<redacted key \(id)>" }
    package var customMirror: Mirror { Mirror(self, children: ["id": id]) }
}
