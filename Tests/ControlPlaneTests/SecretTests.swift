import ControlPlane
import Postgres
import TestSupport
import Testing

@Suite struct `A secret box` {
    private let key = String(repeating: "0123456789abcdef", count: 4)
    private let otherKey = String(repeating: "fedcba9876543210", count: 4)
    private let tenant = Tenant.ID(UUID(high: 1, low: 2))
    private let value = "e2b_" + String(repeating: "a", count: 40)

    private func box(_ current: String, previous: [String] = []) throws -> SecretBox {
        let key: SecretKey = try #require(SecretKey(current))
        return SecretBox(key, previous: try previous.map { try #require(SecretKey($0)) })
    }

    private func place(
        _ row: String = "eu", table: String = "region", column: String = "api_key",
        tenant: Tenant.ID? = nil
    ) -> SecretBox.Place {
        SecretBox.Place(tenant: tenant ?? self.tenant, table: table, column: column, row: row)
    }

    @Test(.proves("H1")) func `opens what it sealed, and no octet of it shows`() throws {
        let box = try box(key)
        for value in [value, "", "ä\u{0}😀", String(repeating: "x", count: SecretBox.maxOctets)] {
            let sealed = try box.seal(value, at: place())
            #expect(try box.open(sealed, at: place()) == value)
            #expect(sealed.count == value.utf8.count + 33)
            if value.utf8.count > 8 {
                let isShown = (0..<sealed.count - 8).contains {
                    sealed[$0..<$0 + 8].elementsEqual(value.utf8.prefix(8))
                }
                #expect(!isShown)
            }
        }
        // A nonce of its own for each.
        #expect(try box.seal(value, at: place()) != box.seal(value, at: place()))
        #expect(throws: ControlPlaneError.self) {
            try box.seal(String(repeating: "x", count: SecretBox.maxOctets + 1), at: place())
        }
    }

    @Test(.proves("H1")) func `opens nothing that stands in another place`() throws {
        let box = try box(key)
        let sealed = try box.seal(value, at: place())
        for other in [
            place("us"), place(table: "channel"), place(column: "secret"),
            place(tenant: Tenant.ID(UUID(high: 1, low: 3))),
            // The same octets, otherwise divided.
            place("u", table: "region", column: "api_keye"),
            place("eu", table: "regiona", column: "pi_key"),
        ] {
            #expect(throws: ControlPlaneError.self) { try box.open(sealed, at: other) }
        }
    }

    @Test func `opens nothing that was changed or cut`() throws {
        let box = try box(key)
        let sealed = try box.seal("secret", at: place())
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 1
            #expect(throws: ControlPlaneError.self) { try box.open(changed, at: place()) }
        }
        for count in 0..<sealed.count {
            #expect(throws: ControlPlaneError.self) {
                try box.open(Array(sealed.prefix(count)), at: place())
            }
        }
        #expect(throws: ControlPlaneError.self) { try box.open(sealed + [0], at: place()) }
    }

    @Test(.proves("H9"))
    func `takes a new key over the old one, and says what is to be sealed again`() throws {
        let old = try box(key)
        let sealed = try old.seal(value, at: place())
        #expect(!old.needsSealing(sealed))
        let new = try box(otherKey, previous: [key])
        #expect(try new.open(sealed, at: place()) == value)
        #expect(new.needsSealing(sealed))
        let again = try new.seal(value, at: place())
        #expect(!new.needsSealing(again))
        #expect(SecretBox.keyID(of: again) == new.keyID)
        // The old key alone opens no new value; the new one alone no old value, and says which key.
        #expect(throws: ControlPlaneError.self) { try old.open(again, at: place()) }
        let oldID = try #require(old.keyID)
        let failure = try #require(
            throws: ControlPlaneError.self
        ) { try self.box(otherKey).open(sealed, at: place()) }
        #expect("\(failure)".contains(oldID))
    }

    @Test func `without a key stores nothing and says so`() throws {
        let sealed = try box(key).seal(value, at: place())
        let none = SecretBox(nil)
        #expect(throws: ControlPlaneError.secretKeyNeeded) { try none.seal(value, at: place()) }
        #expect(throws: ControlPlaneError.self) { try none.open(sealed, at: place()) }
        #expect(!none.needsSealing(sealed))
        let reader = SecretBox(nil, previous: [try #require(SecretKey(key))])
        #expect(try reader.open(sealed, at: place()) == value)
    }

    @Test func `reads keys in hex and base64, the id being their hash's first digits`() throws {
        let zero = String(repeating: "0", count: 64)
        // printf '\0%.0s' {1..32} | sha256sum
        #expect(SecretKey(zero)?.id == "66687aad")
        #expect(SecretKey(String(repeating: "A", count: 43) + "=")?.id == "66687aad")
        #expect(SecretKey(String(repeating: "A", count: 43))?.id == "66687aad")
        let full = SecretKey(String(repeating: "F", count: 64))
        #expect(full?.id == SecretKey(String(repeating: "/", count: 42) + "8=")?.id)
        #expect(full?.id == SecretKey(String(repeating: "_", count: 42) + "8")?.id)
        for text in [
            "", "0", String(zero.dropLast()), zero + "0", String(repeating: "g", count: 64),
            String(repeating: "A", count: 42), String(repeating: "A", count: 44),
            String(repeating: "A", count: 42) + "B=", String(repeating: "A", count: 43) + "=A",
            String(repeating: "\u{ff11}", count: 64),
        ] { #expect(SecretKey(text) == nil, "\(text)") }
    }

    @Test func `does not show its key`() throws {
        let secret = try #require(SecretKey(key))
        for text in [
            "\(secret)", String(reflecting: secret), String(describing: SecretBox(secret)),
        ] {
            #expect(!text.contains("0123456789abcdef"))
        }
        var text = ""
        dump(SecretBox(secret), to: &text)
        #expect(!text.contains("0123456789abcdef"))
        var random = SystemRandomNumberGenerator()
        let made = try #require(SecretKey.make(using: &random))
        #expect(SecretKey(made.text)?.id == made.key.id)
    }
}
