import JSON
import TestSupport
import Testing

@Suite(.proves("H2")) struct `A JSON reader` {
    @Test func `reads every kind of value in order`() throws {
        let document = #" {"a": [1, "x", true, false, null, {}, []], "b": -2.5e3} "#
        #expect(
            try read(document)
                == .object([
                    JSONMember(
                        name: "a",
                        value: .array([
                            1, "x", .bool(true), .bool(false), .null, .object([]), .array([]),
                        ])),
                    JSONMember(name: "b", value: try read("-2.5e3")),
                ]))
        #expect(try read(document)["b"] == read("-2.5e3"))
        #expect(try read(document)["c"] == nil)
    }

    @Test func `decodes an object field by field`() throws {
        let bytes = [UInt8](#"{"operation":"create","cost":2,"labels":["a","b"],"note":null}"#.utf8)
        let call = try JSONReader.decode(Call.self, from: bytes)
        #expect(call == Call(operation: "create", cost: 2, labels: ["a", "b"], note: nil))
    }

    @Test func `tells the next kind without taking it`() throws {
        var reader = JSONReader([UInt8](#" [ {}, "", 0, -1, true, false, null ] "#.utf8))
        #expect(try reader.peek() == .array)
        var kinds: [JSONKind] = []
        try reader.readArray(maxCount: 9) { _, reader throws(JSONError) in
            kinds.append(try reader.peek())
            try reader.skip()
        }
        try reader.finish()
        #expect(kinds == [.object, .string, .number, .number, .bool, .bool, .null])
    }

    @Test func `takes null and leaves all else`() throws {
        var reader = JSONReader([UInt8]("[null, 7]".utf8))
        var values: [Int?] = []
        try reader.readArray(maxCount: 2) { _, reader throws(JSONError) in
            values.append(try reader.readNull() ? nil : try reader.readInt(in: 0...9))
        }
        #expect(values == [nil, 7])
    }

    @Test(arguments: [
        "", " ", "{", "[", "\"", "\"\\", "\"\\u00", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,",
        "[1", "[1,", "-", "1.", "1e", "1e+", "t", "tru", "nul",
    ])
    func `refuses a document that ends early`(_ document: String) throws {
        let error = try #require(refusal(document))
        #expect(error.code == .syntax)
        #expect(error.offset == document.utf8.count)
    }

    @Test(arguments: [
        "{} {}", "1 2", "[1] ,", "nulll", "[1 2]", "[1,,2]", "[,1]", "[1,]", "{,}", "{\"a\":1,}",
        "{\"a\" 1}", "{\"a\":}", "{1:2}", "{a:1}", "{'a':1}", "[1}", "{\"a\":1]", "]", "}", ":",
        "True", "nan", "NaN", "Infinity", "-Infinity", "0x1", "+1", ".5", "01", "-01", "1.e3",
        "1_000", "--1", "/**/1", "// c\n1", "\u{B}1", "\u{C}1", "\u{A0}1", "[\"a\u{0}\"]",
        "\"\\a\"", "\"\\'\"", "\"\\u12G4\"", "\"\\U0041\"", "\"tab\there\"", "\"line\nbreak\"",
    ])
    func `refuses what RFC 8259 does not allow`(_ document: String) {
        #expect(refusal(document)?.code == .syntax)
    }

    @Test func `takes all white space that there is, and no other`() throws {
        #expect(try read("\t\r\n [\t\r\n 1\t\r\n ,\t\r\n 2\t\r\n ]\t\r\n ") == .array([1, 2]))
    }

    @Test func `skips only what it would also read`() throws {
        for document in ["[1,{\"a\":\"\\u0041\"}]", "[01]", "[\"\u{1}\"]", "{\"a\":1,\"a\":2}"] {
            let skipped = refusal(of: document) { reader throws(JSONError) in
                try reader.skip()
            }
            #expect(skipped == refusal(document))
        }
    }

    @Test func `refuses unknown and missing members`() {
        #expect(refuse(#"{"operation":"a","cost":1,"extra":{}}"#)?.code == .unknownField)
        #expect(refuse(#"{"cost":1}"#)?.code == .missingField)
    }

    private func refuse(_ document: String) -> JSONError? {
        refusal(of: document) { reader throws(JSONError) in
            _ = try Call(from: &reader)
        }
    }
}

private struct Call: Equatable, JSONReadable {
    var operation: String
    var cost: Int
    var labels: [String] = []
    var note: String?
}

extension Call {
    init(from reader: inout JSONReader) throws(JSONError) {
        var operation: String?
        var cost: Int?
        var labels: [String] = []
        var note: String?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "operation": operation = try reader.readString(maxBytes: 64)
            case "cost": cost = try reader.readInt(in: 1...1_000)
            case "labels":
                try reader.readArray(maxCount: 4) { _, reader throws(JSONError) in
                    labels.append(try reader.readString(maxBytes: 16))
                }
            case "note":
                if try !reader.readNull() { note = try reader.readString(maxBytes: 16) }
            default: throw reader.unknownField(key)
            }
        }
        self.init(
            operation: try reader.require(operation, "operation"),
            cost: try reader.require(cost, "cost"),
            labels: labels,
            note: note)
    }
}
