import JSON
import TestSupport
import Testing

@Suite(.proves("H2")) struct `A JSON string` {
    @Test func `unescapes to what it stands for`() throws {
        #expect(try read(#""\"\\\/\b\f\n\r\t""#) == .string("\"\\/\u{8}\u{C}\n\r\t"))
        #expect(try read(#""\u0041\u00e9\u20AC\uD83D\ude00z""#) == .string("Aé€😀z"))
        #expect(try read(#""\u0000\u001f\u007F""#) == .string("\u{0}\u{1F}\u{7F}"))
        #expect(try read(#""\uFFFE\uDBFF\uDFFE""#) == .string("\u{FFFE}\u{10FFFE}"))
    }

    @Test func `keeps what needs no escape`() throws {
        for text in ["", "a", "fifteen octets!", "sixteen octets!!", "é€😀", "\u{2028}\u{7F}"] {
            #expect(try read("\"\(text)\"") == .string(text))
        }
    }

    @Test(
        arguments: [
            ([0x80], "a lone continuation"), ([0xC3], "a cut sequence"),
            ([0xC0, 0xAF], "an overlong slash"), ([0xC1, 0xBF], "an overlong octet"),
            ([0xE0, 0x80, 0xAF], "overlong in three"),
            ([0xF0, 0x80, 0x80, 0xAF], "overlong in four"),
            ([0xED, 0xA0, 0x80], "a high surrogate"), ([0xED, 0xBF, 0xBF], "a low surrogate"),
            ([0xF4, 0x90, 0x80, 0x80], "past U+10FFFF"), ([0xF5, 0x80, 0x80, 0x80], "0xF5"),
            ([0xFE], "0xFE"), ([0xFF], "0xFF"), ([0xE2, 0x82], "two of three"),
            ([0xF0, 0x9F, 0x98], "three of four"), ([0xE2, 0x28, 0xA1], "a broken second octet"),
            ([0xE9], "Latin 1"),
        ] as [([UInt8], String)])
    func `is refused if it is not UTF-8`(_ octets: [UInt8], _ what: String) {
        let document = [UInt8](ascii: "[\"a") + octets + [UInt8](ascii: "b\"]")
        let error = refusal(document)
        #expect(error?.code == .invalidUTF8, "\(what)")
        #expect(error?.offset == 3, "\(what)")
        #expect(error?.pointer == "/0")
        #expect(
            refusal([UInt8](ascii: "{\"") + octets + [UInt8](ascii: "\":1}"))?.code
                == .invalidUTF8)
    }

    @Test func `accepts the edges of each UTF-8 length`() throws {
        for scalar in [
            "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFF}",
            "\u{10000}", "\u{10FFFF}",
        ] {
            #expect(try read("\"\(scalar)\"") == .string(scalar))
        }
    }

    @Test(arguments: [
        #""\uD800""#, #""\uDC00""#, #""\uD800\uD800""#, #""\uDC00\uD800""#, #""\uD800\n""#,
        #""\uD800x""#, #""\uD83D \uDE00""#,
    ])
    func `is refused if an escaped surrogate stands alone`(_ document: String) {
        #expect(refusal(document)?.code == .invalidUTF8)
    }

    @Test func `is refused with a byte order mark or in UTF-16`() {
        #expect(refusal([0xEF, 0xBB, 0xBF] + [UInt8](ascii: "{}"))?.code == .syntax)
        #expect(refusal([0xFF, 0xFE, 0x22, 0x00, 0x22, 0x00])?.code == .syntax)
        #expect(refusal([0x00, 0x22, 0x00, 0x22])?.code == .syntax)
    }

    @Test func `is bounded in octets of its text, not of its escapes`() throws {
        func error(_ document: String, maxBytes: Int) -> JSONError? {
            refusal(of: document) { reader throws(JSONError) in
                _ = try reader.readString(maxBytes: maxBytes)
            }
        }
        #expect(error(#""abc""#, maxBytes: 3) == nil)
        #expect(error(#""abcd""#, maxBytes: 3)?.code == .length)
        #expect(error(#""\u0041\n\/""#, maxBytes: 3) == nil)
        #expect(error(#""é""#, maxBytes: 1)?.code == .length)
        #expect(error(#""\u00e9""#, maxBytes: 2) == nil)
        #expect(error(#""\u20ac""#, maxBytes: 2)?.code == .length)
        #expect(error(#""\ud83d\ude00""#, maxBytes: 4) == nil)
        #expect(error(#""\ud83d\ude00""#, maxBytes: 3)?.code == .length)
        #expect(error("7", maxBytes: 3)?.code == .type)
    }

    @Test func `names a member by its scalars`() throws {
        var seen: [String] = []
        var reader = JSONReader([UInt8](#"{"caf\u00e9":1,"cafe\u0301":2,"":3,"ca\u00e9":4}"#.utf8))
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "caf\u{E9}": seen.append("composed")
            case "cafe\u{301}": seen.append("decomposed")
            case "": seen.append("empty")
            case "caC)": seen.append("the same but for the highest bits")
            default: seen.append(key.string)
            }
            try reader.skip()
        }
        #expect(seen == ["composed", "decomposed", "empty", "ca\u{E9}"])
        #expect(try read("\"caf\u{E9}\"") != read("\"cafe\u{301}\""))
    }
}

extension [UInt8] {
    init(ascii text: String) { self = Array(text.utf8) }
}
