/// What tells one request from all others, in the answer's `X-Request-Id`, in problems and in logs.
///
/// The client's own `X-Request-Id` if it is 1 to 128 of `[A-Za-z0-9._-]`, else 128 random bits as 32
/// hexadecimal digits.
package struct RequestID: Hashable, Sendable {
    enum Origin: Hashable, Sendable {
        case made(UInt64, UInt64)
        case received(String)
    }

    let origin: Origin

    init(made high: UInt64, _ low: UInt64) { origin = .made(high, low) }

    /// Nil unless `text` has the accepted form.
    package init?(_ text: String) {
        guard (1...128).contains(text.utf8.count),
            text.utf8.allSatisfy(ByteSet.requestID.contains)
        else { return nil }
        origin = .received(text)
    }

    /// As a problem names it in `instance`.
    package var urn: String { "urn:breakwater:request:\(self)" }
}

extension RequestID: CustomStringConvertible {
    package var description: String {
        switch origin {
        case .made(let high, let low): hexText(high) + hexText(low)
        case .received(let text): text
        }
    }
}

/// 16 lower-case hexadecimal digits.
func hexText(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
