/// A range of addresses, `10.0.0.0/8` or `2001:db8::/32`; one address is a range of its own.
package struct IPNetwork: Hashable, Sendable, CustomStringConvertible {
    package let description: String
    private let address: IPAddress
    private let mask: (high: UInt64, low: UInt64)

    /// Nil for what is no address with a prefix length, or has bits set behind its prefix.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let address = IPAddress(String(parts[0])) else {
            return nil
        }
        let isIPv4 = !parts[0].contains(":")
        let width = isIPv4 ? 32 : 128
        var length = width
        if parts.count == 2 {
            let digits = parts[1]
            guard (1...3).contains(digits.utf8.count),
                digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = Int(digits), number <= width
            else { return nil }
            length = number
        }
        if isIPv4 { length += 96 }  // an IPv4 address is held as ::ffff:a.b.c.d
        mask = (
            length >= 64 ? .max : ~(UInt64.max >> length),
            length <= 64 ? 0 : ~(length == 128 ? 0 : UInt64.max >> (length - 64))
        )
        guard address.high & ~mask.high == 0, address.low & ~mask.low == 0 else { return nil }
        self.address = address
        description = text
    }

    package func contains(_ other: IPAddress) -> Bool {
        other.high & mask.high == address.high && other.low & mask.low == address.low
    }

    package static func == (left: IPNetwork, right: IPNetwork) -> Bool {
        left.description == right.description
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(description) }
}
