/// The octets of a text in base64 (RFC 4648, with or without `=`, either alphabet); nil for any other.
func octets(base64 text: String) -> [UInt8]? {
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

private func base64Value(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
    case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
    case UInt8(ascii: "+"), UInt8(ascii: "-"): 62
    case UInt8(ascii: "/"), UInt8(ascii: "_"): 63
    default: nil
    }
}
