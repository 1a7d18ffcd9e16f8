package import Outbound

/// Where a Sentry project takes events: `scheme://KEY[:SECRET]@host[:port][/path]/PROJECT`, by
/// develop.sentry.dev "SDK overview", "Parsing the DSN".
package struct SentryDSN: Sendable {
    /// `/api/PROJECT/envelope/` under the DSN's path.
    package let endpoint: UpstreamURL
    package let publicKey: String

    /// Nil if it is none.
    package init?(_ text: String) {
        guard let separator = text.firstRange(of: "://"),
            let at = text[separator.upperBound...].firstIndex(of: "@")
        else { return nil }
        // The secret of old is not sent any more.
        let key = text[separator.upperBound..<at].prefix { $0 != ":" }
        let rest = text[text.index(after: at)...]
        guard (1...128).contains(key.utf8.count), key.utf8.allSatisfy(Self.isWord),
            let slash = rest.lastIndex(of: "/")
        else { return nil }
        let project = rest[rest.index(after: slash)...]
        let base = text[..<separator.upperBound] + rest[..<slash]
        guard (1...64).contains(project.utf8.count), project.utf8.allSatisfy(Self.isWord),
            let url = UpstreamURL(String(base)), !url.target.contains("?"),
            let endpoint = url.appending("/api/\(project)/envelope/")
        else { return nil }
        self.endpoint = endpoint
        publicKey = String(key)
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte)
            || (0x61...0x7a).contains(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
    }
}
