internal import IO

/// Where an outbound call goes: an absolute http or https URL, read strictly, since what is read
/// here and by libcurl must mean the same host.
///
/// Taken is `scheme://host[:port][/path][?query]` (RFC 3986): no user, no fragment, the host a DNS
/// name or an address as `inet_pton` reads it (no `0x7f.1`, no `2130706433`), nothing that would have
/// to be escaped.
package struct UpstreamURL: Hashable, Sendable {
    package enum Scheme: String, Hashable, Sendable { case http, https }

    package let scheme: Scheme
    /// Lower case; an IPv6 address without brackets.
    package let host: String
    package let port: UInt16
    /// Path and query as they are sent; begins with `/`.
    package let target: String

    /// Nil if it is anything else, or longer than 8,000 octets.
    package init?(_ text: String) {
        guard text.utf8.count <= 8000, text.utf8.allSatisfy(Self.isAllowed),
            let separator = text.firstRange(of: "://"),
            let scheme = Scheme(rawValue: text[..<separator.lowerBound].lowercased())
        else { return nil }
        let rest = text[separator.upperBound...]
        let end = rest.firstIndex { "/?".contains($0) } ?? rest.endIndex
        guard let (host, port) = Self.authority(rest[..<end]) else { return nil }
        self.scheme = scheme
        self.host = host
        self.port = port ?? (scheme == .https ? 443 : 80)
        target = rest[end...].hasPrefix("/") ? String(rest[end...]) : "/" + rest[end...]
    }

    private init(_ url: UpstreamURL, target: String) {
        scheme = url.scheme
        host = url.host
        port = url.port
        self.target = target
    }

    /// The same server, another path and query, which are put behind this one's path; nil if they
    /// hold what a URL may not, or do not begin with `/`.
    package func appending(_ target: String) -> UpstreamURL? {
        guard target.hasPrefix("/"), target.utf8.allSatisfy(Self.isAllowed) else { return nil }
        var base = self.target.prefix { $0 != "?" }
        while base.hasSuffix("/") { base.removeLast() }
        guard base.utf8.count + target.utf8.count <= 8000 else { return nil }
        return UpstreamURL(self, target: base + target)
    }

    /// Host and port, port 0 refused; nil if either is none.
    private static func authority(_ text: Substring) -> (host: String, port: UInt16?)? {
        var host = text
        var port: UInt16?
        if let colon = text.lastIndex(of: ":"), !text.hasSuffix("]") {
            let digits = text[text.index(after: colon)...]
            guard digits.utf8.allSatisfy(isDigit), let number = UInt16(digits), number > 0 else {
                return nil
            }
            port = number
            host = text[..<colon]
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            let inner = host.dropFirst().dropLast().lowercased()
            guard inner.contains(":"), IPAddress(inner) != nil else { return nil }
            return (inner, port)
        }
        let name = host.lowercased()
        guard isName(name) else { return nil }
        return (name, port)
    }

    /// A DNS name of at most 253 octets, RFC 1123 with `_` in addition. One whose last label is a
    /// number is an address or nothing.
    private static func isName(_ name: String) -> Bool {
        guard !name.isEmpty, name.utf8.count <= 253 else { return false }
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        for label in labels {
            guard !label.isEmpty, label.utf8.count <= 63, !label.hasPrefix("-"),
                !label.hasSuffix("-"), label.utf8.allSatisfy(isNameOctet)
            else { return false }
        }
        guard let last = labels.last, last.utf8.first.map(isDigit) != true else {
            return IPAddress(name)?.isIPv4 == true
        }
        return true
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    private static func isNameOctet(_ byte: UInt8) -> Bool {
        isDigit(byte) || (0x61...0x7a).contains(byte) || byte == 0x2d || byte == 0x5f
    }

    /// Unreserved, reserved without `#` and `@` where they would matter, and `%`: RFC 3986
    /// section 2. `@` may stand in a path; in an authority it is no octet of a name.
    private static func isAllowed(_ byte: UInt8) -> Bool {
        (0x21...0x7e).contains(byte) && !forbidden.contains(byte)
    }

    private static let forbidden = Set("\"#<>\\^`{|}".utf8)
}

extension UpstreamURL: CustomStringConvertible {
    /// With the port, unless it is the scheme's own.
    package var description: String {
        let name = host.contains(":") ? "[\(host)]" : host
        let isUsual = port == (scheme == .https ? 443 : 80)
        return "\(scheme.rawValue)://\(name)\(isUsual ? "" : ":\(port)")\(target)"
    }
}
