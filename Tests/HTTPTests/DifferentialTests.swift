import HTTP
import TestSupport
import Testing

@Suite(.proves("H3")) struct `Two parsers` {
    /// Bytes that decide something, so that mutations find the borders of the grammar.
    private static let telling: [[UInt8]] =
        [
            "\r\n", "\n", "\r", " ", "\t", ":", ",", ";", "=", "\"", "\\", "/", "?", "%", "%2f",
            "%00", "%41",
            "0", "1", "5", "f", "A", "*", "\0", "\u{7F}", "\r\n\r\n", "chunked",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 3\r\n", "Host: b\r\n", "HTTP/1.0", "HTTP/1.1", "HTTP/2.0",
            "GET / HTTP/1.1\r\n",
            "0\r\n\r\n", "3\r\nabc\r\n", "Expect: 100-continue\r\n", "http://", "[::1]", "#", ".",
            "..", "@", "+",
        ].map { Array($0.utf8) } + [[0x80], [0xC3, 0xA9], [0xFF]]

    private static let cases =
        (requestLineCases + targetCases + fieldCases + framingCases + chunkCases)
        .filter { $0.bytes.count < 1000 }
    private static let seeds: [[UInt8]] = cases.map(\.bytes)
    private static let sound: [[UInt8]] = cases.filter { $0.end == .complete }.map(\.bytes)

    @Test(arguments: 0..<8)
    func `agree on mutated requests, however they are cut`(seed: Int) {
        var random = RandomSource(seed: UInt64(seed))
        var accepted = 0
        for round in 0..<5000 {
            let bytes = mutated(using: &random)
            let slow = SlowParser.read(bytes)
            let fast = Reading.fast(bytes)
            let cut = Int.random(in: 0...bytes.count, using: &random)
            let split = Reading.fast([bytes[..<cut], bytes[cut...]])
            accepted += fast.messages.count
            guard slow == fast, split == fast else {
                Issue.record(
                    """
                    seed \(seed) round \(round): \(String(decoding: bytes, as: UTF8.self).debugDescription)
                    slow \(slow)
                    fast \(fast)
                    cut at \(cut) \(split)
                    """)
                return
            }
        }
        // Mutations must not all be refused in the first line.
        #expect(accepted > 500)
    }

    private func mutated(using random: inout RandomSource) -> [UInt8] {
        var bytes = pick(Bool.random(using: &random) ? Self.sound : Self.seeds, &random)
        if Bool.random(using: &random) { bytes += pick(Self.seeds, &random) }
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes.insert(contentsOf: pick(Self.telling, &random), at: place)
            case 1 where place < bytes.count: bytes.remove(at: place)
            case 2 where place < bytes.count: bytes[place] = .random(in: 0...255, using: &random)
            case 3 where place < bytes.count:
                let end = min(bytes.count, place + Int.random(in: 1...20, using: &random))
                let copy = bytes[place..<end]
                bytes.insert(contentsOf: copy, at: Int.random(in: 0...bytes.count, using: &random))
            default: bytes.insert(contentsOf: pick(Self.telling, &random), at: place)
            }
        }
        return bytes
    }

    private func pick(_ list: [[UInt8]], _ random: inout RandomSource) -> [UInt8] {
        list[Int.random(in: 0..<list.count, using: &random)]
    }
}
