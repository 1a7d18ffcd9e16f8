import Foundation
import JSON
import TestSupport
import Testing

/// JSONTestSuite (Nicolas Seriot, "Parsing JSON is a Minefield").
///
/// `y_` has to be accepted, `n_` refused, `i_` is free. `Scripts/json-test-suite` gets the files.
@Suite(.proves("H2")) struct `The public JSON test suite` {
    private let files: [String: [UInt8]]

    init() throws {
        let folder =
            ProcessInfo.processInfo.environment["JSON_TEST_SUITE"]
            .map { URL(fileURLWithPath: $0, relativeTo: packageRoot) }
            ?? packageRoot.appending(path: ".build/json-test-suite")
        files = try #require(
            try? contents(of: folder),
            "no files in \(folder.path): Scripts/json-test-suite gets them")
    }

    @Test func `is there as published`() {
        #expect(files(kind: "y").count == 95)
        #expect(files(kind: "n").count == 188)
        #expect(files(kind: "i").count == 35)
    }

    @Test func `has its 188 bad documents refused`() {
        for (name, bytes) in files(kind: "n") { #expect(refusal(bytes) != nil, "\(name)") }
    }

    @Test func `has its 95 good documents accepted where names may come twice`() {
        let limits = JSONLimits(refusesDuplicateKeys: false)
        for (name, bytes) in files(kind: "y") {
            #expect(refusal(bytes, limits: limits) == nil, "\(name)")
        }
    }

    @Test func `has two of its good documents refused by default, for a name that comes twice`() {
        let refused = files(kind: "y").compactMap { name, bytes in
            refusal(bytes).map { "\(name): \($0.code)" }
        }
        #expect(
            refused.sorted() == [
                "y_object_duplicated_key.json: duplicateKey",
                "y_object_duplicated_key_and_value.json: duplicateKey",
            ])
    }

    @Test func `has skip and read agree on every document`() {
        for (name, bytes) in files {
            let skipped = refusal(of: bytes) { reader throws(JSONError) in try reader.skip() }
            #expect(skipped == refusal(bytes), "\(name)")
            #expect((try? read(bytes)) == SlowParser.parse(bytes), "\(name)")
        }
    }

    private func files(kind: String) -> [(key: String, value: [UInt8])] {
        files.filter { $0.key.hasPrefix(kind + "_") }.sorted { $0.key < $1.key }
    }
}

/// What the fuzzer starts from, and what it once found.
@Suite(.proves("H2")) struct `The JSON fuzzing corpus` {
    @Test func `is read alike by both parsers`() throws {
        let files = try contents(of: packageRoot.appending(path: "Fuzz/corpus/json"))
        #expect(files.count >= 20)
        for (name, bytes) in files {
            #expect((try? read(bytes)) == SlowParser.parse(bytes), "\(name)")
            let skipped = refusal(of: bytes) { reader throws(JSONError) in try reader.skip() }
            #expect(skipped == refusal(bytes), "\(name)")
        }
    }
}

private let packageRoot = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

private func contents(of folder: URL) throws -> [String: [UInt8]] {
    let files = try FileManager.default.contentsOfDirectory(
        at: folder, includingPropertiesForKeys: nil)
    return try Dictionary(
        uniqueKeysWithValues: files.map {
            ($0.lastPathComponent, [UInt8](try Data(contentsOf: $0)))
        })
}
