/// A UUID (RFC 9562), ordered as PostgreSQL orders `uuid`: as 16 octets, the first most significant.
package struct UUID: Hashable, Comparable, Sendable {
    /// The first 8 octets, as one big-endian number.
    package let high: UInt64
    /// The last 8 octets, as one big-endian number.
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    package static func < (left: UUID, right: UUID) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}

extension UUID {
    /// A new id that sorts by its time (RFC 9562, 5.7): 48 bits of milliseconds, then 12 bits of
    /// the fraction of that millisecond (6.2, method 3), then 62 random bits.
    ///
    /// Two ids of one process are in order when their times are at least a microsecond apart.
    package static func v7(
        at time: Timestamp, using random: inout some RandomNumberGenerator
    ) -> UUID {
        let microseconds = UInt64(max(0, time.microseconds))
        let milliseconds = (microseconds / 1_000) & 0xffff_ffff_ffff
        let fraction = (microseconds % 1_000) * 4_096 / 1_000
        return UUID(
            high: milliseconds << 16 | 0x7000 | fraction,
            low: random.next() >> 2 | 0x8000_0000_0000_0000)
    }

    /// A new id that sorts by the time it was made.
    package static func v7(at time: Timestamp = .now) -> UUID {
        var random = SystemRandomNumberGenerator()
        return v7(at: time, using: &random)
    }
}

extension UUID: CustomStringConvertible {
    /// The strict text form: 32 hex digits in groups of 8-4-4-4-12, either case (RFC 9562, 4).
    ///
    /// Nil for all else, such as braces, `urn:uuid:` or missing hyphens.
    package init?(_ text: some StringProtocol) {
        var high: UInt64 = 0
        var low: UInt64 = 0
        var position = 0
        for byte in text.utf8 {
            switch position {
            case 36: return nil
            case 8, 13, 18, 23:
                guard byte == UInt8(ascii: "-") else { return nil }
            default:
                guard let digit = hexValue(of: byte) else { return nil }
                if position < 18 {
                    high = high << 4 | digit
                } else {
                    low = low << 4 | digit
                }
            }
            position += 1
        }
        guard position == 36 else { return nil }
        self.init(high: high, low: low)
    }

    /// The 36 characters of the text form, lower case.
    package var description: String {
        unsafe String(unsafeUninitializedCapacity: 36) { buffer in
            var position = 0
            for word in [high, low] {
                for shift in stride(from: 60, through: 0, by: -4) {
                    if position == 8 || position == 13 || position == 18 || position == 23 {
                        unsafe buffer[position] = UInt8(ascii: "-")
                        position += 1
                    }
                    unsafe buffer[position] = hexDigit(UInt8(truncatingIfNeeded: word >> shift))
                    position += 1
                }
            }
            return position
        }
    }
}

private func hexValue(of byte: UInt8) -> UInt64? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
}

/// The lower-case hex digit of the low four bits.
func hexDigit(_ value: UInt8) -> UInt8 {
    let digit = value & 15
    return digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit
}
