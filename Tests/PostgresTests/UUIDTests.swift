import Postgres
import TestSupport
import Testing

@Suite struct `A UUID` {
    @Test func `is written in lower case and read in either`() throws {
        let id = UUID(high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210)
        #expect(id.description == "01234567-89ab-cdef-fedc-ba9876543210")
        #expect(UUID("01234567-89AB-CDEF-fedc-BA9876543210") == id)
    }

    @Test(arguments: [
        "", "01234567-89ab-cdef-fedc-ba987654321", "01234567-89ab-cdef-fedc-ba98765432100",
        "0123456789abcdeffedcba9876543210", "{01234567-89ab-cdef-fedc-ba9876543210}",
        "01234567-89ab-cdef-fedc-ba987654321g", "01234567-89ab-cdef-fedc_ba9876543210",
        "01234567-89ab-cdef-fedc-ba987654321 ", "０1234567-89ab-cdef-fedc-ba9876543210",
    ])
    func `refuses every other form`(text: String) {
        #expect(UUID(text) == nil)
    }

    @Test func `of version 7 holds its time, its version and its variant`() throws {
        var random = Constant(value: .max)
        let id = UUID.v7(
            at: Timestamp(microseconds: 0x0123_4567_89ab * 1_000 + 500), using: &random)
        #expect(id.description == "01234567-89ab-7800-bfff-ffffffffffff")
    }

    @Test func `of version 7 sorts by microsecond`() {
        var random = Constant(value: 0)
        var last = UUID(high: 0, low: 0)
        for microsecond in 1_700_000_000_000_000..<1_700_000_000_003_000 {
            let id = UUID.v7(at: Timestamp(microseconds: Int64(microsecond)), using: &random)
            #expect(last < id)
            last = id
        }
    }

    private struct Constant: RandomNumberGenerator {
        let value: UInt64
        func next() -> UInt64 { value }
    }
}
