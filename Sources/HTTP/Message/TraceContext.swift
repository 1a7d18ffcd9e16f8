/// The trace that a request belongs to, W3C Trace Context level 1.
package struct TraceContext: Hashable, Sendable {
    package let traceHigh: UInt64
    package let traceLow: UInt64
    /// The caller's span; 0 if the trace begins here.
    package let parent: UInt64
    package let isSampled: Bool
    /// `tracestate` as received, at most 32 members; passed on, never read.
    package let state: String?

    package init(
        traceHigh: UInt64, traceLow: UInt64, parent: UInt64, isSampled: Bool, state: String? = nil
    ) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.parent = parent
        self.isSampled = isSampled
        self.state = state
    }

    /// Reads `00-<32 hex>-<16 hex>-<2 hex>`. Of higher versions the first four parts are read; version
    /// `ff`, upper case and all-zero ids are refused (nil: start a new trace, it is never an error).
    package init?(traceparent text: String, tracestate: [String] = []) {
        let bytes = Array(text.utf8)
        guard bytes.count >= 55,
            let version = lowercaseHex(bytes[0..<2]), version != 0xff,
            version == 0 ? bytes.count == 55 : bytes.count == 55 || bytes[55] == UInt8(ascii: "-"),
            [2, 35, 52].allSatisfy({ bytes[$0] == UInt8(ascii: "-") }),
            let high = lowercaseHex(bytes[3..<19]), let low = lowercaseHex(bytes[19..<35]),
            high != 0 || low != 0,
            let parent = lowercaseHex(bytes[36..<52]), parent != 0,
            let flags = lowercaseHex(bytes[53..<55])
        else { return nil }
        self.init(
            traceHigh: high, traceLow: low, parent: parent, isSampled: flags & 1 == 1,
            state: Self.joined(tracestate))
    }

    package var traceID: String { hexText(traceHigh) + hexText(traceLow) }

    /// The `traceparent` of a call made on this request's behalf.
    /// - Parameter span: the caller's own span, not 0.
    package func traceparent(span: UInt64) -> String {
        "00-\(traceID)-\(hexText(span))-\(isSampled ? "01" : "00")"
    }

    private static func joined(_ lines: [String]) -> String? {
        let text = lines.joined(separator: ",")
        // By octets: to `String`, an accent joins the comma before it.
        let members = 1 + text.utf8.count { $0 == UInt8(ascii: ",") }
        return text.isEmpty || members > 32 || text.utf8.count > 512 ? nil : text
    }
}

private func lowercaseHex(_ digits: ArraySlice<UInt8>) -> UInt64? {
    var value: UInt64 = 0
    for digit in digits {
        guard let part = digit.hexValue, digit != digit & 0xDF || digit.isDigit else { return nil }
        value = value << 4 | UInt64(part)
    }
    return value
}
