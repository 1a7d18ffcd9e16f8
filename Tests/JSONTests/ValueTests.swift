import JSON
import TestSupport
import Testing

@Suite(.proves("H2")) struct `A JSON value` {
    @Test func `equals only the same document, white space and escapes aside`() throws {
        let documents = [
            "null", "true", "false", "1", "1.0", "-0", "\"1\"", "\"\"", "[]", "[1]", "[1,1]", "{}",
            #"{"a":1}"#, #"{"a":2}"#, #"{"b":1}"#, #"{"a":1,"b":2}"#, #"{"b":2,"a":1}"#, "[[]]",
            "\"caf\u{E9}\"", "\"cafe\u{301}\"",
        ]
        let values = try documents.map { try read($0) }
        #expect(Set(values).count == documents.count)
        for (document, value) in zip(documents, values) {
            #expect(try read(" \(document)\n") == value)
            #expect(try Set([read(document)]).contains(value))
        }
        #expect(try read(#"["\u0041\/"]"#) == read(#"["A/"]"#))
    }

    @Test func `has members only if it is an object`() throws {
        #expect(try read(#"{"a":{"b":7}}"#)["a"]?["b"] == 7)
        #expect(try read("[7]")["a"] == nil)
    }

    @Test func `takes a number only as RFC 8259 writes it`() throws {
        for text in ["0", "-1", "1.5e-7", "123456789012345678901234567890"] {
            #expect(JSONNumber(text)?.text == text)
        }
        for text in ["", "-", "01", "1.", "+1", "1 ", " 1", "1x", "0x1", "nan", "١"] {
            #expect(JSONNumber(text) == nil, "\(text)")
        }
        #expect(JSONNumber("1e2")?.int == 100)
        #expect(JSONNumber("1.5")?.int == nil)
        #expect(JSONNumber("1.5")?.double == 1.5)
    }

    @Test(arguments: ["{}", "[]", "\"a\"", "7", "true", "null"])
    func `is refused where another kind is asked for`(_ document: String) throws {
        let readers: [(kind: JSONKind, read: (inout JSONReader) throws(JSONError) -> Void)] = [
            (.object, { reader throws(JSONError) in try reader.readObject { _, _ in } }),
            (.array, { reader throws(JSONError) in try reader.readArray(maxCount: 1) { _, _ in } }),
            (.string, { reader throws(JSONError) in _ = try reader.readString(maxBytes: 1) }),
            (.number, { reader throws(JSONError) in _ = try reader.readInt(in: 7...7) }),
            (.number, { reader throws(JSONError) in _ = try reader.readDouble() }),
            (.bool, { reader throws(JSONError) in _ = try reader.readBool() }),
        ]
        var probe = JSONReader([UInt8](document.utf8))
        let kind = try probe.peek()
        for (asked, read) in readers {
            let error = refusal(of: document, read)
            #expect(error?.code == (asked == kind ? nil : .type))
        }
    }
}

@Suite struct `A mistake of our own` {
    @Test func `stops the process when a member is left unread`() async {
        await #expect(processExitsWith: .failure) {
            var reader = JSONReader([UInt8](#"{"a":1}"#.utf8))
            try reader.readObject { _, _ in }
        }
    }

    @Test func `stops the process when what is written would not be JSON`() async {
        await #expect(processExitsWith: .failure) {
            var writer = JSONWriter()
            writer.object { writer in writer.value(1) }
        }
        await #expect(processExitsWith: .failure) {
            var writer = JSONWriter()
            writer.array { writer in writer.member("a", 1) }
        }
        await #expect(processExitsWith: .failure) {
            var writer = JSONWriter()
            writer.null()
            writer.null()
        }
    }
}
