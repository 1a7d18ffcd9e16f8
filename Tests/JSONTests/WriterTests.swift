import JSON
import TestSupport
import Testing

@Suite(.proves("H2")) struct `A JSON writer` {
    @Test func `puts commas, names and brackets where they belong`() {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("a", 1)
            writer.array("b") { writer in
                writer.value("x")
                writer.value(true)
                writer.null()
                writer.array { _ in }
                writer.object { _ in }
            }
            writer.object("c") { writer in writer.member("d", [1, 2]) }
            writer.member("e", raw: [UInt8](ascii: "[0.10]"))
        }
        #expect(
            text(writer.bytes)
                == #"{"a":1,"b":["x",true,null,[],{}],"c":{"d":[1,2]},"e":[0.10]}"#)
    }

    @Test func `omits nil or says null, as its caller chooses`() {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("a", ifPresent: nil as Int?)
            writer.member("b", orNull: nil as String?)
            writer.member("c", ifPresent: 3)
            writer.member("d", orNull: "x")
        }
        #expect(text(writer.bytes) == #"{"b":null,"c":3,"d":"x"}"#)
    }

    @Test func `writes integers of every size`() {
        #expect(encoded(0) == "0")
        #expect(encoded(-1) == "-1")
        #expect(encoded(Int.max) == "9223372036854775807")
        #expect(encoded(Int.min) == "-9223372036854775808")
        #expect(encoded(Int64.min) == "-9223372036854775808")
        #expect(encoded(UInt64.max) == "18446744073709551615")
        #expect(encoded(Int32.min) == "-2147483648")
    }

    @Test func `writes doubles so that they read back the same`() throws {
        let values = [
            0, -0.0, 0.1, 1e22, 1e23, 1e-7, .leastNormalMagnitude, .leastNonzeroMagnitude,
            .greatestFiniteMagnitude,
            .pi, 1 / 3,
        ]
        for value in values {
            var reader = JSONReader(value.encoded())
            #expect(try reader.readDouble().bitPattern == value.bitPattern)
        }
    }

    @Test func `says null for what is no number`() {
        #expect(encoded([Double.nan, .infinity, -.infinity, 1.5]) == "[null,null,null,1.5]")
    }

    @Test func `escapes what RFC 8259 demands and nothing else`() {
        #expect(encoded("\"\\/\u{8}\u{C}\n\r\t") == #""\"\\/\b\f\n\r\t""#)
        #expect(encoded("\u{0}\u{1F}\u{7F}") == #""\u0000\u001f"# + "\u{7F}\"")
        #expect(encoded("é€😀\u{2028}<>&'") == "\"é€😀\u{2028}<>&'\"")
        #expect(encoded("plain, then \"é\" and \u{1}") == #""plain, then \"é\" and \u0001""#)
    }

    @Test func `escapes names too`() {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("a\"b", 1)
            writer.member("\n", 2)
        }
        #expect(text(writer.bytes) == #"{"a\"b":1,"\n":2}"#)
    }

    @Test func `is read back as it was written`() throws {
        var random = SeededGenerator(seed: 2)
        for _ in 0..<2_000 {
            let value = randomValue(&random, depth: 4)
            #expect(try read(value.encoded()) == value)
        }
    }

    @Test(arguments: 0..<0x80 as Range<UInt8>)
    func `is read back whatever octet a string has`(_ octet: UInt8) throws {
        let string = "a" + String(Unicode.Scalar(octet)) + "b"
        #expect(try read(string.encoded()) == .string(string))
    }

    private func encoded(_ value: some JSONWritable) -> String { text(value.encoded()) }

    private func randomValue(_ random: inout SeededGenerator, depth: Int) -> JSONValue {
        switch Int.random(in: 0...(depth > 0 ? 6 : 4), using: &random) {
        case 0: .null
        case 1: .bool(.random(using: &random))
        case 2: .number(JSONNumber(Int(truncatingIfNeeded: random.next())))
        case 3, 4: .string(randomString(&random))
        case 5:
            .array(
                (0..<Int.random(in: 0...4, using: &random)).map { _ in
                    randomValue(&random, depth: depth - 1)
                })
        default:
            .object(
                (0..<Int.random(in: 0...12, using: &random)).map { index in
                    JSONMember(
                        name: randomString(&random) + String(index),
                        value: randomValue(&random, depth: depth - 1))
                })
        }
    }

    private func randomString(_ random: inout SeededGenerator) -> String {
        var scalars = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...20, using: &random) {
            let limit: UInt32 = [0x20, 0x80, 0x800, 0x110000].randomElement(using: &random) ?? 0x80
            if let scalar = Unicode.Scalar(UInt32.random(in: 0..<limit, using: &random)) {
                scalars.append(scalar)
            }
        }
        return String(scalars)
    }
}
