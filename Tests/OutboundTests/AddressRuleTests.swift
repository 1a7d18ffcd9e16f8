import IO
import Outbound
import TestSupport
import Testing

@Suite(.serialized) struct `An address rule` {
    /// The first and the last address of every range, and those just outside.
    static let refused: [(String, AddressRule.Scope)] = [
        ("0.0.0.0", .unspecified), ("0.255.255.255", .unspecified),
        ("10.0.0.0", .privateUse), ("10.255.255.255", .privateUse),
        ("100.64.0.0", .shared), ("100.127.255.255", .shared),
        ("127.0.0.0", .loopback), ("127.0.0.1", .loopback), ("127.255.255.255", .loopback),
        ("169.254.0.0", .linkLocal), ("169.254.169.254", .linkLocal),
        ("169.254.255.255", .linkLocal),
        ("172.16.0.0", .privateUse), ("172.31.255.255", .privateUse),
        ("192.0.0.0", .reserved), ("192.0.0.255", .reserved),
        ("192.0.2.0", .reserved), ("192.0.2.255", .reserved),
        ("192.88.99.0", .reserved), ("192.88.99.255", .reserved),
        ("192.168.0.0", .privateUse), ("192.168.255.255", .privateUse),
        ("198.18.0.0", .reserved), ("198.19.255.255", .reserved),
        ("198.51.100.0", .reserved), ("198.51.100.255", .reserved),
        ("203.0.113.0", .reserved), ("203.0.113.255", .reserved),
        ("224.0.0.0", .multicast), ("239.255.255.255", .multicast),
        ("240.0.0.0", .reserved), ("255.255.255.255", .reserved),
        // Mapped, translated and tunnelled: as the IPv4 address inside.
        ("::ffff:127.0.0.1", .loopback), ("::ffff:10.1.2.3", .privateUse),
        ("::ffff:169.254.169.254", .linkLocal), ("::ffff:0.0.0.0", .unspecified),
        ("64:ff9b::127.0.0.1", .loopback), ("64:ff9b::10.0.0.1", .privateUse),
        ("64:ff9b::a9fe:a9fe", .linkLocal),
        ("2002:7f00:1::", .loopback), ("2002:a00:1::1", .privateUse),
        ("2002:a9fe:a9fe::", .linkLocal),
        ("::", .unspecified), ("::1", .loopback),
        ("::2", .reserved), ("::127.0.0.1", .reserved), ("::ffff:0:127.0.0.1", .reserved),
        ("64:ff9b:1::", .privateUse), ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", .privateUse),
        ("64:ff9b:2::", .reserved), ("64:ff9b:0:0:0:1:808:808", .reserved),
        ("100::1", .reserved), ("1fff::", .reserved),
        ("2001::", .reserved), ("2001:1ff:ffff::", .reserved),
        ("2001:db8::", .reserved), ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", .reserved),
        ("3fff::", .reserved), ("3fff:fff:ffff::", .reserved),
        ("4000::", .reserved), ("5f00::1", .reserved),
        ("fc00::", .privateUse), ("fdff:ffff::1", .privateUse),
        ("fe80::", .linkLocal), ("febf:ffff::1", .linkLocal),
        ("fec0::", .privateUse), ("feff::1", .privateUse),
        ("ff00::", .multicast), ("ff02::1", .multicast), ("ffff::1", .multicast),
    ]

    static let allowed = [
        "1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255",
        "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0",
        "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255",
        "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8", "2002:808:808::1", "2000::", "2001:200::", "2001:4860:4860::8888",
        "2001:db7:ffff::", "2001:db9::", "2606:4700::1111", "3ffe::", "3fff:1000::",
        "3fff:ffff::",
    ]

    @Test(.proves("H1"), arguments: refused)
    func `refuses what is no address of the internet`(
        _ text: String, _ scope: AddressRule.Scope
    ) throws {
        let address = try #require(IPAddress(text))
        #expect(AddressRule().refusal(of: address) == scope)
    }

    @Test(arguments: allowed)
    func `allows the internet up to the edges of each range`(_ text: String) throws {
        let address = try #require(IPAddress(text))
        #expect(AddressRule().refusal(of: address) == nil)
    }

    @Test func `opens loopback and private ranges by its setting, never the others`() throws {
        let rule = AddressRule(allowsPrivate: true)
        for (text, scope) in Self.refused {
            let address = try #require(IPAddress(text))
            let isOpened = [.loopback, .privateUse, .shared].contains(scope)
            #expect(rule.refusal(of: address) == (isOpened ? nil : scope), "\(text)")
        }
    }
}

@Suite struct `An upstream URL` {
    @Test(arguments: [
        ("https://api.e2b.app", "https", "api.e2b.app", 443, "/"),
        (
            "HTTP://Api.Example:8080/a/../b?x=%2F&y=@", "http", "api.example", 8080,
            "/a/../b?x=%2F&y=@"
        ),
        ("http://127.0.0.1:1?q", "http", "127.0.0.1", 1, "/?q"),
        ("https://[2001:DB8::1]:8443/", "https", "2001:db8::1", 8443, "/"),
        ("https://[::1]", "https", "::1", 443, "/"),
        ("http://a_b.c-d.1e", "http", "", 0, ""),
    ])
    func `reads scheme, host, port and target`(
        _ text: String, _ scheme: String, _ host: String, _ port: UInt16, _ target: String
    ) throws {
        guard !host.isEmpty else {
            #expect(UpstreamURL(text) == nil)
            return
        }
        let url = try #require(UpstreamURL(text))
        #expect(url.scheme.rawValue == scheme)
        #expect(url.host == host)
        #expect(url.port == port)
        #expect(url.target == target)
        #expect(UpstreamURL(url.description) == url)
    }

    @Test(arguments: [
        "", "api.e2b.app", "//a", "ftp://a", "file:///etc/passwd", "http:/a", "http://",
        "http://:80", "http://a:", "http://a:0", "http://a:65536", "http://a:+1", "http://a:8 0",
        "http://user@a", "http://user:pw@a", "http://a@b/", "http://a#b", "http://a/#b",
        "http://0x7f.1", "http://127.1", "http://2130706433", "http://0177.0.0.1", "http://1.2.3",
        "http://127.0.0.1.", "http://a.", "http://a..b", "http://-a", "http://a-", "http://[::1",
        "http://[127.0.0.1]", "http://[::1%25lo]", "http://::1/", "http://a%2eb", "http://a b",
        "http://a/\r\nX: y", "http://a/\u{0}", "http://a\\b", "http://ä.de", "http://a/ä",
        "http://a/<b>", "http://" + String(repeating: "a", count: 64) + ".de",
        "http://a/" + String(repeating: "a", count: 8000),
    ])
    func `refuses all that could be read in two ways`(_ text: String) {
        #expect(UpstreamURL(text) == nil)
    }

    @Test func `takes another path behind its own`() throws {
        let base = try #require(UpstreamURL("https://a.example/v1/?old=1"))
        #expect(
            base.appending("/sandboxes?x=1")?.description == "https://a.example/v1/sandboxes?x=1")
        #expect(base.appending("sandboxes") == nil)
        #expect(base.appending("/ x") == nil)
        #expect(UpstreamURL("http://a")?.appending("/b")?.target == "/b")
    }
}
