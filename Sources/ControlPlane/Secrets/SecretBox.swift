internal import Crypto

/// Seals provider keys and channel secrets for the database: AES-256-GCM with a random nonce of 96
/// bits (NIST SP 800-38D section 8.2.2: up to 2^32 values a key, far more than there are), and the
/// value's place as associated data, so that a value moved to another row, column or tenant does not
/// open.
///
/// Format: octet 1 (the version), 4 octets of key id, 12 of nonce, the ciphertext, 16 of tag.
package struct SecretBox: Sendable {
    /// Where a value is stored. Part of what is authenticated.
    package struct Place: Hashable, Sendable {
        let tenant: Tenant.ID
        let table: String
        let column: String
        let row: String

        package init(tenant: Tenant.ID, table: String, column: String, row: String) {
            self.tenant = tenant
            self.table = table
            self.column = column
            self.row = row
        }

        /// Each part with its length before it: no two places give the same octets.
        var octets: [UInt8] {
            var octets: [UInt8] = []
            for part in [tenant.description, table, column, row] {
                let bytes = Array(part.utf8)
                for shift in [24, 16, 8, 0] {
                    octets.append(UInt8(truncatingIfNeeded: bytes.count >> shift))
                }
                octets += bytes
            }
            return octets
        }
    }

    /// Longest value in octets. Keys and webhook secrets have less than 100.
    package static let maxOctets = 8192

    private static let version: UInt8 = 1
    private static let overhead = 1 + 4 + 12 + 16

    /// Seals and opens; nil where none was given.
    private let current: SecretKey?
    /// Open alone.
    private let previous: [SecretKey]

    package init(_ current: SecretKey?, previous: [SecretKey] = []) {
        self.current = current
        self.previous = previous
    }

    /// What new values are sealed with; nil: none can be stored.
    package var keyID: String? { current?.id }

    package var previousIDs: [String] { previous.map(\.id).filter { $0 != keyID } }

    /// - Throws: `secretKeyNeeded` without a key; `invalid` for a value over `maxOctets`.
    package func seal(
        _ value: String, at place: Place
    ) throws(ControlPlaneError) -> [UInt8] {
        guard let current else { throw .secretKeyNeeded }
        let octets = Array(value.utf8)
        guard octets.count <= Self.maxOctets else {
            throw .invalid(field: place.column, reason: "must be at most \(Self.maxOctets) octets")
        }
        let head = [Self.version] + current.idOctets
        do {
            let box = try AES.GCM.seal(
                octets, using: current.key, authenticating: head + place.octets)
            return head + Array(box.nonce) + Array(box.ciphertext) + Array(box.tag)
        } catch {
            throw .secretUnreadable("cannot be sealed")
        }
    }

    /// - Throws: `secretUnreadable`: sealed with a key that is not here, for another place, or
    ///   changed since; for the log, never the value.
    package func open(
        _ sealed: [UInt8], at place: Place
    ) throws(ControlPlaneError) -> String {
        guard sealed.count >= Self.overhead, sealed[0] == Self.version else {
            throw .secretUnreadable("is no sealed value")
        }
        guard let key = key(of: sealed) else {
            throw .secretUnreadable(
                "was sealed with key \(Self.keyID(of: sealed) ?? ""), which is not among the keys given"
            )
        }
        do {
            let box = try AES.GCM.SealedBox(
                nonce: AES.GCM.Nonce(data: sealed[5..<17]),
                ciphertext: sealed[17..<sealed.count - 16], tag: sealed[(sealed.count - 16)...])
            let octets = try AES.GCM.open(
                box, using: key.key, authenticating: sealed[..<5] + place.octets)
            return String(decoding: octets, as: UTF8.self)
        } catch {
            throw .secretUnreadable("does not open: changed, or of another row")
        }
    }

    /// Sealed with another key than new values are: seal it again, so that the old key can go.
    package func needsSealing(_ sealed: [UInt8]) -> Bool {
        guard let current else { return false }
        return Self.keyID(of: sealed) != current.id
    }

    /// The id of the key that sealed a value; nil if it is none.
    package static func keyID(of sealed: [UInt8]) -> String? {
        guard sealed.count >= overhead, sealed[0] == version else { return nil }
        return hexadecimal(Array(sealed[1..<5]))
    }

    private func key(of sealed: [UInt8]) -> SecretKey? {
        let id = Self.keyID(of: sealed)
        return ([current].compactMap { $0 } + previous).first { $0.id == id }
    }
}

extension SecretKey {
    /// The id as it is stored.
    fileprivate var idOctets: [UInt8] {
        let number = UInt32(id, radix: 16) ?? 0
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> UInt32($0)) }
    }
}
