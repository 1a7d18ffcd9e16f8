import Foundation
import TestSupport
import Testing

/// What the fuzzer starts from, and what it once found.
@Suite(.proves("H3")) struct `The HTTP fuzzing corpus` {
    @Test func `is read alike by both parsers, however it is cut`() throws {
        let folder = packageRoot.appending(path: "Fuzz/corpus/http")
        let files = try FileManager.default.contentsOfDirectory(
            at: folder, includingPropertiesForKeys: nil)
        var requests = 0
        var refusals: Set<Reading.End> = []
        for file in files {
            let input = FuzzInput([UInt8](try Data(contentsOf: file)))
            let whole = Reading.fast(input.bytes, limits: input.limits)
            let name = file.lastPathComponent
            #expect(SlowParser.read(input.bytes, limits: input.slowLimits) == whole, "\(name)")
            #expect(Reading.fast(input.pieces, limits: input.limits) == whole, "\(name)")
            requests += whole.messages.count
            refusals.insert(whole.end)
        }
        // It reaches behind the first line, and all there is to refuse.
        #expect(requests >= 100)
        let statuses = [400, 413, 414, 431, 501, 505].map(Reading.End.refused)
        #expect(refusals.isSuperset(of: statuses + [.complete, .incomplete]))
    }
}

private let packageRoot = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
