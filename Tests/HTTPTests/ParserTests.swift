import HTTP
import TestSupport
import Testing

/// One case: bytes (a scalar an octet), the requests that they hold, and how they end.
struct ParserCase: CustomTestStringConvertible {
    let name: String
    let text: String
    let targets: [String]
    let bodies: [String]
    let end: Reading.End

    static func accepted(
        _ name: String, _ text: String, _ targets: [String] = ["/"], bodies: [String]? = nil
    ) -> ParserCase {
        ParserCase(
            name: name, text: text, targets: targets,
            bodies: bodies ?? targets.map { _ in "" }, end: .complete)
    }

    static func refused(_ name: String, _ status: Int, _ text: String) -> ParserCase {
        ParserCase(name: name, text: text, targets: [], bodies: [], end: .refused(status))
    }

    static func incomplete(_ name: String, _ text: String) -> ParserCase {
        ParserCase(name: name, text: text, targets: [], bodies: [], end: .incomplete)
    }

    var testDescription: String { name }
    var bytes: [UInt8] { Reading.latin1(text) }
}

@Suite(.proves("H3")) struct `The request parser` {
    @Test(arguments: requestLineCases)
    func `reads request lines`(item: ParserCase) { check(item) }

    @Test(arguments: targetCases)
    func `reads targets`(item: ParserCase) { check(item) }

    @Test(arguments: fieldCases)
    func `reads fields`(item: ParserCase) { check(item) }

    @Test(arguments: framingCases)
    func `frames bodies`(item: ParserCase) { check(item) }

    @Test(arguments: chunkCases)
    func `decodes chunks`(item: ParserCase) { check(item) }

    @Test(arguments: limitCases)
    func `holds its limits`(item: ParserCase) { check(item) }

    /// The case itself, the same from a second parser, and the same however it is cut in two or
    /// more.
    private func check(_ item: ParserCase) {
        let bytes = item.bytes
        let whole = Reading.fast(bytes)
        #expect(whole.end == item.end, "\(whole)")
        #expect(whole.messages.map(\.target) == item.targets)
        #expect(whole.messages.map { String(decoding: $0.body, as: UTF8.self) } == item.bodies)
        #expect(SlowParser.read(bytes) == whole, "the second parser")
        if bytes.count < 2000 {
            for cut in bytes.indices {
                let split = Reading.fast([bytes[..<cut], bytes[cut...]])
                if split != whole { Issue.record("cut at \(cut): \(split)") }
            }
            #expect(Reading.fast(bytes.indices.map { bytes[$0...$0] }) == whole, "octet by octet")
        } else {
            let pieces = stride(from: 0, to: bytes.count, by: 997).map {
                bytes[$0..<min($0 + 997, bytes.count)]
            }
            #expect(Reading.fast(pieces) == whole, "in pieces")
        }
    }
}
