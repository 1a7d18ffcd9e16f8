import JSON
import TestSupport
import Testing

@Suite(.proves("H2")) struct `Two JSON parsers` {
    @Test(arguments: 0..<20 as Range<UInt64>)
    func `agree on mutated documents`(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var accepted = 0
        for _ in 0..<1_000 {
            var document = Self.seeds.randomElement(using: &random) ?? []
            for _ in 0..<Int.random(in: 0...3, using: &random) { mutate(&document, &random) }
            let value = try? read(document)
            let slow = SlowParser.parse(document)
            #expect(value == slow, "\(text(document)) \(document)")
            let isSkipped =
                refusal(of: document) { reader throws(JSONError) in
                    try reader.skip()
                } == nil
            #expect(isSkipped == (value != nil), "\(text(document)) \(document)")
            if let value {
                accepted += 1
                #expect(value.encoded() == SlowParser.parse(value.encoded())?.encoded())
                #expect(SlowParser.parse(value.encoded()) == slow)
            }
        }
        #expect((100...900).contains(accepted), "mutations make both good and bad documents")
    }

    private static let seeds: [[UInt8]] = [
        #"{"operation": "sandbox_create", "cost": 1, "maxPerHour": 500, "id": true}"#,
        #"{"a":{"b":[1,2,{"c":null}]},"d":"e","f":[[],{},""]}"#,
        #"{"1":1,"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9,"10":10,"\u0031":0}"#,
        #"[0,-0,1.5,1e5,1E-5,-1.25e+10,123456789012345678901234567890]"#,
        #"["\"\\\/\b\f\n\r\t","\u0041\u00e9\u20ac","\ud83d\ude00","é€😀"]"#,
        #" [ true , false , null , "x" ] "#, #""string""#, "0", "-1e-7", "null", "[]", "{}",
        "[[[[[[[[1]]]]]]]]", "{\"a\":\t1,\n\"b\":\r[ ]}",
        String(repeating: "[", count: 64) + String(repeating: "]", count: 64),
        String(repeating: "[", count: 65) + String(repeating: "]", count: 65),
    ].map { Array($0.utf8) }

    private static let tokens: [[UInt8]] =
        [
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\u00", "\\ud800", "\\udc00", "0",
            "-",
            "+", ".", "e", "E1", "true", "null", "nul", " ", "\n", "\u{0}", "\u{1F}", "\u{7F}", "é",
            "\u{FEFF}", "\"a\":1,", "1,", "[]", "//", "/**/", "'", "NaN",
        ].map { Array($0.utf8) } + [
            [0x80], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90], [0xFF],
        ]

    private func mutate(_ document: inout [UInt8], _ random: inout SeededGenerator) {
        let at = Int.random(in: 0...document.count, using: &random)
        let end = min(document.count, at + Int.random(in: 1...4, using: &random))
        switch Int.random(in: 0...5, using: &random) {
        case 0: document.insert(contentsOf: Self.tokens.randomElement(using: &random) ?? [], at: at)
        case 1: document.removeSubrange(at..<end)
        case 2: document.insert(contentsOf: document[at..<end], at: at)
        case 3:
            document.replaceSubrange(
                at..<end, with: Self.tokens.randomElement(using: &random) ?? [])
        case 4 where at < document.count:
            document[at] ^= 1 << UInt8.random(in: 0...7, using: &random)
        case 5 where Int.random(in: 0...9, using: &random) == 0: document.removeSubrange(at...)
        default: break
        }
    }
}
