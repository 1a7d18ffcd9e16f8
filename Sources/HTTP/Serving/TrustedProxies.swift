package import IO

/// Whose word about a client's address is taken: proxies that write `X-Forwarded-For` or `Forwarded`
/// (RFC 7239) themselves. A field of anybody else is what anybody may write.
package struct TrustedProxies: Hashable, Sendable {
    package var networks: [IPNetwork] = []
    /// Whoever connects over a Unix socket.
    package var unixSocket = false

    /// More proxies than this in a row are none of ours.
    private static let maxHops = 32

    package init() {}

    package var isEmpty: Bool { networks.isEmpty && !unixSocket }

    private func trusts(_ address: IPAddress?) -> Bool {
        guard let address else { return unixSocket }
        return networks.contains { $0.contains(address) }
    }

    /// The client's address: that of the peer, or where that is a trusted proxy, the right-most of those
    /// that the proxies name which is not a trusted proxy itself. The peer's again where a field is
    /// garbage, or both are there and say different things: a proxy writes one and may let the
    /// client's other one through. Nil for a client of a Unix socket.
    package func client(of request: Request) -> IPAddress? {
        let peer = request.peer
        guard !isEmpty, trusts(peer) else { return peer }
        let hops = [
            request.values("X-Forwarded-For").flatMap { Self.list(Self.ascii($0)) },
            request.values("Forwarded").flatMap { Self.forwarded(Self.ascii($0)) },
        ].filter { !$0.isEmpty }
        let clients = hops.map { client(behind: $0) ?? peer }
        guard let client = clients.first, clients.allSatisfy({ $0 == client }) else { return peer }
        return client
    }

    /// Whether a trusted proxy says that the client came to it over TLS: the last `X-Forwarded-Proto`, or of
    /// the last `Forwarded` the `proto`. Where both are there they must say the same.
    package func isSecure(_ request: Request) -> Bool {
        guard !isEmpty, trusts(request.peer) else { return false }
        let words = [
            request.values("X-Forwarded-Proto").last?.split(separator: ",").last.map(Self.trimmed),
            request.values("Forwarded").last.flatMap { Self.parts($0[...], at: ",").last }.flatMap {
                Self.parts($0, at: ";").map(Self.trimmed).first {
                    $0.lowercased().hasPrefix("proto=")
                }?.dropFirst(6)
            },
        ].compactMap { $0?.lowercased() }
        return !words.isEmpty && words.allSatisfy { $0 == "https" || $0 == "\"https\"" }
    }

    /// Nil if a hop that counts is no address.
    private func client(behind hops: [IPAddress?]) -> IPAddress? {
        for hop in hops.reversed().prefix(Self.maxHops) {
            guard let hop else { return nil }
            if !trusts(hop) { return hop }
        }
        // All are trusted: the first of them is who asked.
        return hops.count <= Self.maxHops ? hops[0] : nil
    }

    // MARK: Fields

    /// Without what could join a comma or a quote to one character, which then were none.
    private static func ascii(_ value: String) -> String {
        String(decoding: value.utf8.map { $0 < 0x80 ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }

    /// `X-Forwarded-For: 192.0.2.7, 10.0.0.1`.
    private static func list(_ value: String) -> [IPAddress?] {
        value.split(separator: ",", omittingEmptySubsequences: false).map(address)
    }

    /// `Forwarded: for=192.0.2.7;proto=https, for="[2001:db8::17]:4711"`, RFC 7239 section 4.
    private static func forwarded(_ value: String) -> [IPAddress?] {
        parts(value[...], at: ",").map { element in
            for pair in parts(element, at: ";") {
                let words = pair.split(separator: "=", maxSplits: 1)
                guard words.count == 2, trimmed(words[0]).lowercased() == "for" else { continue }
                var node = trimmed(words[1])
                if node.hasPrefix("\""), node.hasSuffix("\""), node.utf8.count > 1 {
                    node = node.dropFirst().dropLast()
                }
                return address(node)
            }
            return nil
        }
    }

    /// Split, but not within quotes.
    private static func parts(_ text: Substring, at separator: Character) -> [Substring] {
        var isQuoted = false
        var isEscaped = false
        return text.split(omittingEmptySubsequences: false) { character in
            if isEscaped {
                isEscaped = false
            } else if isQuoted, character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                isQuoted.toggle()
            }
            return !isQuoted && character == separator
        }
    }

    /// An address, with or without a port, an IPv6 one in brackets or bare.
    private static func address(_ text: Substring) -> IPAddress? {
        let text = trimmed(text)
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]"), isPort(text[text.index(after: end)...]) else {
                return nil
            }
            return IPAddress(String(text[text.index(after: text.startIndex)..<end]))
        }
        if let address = IPAddress(String(text)) { return address }
        guard let colon = text.lastIndex(of: ":"), isPort(text[colon...]),
            !text[..<colon].contains(":")
        else { return nil }
        return IPAddress(String(text[..<colon]))
    }

    /// `:4711`, or nothing.
    private static func isPort(_ text: Substring) -> Bool {
        text.isEmpty
            || text.first == ":" && (2...6).contains(text.utf8.count)
                && text.dropFirst().allSatisfy { $0.isASCII && $0.isNumber }
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}
