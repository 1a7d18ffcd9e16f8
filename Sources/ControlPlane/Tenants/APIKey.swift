internal import Crypto
package import Postgres

/// A key of a tenant, as it is stored: its secret is not.
package struct APIKey: Hashable, Sendable {
    /// 16 hexadecimal digits that name the key; no secret.
    package let id: String
    package let tenant: Tenant.ID
    package let name: String
    package let scopes: Scopes
    package let createdAt: Timestamp
    /// Who made it: `key:ID`, or `system`.
    package let createdBy: String
    package let expiresAt: Timestamp?
    package let lastUsedAt: Timestamp?
    package let revokedAt: Timestamp?
    package let revokedReason: String?
    /// The key that it took over from.
    package let replaces: String?

    init(_ row: Row) throws(PostgresError) {
        id = try row.text("id")
        tenant = Tenant.ID(try row.uuid("tenant_id"))
        name = try row.text("name")
        scopes = Scopes(try row.texts("scopes"))
        createdAt = try row.timestamp("created_at")
        createdBy = try row.text("created_by")
        expiresAt = try row.timestampIfPresent("expires_at")
        lastUsedAt = try row.timestampIfPresent("last_used_at")
        revokedAt = try row.timestampIfPresent("revoked_at")
        revokedReason = try row.textIfPresent("revoked_reason")
        replaces = try row.textIfPresent("replaces")
    }
}

/// The text of a key: `e2b_`, then in lower-case hexadecimal 16 digits of id, 40 of secret (160
/// random bits) and 8 of CRC-32 over the digits before.
///
/// The shape is what the stock E2B SDKs check on the client, so that a key of ours is also a key for
/// them. The checksum keeps typing errors and scanners away from the database.
package struct APIKeySecret: Sendable {
    package let text: String

    /// Reads a key; nil if its form or checksum is wrong.
    package init?(_ text: String) {
        guard APIKeySecret.identifier(of: text.utf8) != nil else { return nil }
        self.text = text
    }

    /// Makes a new one.
    package init(using random: inout some RandomNumberGenerator) {
        let digits = hexadecimal(
            (0..<28).map { _ in UInt8.random(in: .min ... .max, using: &random) })
        let sum = crc32(digits.utf8)
        let checksum = hexadecimal((0..<4).map { UInt8(truncatingIfNeeded: sum >> (24 - 8 * $0)) })
        text = "e2b_" + digits + checksum
    }

    package var id: String { String(text.utf8.dropFirst(4).prefix(16)) ?? "" }
    package var hash: KeyHash { KeyHash(of: text.utf8) }

    /// The key id as a number, if form and checksum are right.
    static func identifier(of key: some Collection<UInt8>) -> UInt64? {
        guard key.count == 68, key.starts(with: "e2b_".utf8) else { return nil }
        let digits = key.dropFirst(4)
        var id: UInt64 = 0
        var sum: UInt32 = ~0
        var checksum: UInt32 = 0
        for (position, byte) in digits.enumerated() {
            guard let digit = lowerHexDigit(byte) else { return nil }
            if position < 16 { id = id << 4 | UInt64(digit) }
            if position < 56 {
                sum = crc32Table[Int(UInt8(truncatingIfNeeded: sum) ^ byte)] ^ sum >> 8
            } else {
                checksum = checksum << 4 | UInt32(digit)
            }
        }
        return ~sum == checksum ? id : nil
    }
}

extension APIKeySecret: CustomStringConvertible, CustomReflectable {
    package var description: String { "<redacted>" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// SHA-256 of a key. 160 random bits need no slow hash.
package struct KeyHash: Hashable, Sendable {
    private let words: (UInt64, UInt64, UInt64, UInt64)

    init(of key: some Collection<UInt8>) {
        var hasher = SHA256()
        hasher.update(data: Array(key))
        self.init(Array(hasher.finalize()))
    }

    /// Reads 32 octets; anything shorter is filled with zeros and equals no key's hash.
    init(_ octets: [UInt8]) {
        func word(_ index: Int) -> UInt64 {
            octets.dropFirst(8 * index).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        }
        words = (word(0), word(1), word(2), word(3))
    }

    package var octets: [UInt8] {
        [words.0, words.1, words.2, words.3].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) }
        }
    }

    /// Takes the same time wherever the first difference is.
    package static func == (left: KeyHash, right: KeyHash) -> Bool {
        (left.words.0 ^ right.words.0) | (left.words.1 ^ right.words.1)
            | (left.words.2 ^ right.words.2) | (left.words.3 ^ right.words.3) == 0
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}

/// SHA-256 of text in lower-case hexadecimal, e.g. a migration's checksum.
package func sha256Hex(_ text: String) -> String { hexadecimal(KeyHash(of: text.utf8).octets) }

func hexadecimal(_ octets: [UInt8]) -> String {
    func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") - 10 + value
    }
    return unsafe String(unsafeUninitializedCapacity: 2 * octets.count) { buffer in
        for (index, octet) in octets.enumerated() {
            unsafe buffer[2 * index] = digit(octet >> 4)
            unsafe buffer[2 * index + 1] = digit(octet & 15)
        }
        return 2 * octets.count
    }
}

@inline(__always) func lowerHexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte &- UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte &- UInt8(ascii: "a") &+ 10
    default: nil
    }
}

/// CRC-32 of IEEE 802.3 (polynomial 0xEDB88320, reflected).
func crc32(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(~0) { sum, byte in
        crc32Table[Int(UInt8(truncatingIfNeeded: sum) ^ byte)] ^ sum >> 8
    }
}

private let crc32Table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { sum, _ in sum & 1 == 1 ? 0xedb8_8320 ^ sum >> 1 : sum >> 1 }
}
