package import IO

/// Which addresses we connect to for others: a provider's or a webhook's URL may come from a tenant,
/// and must not reach what only we can reach.
///
/// Judged is the address that is really connected to, so a name that changes between two look-ups
/// gains nothing. The ranges are those of IANA's special-purpose registries (RFC 6890, as of 2026).
package struct AddressRule: Hashable, Sendable {
    /// Loopback and private ranges may be reached. Link-local ones never (the metadata services of
    /// clouds are there), nor what is no host's address.
    package var allowsPrivate: Bool

    package init(allowsPrivate: Bool = false) { self.allowsPrivate = allowsPrivate }

    /// Why `address` may not be connected to; nil if it may.
    package func refusal(of address: IPAddress) -> Scope? {
        let scope = Scope(of: address)
        switch scope {
        case nil: return nil
        case .loopback, .privateUse, .shared: return allowsPrivate ? nil : scope
        case .unspecified, .linkLocal, .multicast, .reserved: return scope
        }
    }

    package enum Scope: String, Hashable, Sendable {
        case loopback
        /// RFC 1918 and RFC 4193; the network's own NAT64 prefix (RFC 8215).
        case privateUse = "private"
        /// Between a carrier's NAT and its customers (RFC 6598).
        case shared
        /// "This host": connecting to it reaches loopback.
        case unspecified
        case linkLocal = "link-local"
        case multicast
        /// Documentation, benchmarks, tunnels, future use: no host of the internet.
        case reserved

        /// Nil for an address of the internet.
        package init?(of address: IPAddress) {
            let found: Scope?
            if address.isIPv4 {
                found = Scope.v4(UInt32(truncatingIfNeeded: address.low))
            } else if let inner = Scope.embedded(in: address) {
                found = Scope.v4(inner)
            } else {
                found = Scope.v6(address)
            }
            guard let found else { return nil }
            self = found
        }

        private static func v4(_ address: UInt32) -> Scope? {
            for (scope, bits, prefix) in v4Ranges
            where address >> (32 - bits) == prefix >> (32 - bits) {
                return scope
            }
            return nil
        }

        private static let v4Ranges: [(Scope, bits: UInt32, prefix: UInt32)] = [
            (.unspecified, 8, 0x0000_0000),  // 0.0.0.0/8
            (.privateUse, 8, 0x0a00_0000),  // 10.0.0.0/8
            (.shared, 10, 0x6440_0000),  // 100.64.0.0/10
            (.loopback, 8, 0x7f00_0000),  // 127.0.0.0/8
            (.linkLocal, 16, 0xa9fe_0000),  // 169.254.0.0/16
            (.privateUse, 12, 0xac10_0000),  // 172.16.0.0/12
            (.reserved, 24, 0xc000_0000),  // 192.0.0.0/24, protocol assignments
            (.reserved, 24, 0xc000_0200),  // 192.0.2.0/24, documentation
            (.reserved, 24, 0xc058_6300),  // 192.88.99.0/24, 6to4 relays
            (.privateUse, 16, 0xc0a8_0000),  // 192.168.0.0/16
            (.reserved, 15, 0xc612_0000),  // 198.18.0.0/15, benchmarks
            (.reserved, 24, 0xc633_6400),  // 198.51.100.0/24, documentation
            (.reserved, 24, 0xcb00_7100),  // 203.0.113.0/24, documentation
            (.multicast, 4, 0xe000_0000),  // 224.0.0.0/4
            (.reserved, 4, 0xf000_0000),  // 240.0.0.0/4, broadcast among them
        ]

        /// The IPv4 address that NAT64 (64:ff9b::/96) or 6to4 (2002::/16) leads to. A mapped one
        /// (::ffff:0:0/96) is `isIPv4`.
        private static func embedded(in address: IPAddress) -> UInt32? {
            if address.high == 0x0064_ff9b_0000_0000, address.low >> 32 == 0 {
                return UInt32(truncatingIfNeeded: address.low)
            }
            if address.high >> 48 == 0x2002 {
                return UInt32(truncatingIfNeeded: address.high >> 16)
            }
            return nil
        }

        private static func v6(_ address: IPAddress) -> Scope? {
            if address.high == 0, address.low <= 1 {
                return address.low == 1 ? .loopback : .unspecified
            }
            for (scope, bits, prefix) in v6Ranges
            where address.high >> (64 - bits) == prefix >> (64 - bits) {
                return scope
            }
            // All that is handed out as global unicast lies in 2000::/3.
            return address.high >> 61 == 0b001 ? nil : .reserved
        }

        /// All prefixes end in the upper half.
        private static let v6Ranges: [(Scope, bits: UInt64, prefix: UInt64)] = [
            (.privateUse, 48, 0x0064_ff9b_0001_0000),  // 64:ff9b:1::/48
            (.privateUse, 7, 0xfc00_0000_0000_0000),  // fc00::/7
            (.linkLocal, 10, 0xfe80_0000_0000_0000),  // fe80::/10
            (.privateUse, 10, 0xfec0_0000_0000_0000),  // fec0::/10, site-local of old
            (.multicast, 8, 0xff00_0000_0000_0000),  // ff00::/8
            (.reserved, 23, 0x2001_0000_0000_0000),  // 2001::/23, Teredo and others
            (.reserved, 32, 0x2001_0db8_0000_0000),  // 2001:db8::/32, documentation
            (.reserved, 20, 0x3fff_0000_0000_0000),  // 3fff::/20, documentation
        ]
    }
}
