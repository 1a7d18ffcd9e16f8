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
        guard let octets = SecretKey.hex(text) ?? SecretKey.base64(text) else { return nil }
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

    private static func base64(_ text: String) -> [UInt8]? {
        guard
            text.utf8.drop(while: { $0 != UInt8(ascii: "=") }).allSatisfy({
                $0 == UInt8(ascii: "=")
            })
        else { return nil }
        var octets: [UInt8] = []
        var (bits, count): (UInt32, Int) = (0, 0)
        for byte in text.utf8.prefix(while: { $0 != UInt8(ascii: "=") }) {
            guard let value = base64Value(byte) else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                octets.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
                bits &= 1 << UInt32(count) - 1
            }
        }
        // What is left over must be padding: fewer than 6 bits, all of them 0.
        return count < 6 && bits == 0 ? octets : nil
    }

    private static func base64Value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"), UInt8(ascii: "-"): 62
        case UInt8(ascii: "/"), UInt8(ascii: "_"): 63
        default: nil
        }
    }
}

extension SecretKey: CustomStringConvertible, CustomReflectable {
    package var description: String { "<redacted key \(id)>" }
    package var customMirror: Mirror { Mirror(self, children: ["id": id]) }
}
