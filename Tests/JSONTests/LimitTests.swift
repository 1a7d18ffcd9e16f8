import JSON
import TestSupport
import Testing

@Suite(.proves("H2")) struct `A JSON limit` {
    @Test func `bounds the document`() {
        let limits = JSONLimits(maxBytes: 10)
        #expect(refusal("[1,2,3,4 ]", limits: limits) == nil)
        #expect(refusal("[1,2,3,4  ]", limits: limits)?.code == .size)
        #expect(refusal("[1,2,3,4] \n", limits: limits)?.code == .size)
        #expect(
            refusal("\"" + String(repeating: "a", count: 1 << 20) + "\"")?.code == .size)
    }

    @Test func `bounds the depth of arrays and objects together`() {
        func nested(_ depth: Int) -> String {
            String(repeating: "[{\"a\":", count: depth / 2) + "1"
                + String(repeating: "}]", count: depth / 2)
        }
        #expect(refusal(nested(64)) == nil)
        #expect(refusal(nested(66))?.code == .depth)
        #expect(refusal("[" + nested(64) + "]")?.offset == 1 + 31 * 6 + 1)  // the last brace
        #expect(refusal("[[]]", limits: JSONLimits(maxDepth: 1))?.pointer == "/0")
        #expect(refusal("1", limits: JSONLimits(maxDepth: 0)) == nil)
        #expect(refusal("[]", limits: JSONLimits(maxDepth: 0))?.code == .depth)
    }

    @Test func `counts only what is open as depth`() {
        let siblings = String(repeating: "[[]],{\"a\":{}},", count: 200) + "0"
        #expect(refusal("[\(siblings)]", limits: JSONLimits(maxDepth: 3)) == nil)
    }

    @Test(arguments: [100, 100_000, 1_000_000])
    func `refuses brackets without end before the stack does`(_ count: Int) {
        #expect(refusal(String(repeating: "[", count: count))?.code == .depth)
        #expect(
            refusal(String(repeating: "{\"\":", count: count / 4))?.code
                == (count / 4 > 64 ? .depth : .syntax))
    }

    @Test func `survives the greatest depth that may be set`() {
        let document = String(repeating: "[", count: 512) + String(repeating: "]", count: 512)
        #expect(refusal(document, limits: JSONLimits(maxDepth: 512)) == nil)
    }

    @Test func `bounds strings and names`() {
        let limits = JSONLimits(maxStringBytes: 3)
        #expect(refusal("[\"abc\"]", limits: limits) == nil)
        #expect(refusal("[\"abcd\"]", limits: limits)?.code == .length)
        for document in ["\"abc\"", "\"abcd\"", "\"\\u0061bc\"", "\"\\u0061bcd\""] {
            let skipped = refusal(of: document, limits: limits) { reader throws(JSONError) in
                try reader.skip()
            }
            #expect(skipped == refusal(document, limits: limits))
        }
        #expect(refusal("{\"abc\":1}", limits: limits) == nil)
        let name = refusal("[{\"abcd\":1}]", limits: limits)
        #expect(name?.code == .length)
        #expect(name?.pointer == "/0")
        #expect(name?.offset == 2)
    }

    @Test func `bounds members and elements`() {
        let limits = JSONLimits(maxMembers: 2, maxElements: 3)
        #expect(refusal("[1,2,3]", limits: limits) == nil)
        #expect(refusal("[1,2,3,4]", limits: limits)?.code == .count)
        #expect(refusal("{\"a\":1,\"b\":2}", limits: limits) == nil)
        #expect(refusal("{\"a\":1,\"b\":2,\"c\":3}", limits: limits)?.code == .count)
        let own = refusal(of: "[1,2]") { reader throws(JSONError) in
            try reader.readArray(maxCount: 1) { _, reader throws(JSONError) in try reader.skip() }
        }
        #expect(own?.code == .count)
        #expect(own?.message == "expected at most 1 elements")
    }

    @Test(arguments: [1, 7, 8, 9, 100])
    func `finds a name that comes twice among few and many`(_ count: Int) throws {
        let members = (0..<count).map { "\"name\($0)\":\($0)" }
        for twice in [0, count / 2, count - 1] {
            let plain = "{" + (members + ["\"name\(twice)\":0"]).joined(separator: ",") + "}"
            let escaped =
                "{" + (members + ["\"\\u006eame\(twice)\":0"]).joined(separator: ",") + "}"
            let first = "{" + (["\"\\u006eame\(twice)\":0"] + members).joined(separator: ",") + "}"
            for document in [plain, escaped, first] {
                let error = refusal(document)
                #expect(error?.code == .duplicateKey)
                #expect(error?.pointer == "/name\(twice)")
            }
        }
        #expect(refusal("{" + members.joined(separator: ",") + "}") == nil)
    }

    @Test func `lets names come twice where that is asked for`() throws {
        let limits = JSONLimits(maxMembers: 2, refusesDuplicateKeys: false)
        #expect(
            try read(#"{"a":1,"a":2}"#, limits: limits)
                == .object([JSONMember(name: "a", value: 1), JSONMember(name: "a", value: 2)]))
        #expect(refusal(#"{"a":1,"a":2,"a":3}"#, limits: limits)?.code == .count)
    }
}
