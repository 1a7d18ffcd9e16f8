import Postgres
import TestSupport
import Testing

@Suite struct `A timestamp` {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_763_855_999_999_999, "2025-11-22T23:59:59.999Z"), (-1, "1969-12-31T23:59:59.999Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00.000Z"),
            (253_402_300_799_999_000, "9999-12-31T23:59:59.999Z"), (Int64.max, "infinity"),
        ] as [(Int64, String)])
    func `is written in UTC with milliseconds`(microseconds: Int64, text: String) {
        #expect(Timestamp(microseconds: microseconds).description == text)
    }

    @Test(
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:00.000001Z", 1),
            ("1970-01-01T00:00:00.1Z", 100_000), ("1970-01-01T00:00:00.123456789Z", 123_456),
            ("1970-01-01T02:30:00+02:30", 0), ("1969-12-31T19:00:00-05:00", 0),
            ("2024-02-29T12:00:00Z", 1_709_208_000_000_000),
        ] as [(String, Int64)])
    func `is read with any offset`(text: String, microseconds: Int64) {
        #expect(Timestamp(text) == Timestamp(microseconds: microseconds))
    }

    @Test(arguments: [
        "", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01 00:00:00Z", "1970-01-01t00:00:00z",
        "1970-13-01T00:00:00Z", "1970-00-01T00:00:00Z", "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z", "1970-01-32T00:00:00Z", "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z", "1970-01-01T00:00:60Z", "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00.1234567890Z", "1970-01-01T00:00:00+0000", "1970-01-01T00:00:00Z ",
        "+1970-01-01T00:00:00Z", "1970-01-01T00:00:00+24:00",
    ])
    func `refuses every other form`(text: String) {
        #expect(Timestamp(text) == nil)
    }

    @Test func `moves by a duration`() {
        let start = Timestamp(microseconds: 1_000_000)
        #expect(start + .milliseconds(1_500) == Timestamp(microseconds: 2_500_000))
        #expect(start - .seconds(2) == Timestamp(microseconds: -1_000_000))
        #expect(start + .seconds(90) - start == .seconds(90))
    }
}
