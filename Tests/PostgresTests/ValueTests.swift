import Postgres
import TestSupport
import Testing

@Suite(.proves("H4")) struct `A value` {
    private static let id = UUID(high: 0x0123_4567_89ab_7def, low: 0x8edc_ba98_7654_3210)
    private static let time = Timestamp(microseconds: 1_763_855_999_123_456)

    @Test func `comes back as it went`() async throws {
        try await TestDatabase.withDatabase { url in
            let session = try Session(Conninfo(url: url))
            let row = try session.execute(
                """
                SELECT $1 AS bool, $2 AS int2, $3 AS int4, $4 AS int8, $5 AS double, $6 AS text,
                       $7 AS bytea, $8 AS uuid, $9 AS time, $10 AS jsonb
                """,
                .bool(true), .int2(-2), .int4(.min), .int8(.max), .double(-0.1), .text("Zoë 🌊"),
                .bytea([0, 255, 39, 92]), .uuid(Self.id), .timestamp(Self.time),
                .jsonb(#"{"a": [1, null]}"#)
            ).only()
            #expect(try row.bool("bool") == true)
            #expect(try row.int16("int2") == -2)
            #expect(try row.int32("int4") == .min)
            #expect(try row.int64("int8") == .max)
            #expect(try row.double("double") == -0.1)
            #expect(try row.text("text") == "Zoë 🌊")
            #expect(try row.bytes("bytea") == [0, 255, 39, 92])
            #expect(try row.uuid("uuid") == Self.id)
            #expect(try row.timestamp("time") == Self.time)
            #expect(try row.json("jsonb") == #"{"a": [1, null]}"#)
        }
    }

    @Test func `is the same to the server as its text`() async throws {
        try await TestDatabase.withDatabase { url in
            let session = try Session(Conninfo(url: url))
            let row = try session.execute(
                """
                SELECT $1::text, $2::text, $3::text,
                       $4 = 'infinity'::timestamptz, $5 = '-infinity'::timestamptz
                """,
                .uuid(Self.id), .timestamp(Self.time), .timestamps([Self.time, .distantFuture]),
                .timestamp(.distantFuture), .timestamp(.distantPast)
            ).only()
            #expect(try row.text(0) == Self.id.description)
            #expect(try row.text(1) == "2025-11-22 23:59:59.123456+00")
            #expect(try row.text(2) == #"{"2025-11-22 23:59:59.123456+00",infinity}"#)
            #expect(try row.bool(3))
            #expect(try row.bool(4))
        }
    }

    @Test(arguments: [0, 1, 1_000]) func `comes back as an array`(count: Int) async throws {
        try await TestDatabase.withDatabase { url in
            let session = try Session(Conninfo(url: url))
            let ids = (0..<count).map { UUID(high: UInt64($0), low: .max) }
            let texts = (0..<count).map { String(repeating: "é", count: $0 % 40) }
            let times = (0..<count).map { Timestamp(microseconds: Int64($0) * 1_000_003) }
            let gaps: [String?] = texts.map { $0.isEmpty ? nil : $0 }
            let pauses: [Timestamp?] = times.map { $0.microseconds % 2 == 0 ? $0 : nil }
            let numbers = 0..<count
            let row = try session.execute(
                "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9",
                .uuids(ids), .int2s(numbers.map { Int16($0) }), .int4s(numbers.map { Int32($0) }),
                .int8s(numbers.map { Int64($0) << 40 }), .texts(texts), .timestamps(times),
                .bools(numbers.map { $0 % 3 == 0 }), .optionalTexts(gaps),
                .optionalTimestamps(pauses)
            ).only()
            #expect(try row.uuids(0) == ids)
            #expect(try row.int16s(1) == numbers.map { Int16($0) })
            #expect(try row.int32s(2) == numbers.map { Int32($0) })
            #expect(try row.int64s(3) == numbers.map { Int64($0) << 40 })
            #expect(try row.texts(4) == texts)
            #expect(try row.timestamps(5) == times)
            #expect(try row.bools(6) == numbers.map { $0 % 3 == 0 })
            #expect(try row.optionalTexts(7) == gaps)
            #expect(try row.optionalTimestamps(8) == pauses)
        }
    }

    @Test func `may be null where that is asked for`() async throws {
        try await TestDatabase.withDatabase { url in
            let session = try Session(Conninfo(url: url))
            let row = try session.execute(
                "SELECT $1, $2, coalesce($3, 7), $4, $5",
                .text(nil), .uuid(nil), .int8(nil), .timestamp(nil), .optionalTexts([nil, "a"])
            ).only()
            #expect(try row.textIfPresent(0) == nil)
            #expect(try row.uuidIfPresent(1) == nil)
            #expect(try row.int64IfPresent(2) == 7)
            #expect(try row.timestampIfPresent(3) == nil)
            #expect(throws: PostgresError.decode("column 0 is null")) { try row.text(0) }
            #expect(throws: PostgresError.decode("column 4 has a null element")) {
                try row.texts(4)
            }
        }
    }

    @Test func `of another type, or column, is an error and not a trap`() async throws {
        try await TestDatabase.withDatabase { url in
            let session = try Session(Conninfo(url: url))
            let rows = try session.execute("SELECT 1::int4 AS one, 2::int2 AS two, 'x'::text AS x")
            let row = try rows.only()
            #expect(try row.int64("one") == 1)
            #expect(try row.int64("two") == 2)
            #expect(throws: PostgresError.decode("column one: Bool expected, found type 23")) {
                try row.bool("one")
            }
            #expect(throws: PostgresError.decode("column 2: UUID expected, found type 25")) {
                try row.uuid(2)
            }
            #expect(
                throws: PostgresError.decode("column 2: array of Int64 expected, found type 25")
            ) {
                try row.int64s(2)
            }
            #expect(throws: PostgresError.decode("no column three")) { try row.text("three") }
            #expect(throws: PostgresError.decode("no column 9")) { try row.text(9) }
            let none = try session.execute("SELECT 1 WHERE false")
            #expect(none.isEmpty && none.first == nil)
            #expect(throws: PostgresError.decode("one row expected, found 0")) { try none.only() }
        }
    }
}
