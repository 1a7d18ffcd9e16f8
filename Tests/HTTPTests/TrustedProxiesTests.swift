import HTTP
import IO
import TestSupport
import Testing

@Suite(.proves("H9")) struct `The client's address` {
    private static let proxies = {
        var proxies = TrustedProxies()
        proxies.networks = ["10.0.0.0/8", "2001:db8:1::/48"].compactMap { IPNetwork($0) }
        proxies.unixSocket = true
        return proxies
    }()

    private func client(
        _ fields: [String], peer: String?, _ proxies: TrustedProxies = Self.proxies
    ) throws -> String? {
        let lines = ["GET / HTTP/1.1", "Host: x"] + fields
        let request = try #require(
            try request(
                lines.joined(separator: "\r\n") + "\r\n\r\n",
                peer: peer.flatMap { IPAddress($0) }))
        return proxies.client(of: request)?.description
    }

    /// Fields from a trusted peer, and whom they name; nil: the peer.
    static let told: [([String], String?)] = [
        ([], nil),
        (["X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
        (["x-forwarded-for:192.0.2.7"], "192.0.2.7"),
        // What the client wrote itself stands to the left of what the proxies add.
        (["X-Forwarded-For: 1.1.1.1, 192.0.2.7"], "192.0.2.7"),
        (["X-Forwarded-For: 1.1.1.1, 192.0.2.7, 10.1.1.1, 10.2.2.2"], "192.0.2.7"),
        (
            [
                "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 192.0.2.7",
                "X-Forwarded-For: 10.1.1.1",
            ], "192.0.2.7"
        ),
        (["X-Forwarded-For: \u{600}garbage\u{600}, 192.0.2.7"], "192.0.2.7"),
        (["X-Forwarded-For: 1.1.1.1\u{600}, 192.0.2.7"], "192.0.2.7"),
        (["X-Forwarded-For: 10.3.3.3, 10.1.1.1"], "10.3.3.3"),
        (["X-Forwarded-For: 2001:db8:2::7"], "2001:db8:2::7"),
        (["X-Forwarded-For: 2001:db8:2::7, 2001:db8:1::1"], "2001:db8:2::7"),
        (["X-Forwarded-For: [2001:db8:2::7]:4711"], "2001:db8:2::7"),
        (["X-Forwarded-For: [2001:db8:2::7]"], "2001:db8:2::7"),
        (["X-Forwarded-For: 192.0.2.7:4711"], "192.0.2.7"),
        (["X-Forwarded-For: ::ffff:192.0.2.7"], "192.0.2.7"),
        (["Forwarded: for=192.0.2.7;proto=https;by=10.0.0.1"], "192.0.2.7"),
        (["Forwarded: for=1.1.1.1, For=192.0.2.7"], "192.0.2.7"),
        (["Forwarded: proto=http;for=\"[2001:db8:2::7]:4711\""], "2001:db8:2::7"),
        (["Forwarded: for=\"a,b\\\",\", for=\"192.0.2.7\", for=10.0.0.9"], "192.0.2.7"),
        (["Forwarded: for=192.0.2.7", "X-Forwarded-For: 192.0.2.7, 10.0.0.9"], "192.0.2.7"),
        // Two that differ: one may be the client's own.
        (["Forwarded: for=1.1.1.1", "X-Forwarded-For: 192.0.2.7"], nil),
        (["X-Forwarded-For:"], nil), (["X-Forwarded-For: ,"], nil),
        (["X-Forwarded-For: 192.0.2.7,"], nil), (["X-Forwarded-For: unknown"], nil),
        (["X-Forwarded-For: 192.0.2.7, 300.0.0.1"], nil), (["X-Forwarded-For: 192.0.2.7:"], nil),
        (["X-Forwarded-For: 192.0.2.7:port"], nil), (["X-Forwarded-For: [::1"], nil),
        (["X-Forwarded-For: ]["], nil), (["X-Forwarded-For: fe80::1%eth0"], nil),
        (["X-Forwarded-For: 1.1.1.1 192.0.2.7"], nil), (["Forwarded: for=unknown"], nil),
        (["Forwarded: for=_hidden"], nil), (["Forwarded: proto=https"], nil),
        (["Forwarded: for=\"192.0.2.7"], nil), (["Forwarded: \""], nil),
        (["Forwarded: for=\"192.0.2.7\\"], nil), (["Forwarded: ;;,;=,for"], nil),
        (["X-Forwarded-For: " + String(repeating: "10.0.0.1,", count: 2000) + "10.0.0.1"], nil),
        (["X-Forwarded-For: " + String(repeating: ",", count: 9000)], nil),
    ]

    @Test(arguments: told) func `is the one that trusted proxies name`(
        fields: [String], named: String?
    ) throws {
        #expect(try client(fields, peer: "10.0.0.1") == named ?? "10.0.0.1")
        #expect(try client(fields, peer: nil) == named)
    }

    @Test(arguments: told) func `is the peer's where nobody is trusted, or not that peer`(
        fields: [String], named: String?
    ) throws {
        #expect(try client(fields, peer: "203.0.113.9") == "203.0.113.9")
        #expect(try client(fields, peer: "10.0.0.1", TrustedProxies()) == "10.0.0.1")
        #expect(try client(fields, peer: nil, TrustedProxies()) == nil)
    }

    @Test func `is never garbage, whatever bytes the fields hold`() throws {
        var random = RandomSource(seed: 11)
        let pieces = [
            "for=", "10.0.0.1", "192.0.2.7", "\"", "\\", ",", ";", "=", "[", "]", ":", " ", "é",
            "2001:db8::1", "unknown",
        ]
        for _ in 0..<20_000 {
            let value = (0..<Int.random(in: 0...12, using: &random))
                .map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
            let name = Bool.random(using: &random) ? "Forwarded" : "X-Forwarded-For"
            let found = try client(["\(name): \(value)"], peer: "10.0.0.1")
            #expect(found.flatMap { IPAddress($0) } != nil, "\(value): \(found ?? "-")")
        }
    }
}
