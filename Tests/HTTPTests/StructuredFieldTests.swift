import HTTP
import TestSupport
import Testing

@Suite(.proves("H2")) struct `A structured field` {
    @Test func `writes the RateLimit fields of draft 11`() {
        let policy = [
            StructuredItem(
                .string("create-hour"),
                [
                    .init("q", .integer(1000)), .init("w", .integer(3600)),
                    .init("pk", .bytes([0xDE, 0xAD, 0xBE, 0xEF])),
                ]),
            StructuredItem(
                .string("live-sandboxes"),
                [.init("q", .integer(50)), .init("qu", .string("concurrent-requests"))]),
        ]
        #expect(
            policy.structuredText
                == #""create-hour";q=1000;w=3600;pk=:3q2+7w==:, "#
                + #""live-sandboxes";q=50;qu="concurrent-requests""#)
    }

    private static let values: [(StructuredValue, String?)] = [
        (.integer(-42), "-42"), (.integer(999_999_999_999_999), "999999999999999"),
        (.integer(1_000_000_000_000_000), nil), (.string("a\"b\\c"), #""a\"b\\c""#),
        (.string(""), "\"\""), (.string("é"), nil), (.string("a\n"), nil),
        (.token("*a/b:c"), "*a/b:c"), (.token("1a"), nil), (.token(""), nil), (.token("a b"), nil),
        (.bytes([]), "::"), (.bytes([1]), ":AQ==:"), (.bytes([1, 2]), ":AQI=:"),
        (.bytes([1, 2, 255]), ":AQL/:"), (.boolean(true), "?1"), (.boolean(false), "?0"),
        (.date(1_767_225_600), "@1767225600"),
    ]

    @Test(arguments: values)
    func `writes values that have the form of their type`(value: StructuredValue, text: String?) {
        #expect(StructuredItem(value).text == text)
    }

    @Test func `writes parameters`() {
        let flags = StructuredItem(
            .token("a"), [.init("b", .boolean(true)), .init("c", .boolean(false))])
        #expect(flags.text == "a;b;c=?0")
        for key in ["", "A", "1", "a b", "é"] {
            #expect(StructuredItem(.token("a"), [.init(key, .integer(1))]).text == nil)
        }
        #expect([StructuredItem]().structuredText == nil)
    }

    private static let long = String(repeating: "a", count: 255)

    private static let keys: [(String, String?)] = [
        (#""abc""#, "abc"), (#""a\"b\\""#, #"a"b\"#), ("abc", "abc"), ("8e03-40d5", "8e03-40d5"),
        ("", nil), (#""""#, nil), (#""abc"#, nil), (#""a"b"#, nil), (#""a\b""#, nil),
        (#""a";x"#, nil), ("é", nil), (#""é""#, nil), ("a\tb", nil), (long, long),
        (long + "a", nil),
    ]

    @Test(arguments: keys)
    func `reads an idempotency key, quoted or bare`(text: String, key: String?) {
        #expect(StructuredValue.idempotencyKey(in: text) == key)
    }
}
