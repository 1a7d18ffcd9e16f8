import IO
import TestSupport
import Testing

@testable import HTTP

@Suite(.proves("H3")) struct `Sets of octets` {
    private static let alphanumerics =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

    @Test func `are what the RFCs list`() {
        let unreserved = Self.alphanumerics + "-._~"
        let expected: [(ByteSet, String)] = [
            (.token, Self.alphanumerics + "!#$%&'*+-.^_`|~"),
            (.path, unreserved + "!$&'()*+,;=:@/%"),
            (.query, unreserved + "!$&'()*+,;=:@/?%[]{}|^`"),
            (.registeredName, unreserved + "!$&'()*+;=%"),
            (.bracketedAddress, unreserved + "!$&'()*+;=:"),
            (.requestID, Self.alphanumerics + "._-"),
            (.hexDigit, "0123456789abcdefABCDEF"),
        ]
        for (set, text) in expected {
            let members = Set(text.utf8)
            for byte in UInt8.min ... .max {
                #expect(set.contains(byte) == members.contains(byte), "\(byte) in \(text)")
            }
        }
    }
}

@Suite(.proves("H3")) struct `A byte buffer` {
    private func text(_ buffer: borrowing ByteBuffer) -> String {
        buffer.withBytes { $0.text(ByteRange(0, $0.count)) }
    }

    @Test(arguments: [
        0, 1, 9, 10, 99, 100, 12345, 999_999_999_999_999_999, 1_000_000_000_000_000_000, Int.max,
    ])
    func `writes decimals`(value: Int) {
        var buffer = ByteBuffer()
        buffer.append(decimal: value)
        #expect(text(buffer) == String(value))
    }

    @Test(arguments: [0, 1, 0xDEAD_BEEF, 0x0123_4567_89AB_CDEF, UInt64.max, 0xA0B1_C2D3_E4F5_0617])
    func `writes hexadecimal`(value: UInt64) {
        var buffer = ByteBuffer()
        buffer.append(hex: value)
        let digits = String(value, radix: 16)
        #expect(text(buffer) == String(repeating: "0", count: 16 - digits.count) + digits)
    }

    @Test func `keeps its bytes when it grows and moves`() {
        var buffer = ByteBuffer(capacity: 8)
        var expected = ""
        for number in 0..<1000 {
            buffer.append(decimal: number)
            expected += String(number)
            if number % 7 == 6 {
                buffer.consume(3)
                expected.removeFirst(3)
            }
        }
        #expect(text(buffer) == expected)
    }

    @Test func `lets no value end its line`() {
        var buffer = ByteBuffer()
        buffer.append("X: ")
        buffer.append(fieldValue: "a\r\nSet-Cookie: b\0\u{7F}\té")
        #expect(text(buffer) == "X: a  Set-Cookie: b  \té")
    }

    @Test func `rests in its pool, unless bytes are in it`() {
        let pool = BufferPool(limit: 2)
        var wire = Wire()
        for _ in 0..<3 {
            wire.borrowInput(from: pool)
            #expect(wire.input.capacity == BufferPool.blockSize)
            wire.park(in: pool)
            #expect(wire.input.capacity == 0)
        }
        wire.borrowInput(from: pool)
        wire.input.append([UInt8](repeating: 1, count: 20_000))
        wire.park(in: pool)
        #expect(wire.input.count == 20_000)
    }
}

@Suite(.proves("H3")) struct `A date` {
    @Test(arguments: [
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
    ])
    func `is written as RFC 9110 has it`(seconds: Int64, text: String) {
        #expect(HTTPDate.text(seconds) == text)
    }

    @Test func `line is made anew each second`() {
        let now = MonotonicInstant.now
        let field = DateField(at: now)
        #expect(field.expiry > now && field.expiry <= now.advanced(by: .seconds(1)))
    }
}
