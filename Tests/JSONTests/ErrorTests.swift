import JSON
import TestSupport
import Testing

@Suite(.proves("H2")) struct `A JSON error` {
    @Test(arguments: [
        ("[1, x]", "/1", 4), ("{\"a\": {\"b\": [true, nulL]}}", "/a/b/1", 22),
        ("{\"a\": 1.}", "/a", 8), ("{\"a\": \"\\x\"}", "/a", 7), ("[[], [0, {}, 01]]", "/1/2", 13),
        ("{\"a\":1 \"b\":2}", "", 7), ("{\"a\":{\"b\":1 2}}", "/a", 12), ("[1] 2", "", 4),
        ("{\"a/b~c\": ?}", "/a~1b~0c", 10), ("{\"\": [?]}", "//0", 6),
        ("{\"\\u0041\": ?}", "/A", 11),
        ("{\"a\": [], \"b\": {\"c\": 1, \"d\": ?}}", "/b/d", 29),
        ("{\"a\": \"]},\\\"\", \"b\": ?}", "/b", 20),
        ("[1,", "/1", 3), ("{\"a\":", "/a", 5), ("", "", 0), ("?", "", 0),
    ])
    func `points to the offending value`(_ document: String, _ pointer: String, _ offset: Int) {
        let error = refusal(document)
        #expect(error?.pointer == pointer)
        #expect(error?.offset == offset)
        #expect(error?.code == .syntax)
    }

    @Test func `points to the member that comes twice`() {
        let error = refusal(#"{"a": {"x": 1, "y~": 2, "y~": 3}}"#)
        #expect(error?.code == .duplicateKey)
        #expect(error?.pointer == "/a/y~0")
        #expect(error?.offset == 24)
    }

    @Test func `points to what its reader complains about`() {
        let document = #"{"a": [{"n": 5}, {"n": 6}], "b": {}}"#
        func error(_ complain: @escaping (inout JSONReader) throws(JSONError) -> Void) -> String? {
            refusal(of: document) { reader throws(JSONError) in
                try reader.readObject { key, reader throws(JSONError) in
                    guard key == "a" else { throw reader.unknownField(key) }
                    try reader.readArray(maxCount: 2) { index, reader throws(JSONError) in
                        try reader.readObject { _, reader throws(JSONError) in
                            if index == 1 { try complain(&reader) } else { try reader.skip() }
                        }
                        if index == 1 { throw reader.failure(.range, "the element") }
                    }
                }
            }?.pointer
        }
        #expect(
            error { reader throws(JSONError) in throw reader.failure(.range, "before") } == "/a/1/n"
        )
        #expect(
            error { reader throws(JSONError) in
                _ = try reader.readInt(in: 0...9)
                throw reader.failure(.range, "after")
            } == "/a/1/n")
        #expect(error { reader throws(JSONError) in try reader.skip() } == "/a/1")
        #expect(
            error { reader throws(JSONError) in _ = try reader.readString(maxBytes: 1) } == "/a/1/n"
        )
    }

    @Test func `names an unknown member, and the object that lacks one`() {
        let unknown = refusal(of: #"{"a": {"b": 1}}"#) { reader throws(JSONError) in
            try reader.readObject { _, reader throws(JSONError) in
                try reader.readObject { key, reader throws(JSONError) in
                    throw reader.unknownField(key)
                }
            }
        }
        #expect(unknown?.code == .unknownField)
        #expect(unknown?.pointer == "/a/b")
        let missing = refusal(of: #"[{"b": [1]}]"#) { reader throws(JSONError) in
            try reader.readArray(maxCount: 1) { _, reader throws(JSONError) in
                try reader.readObject { _, reader throws(JSONError) in try reader.skip() }
                _ = try reader.require(nil as Int?, "a")
            }
        }
        #expect(missing?.code == .missingField)
        #expect(missing?.pointer == "/0")
        #expect(missing?.message == "expected the member a")
    }

    @Test func `says what was expected and what was found`() {
        let error = refusal(of: "[1, {}]") { reader throws(JSONError) in
            try reader.readArray(maxCount: 2) { _, reader throws(JSONError) in
                _ = try reader.readInt(in: 1...1)
            }
        }
        #expect(error?.description == "type at /1, octet 4: expected an integer, found an object")
        let bad = refusal(of: "[?]") { reader throws(JSONError) in
            try reader.readArray(maxCount: 1) { _, reader throws(JSONError) in
                _ = try reader.readBool()
            }
        }
        #expect(bad?.code == .syntax)
    }

    @Test func `stays small however long the names are`() {
        let name = String(repeating: "n", count: 2_000)
        #expect(refusal("{\"a\": {\"\(name)\": ?}}")?.pointer == "/a")
        #expect(refusal("{\"a\": {\"\(name)\": 1, \"\(name)\": 1}}")?.pointer == "/a")
    }
}
