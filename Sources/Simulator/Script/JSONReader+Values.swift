import JSON

extension JSONReader {
    mutating func readDouble(in range: ClosedRange<Double>) throws(JSONError) -> Double {
        let value = try readDouble()
        guard range.contains(value) else {
            throw failure(
                .range, "expected a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    mutating func readSeconds(in range: ClosedRange<Double>) throws(JSONError) -> Duration {
        .seconds(try readDouble(in: range))
    }

    /// At most ten minutes: it is a wait of the simulator's.
    mutating func readMilliseconds() throws(JSONError) -> Duration {
        .seconds(try readDouble(in: 0...600_000) / 1000)
    }

    /// A string that is not empty.
    mutating func readText(maxBytes: Int) throws(JSONError) -> String {
        let text = try readString(maxBytes: maxBytes)
        guard !text.isEmpty else { throw failure(.length, "expected a string that is not empty") }
        return text
    }

    /// 1 to 64 of `[A-Za-z0-9_.:/-]`.
    mutating func readName() throws(JSONError) -> String {
        let name = try readText(maxBytes: 64)
        let isName = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: ":"), UInt8(ascii: "/"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard isName else { throw failure(.range, "expected letters, digits and _ . : / -") }
        return name
    }

    mutating func readNames() throws(JSONError) -> [String] {
        var names: [String] = []
        try readArray(maxCount: 256) { _, reader throws(JSONError) in
            names.append(try reader.readName())
        }
        guard !names.isEmpty else { throw failure(.count, "expected at least one name") }
        return names
    }

    /// One of an enumeration's names.
    mutating func readCase<Value>(_: Value.Type = Value.self) throws(JSONError) -> Value
    where Value: RawRepresentable<String> & CaseIterable {
        let text = try readString(maxBytes: 64)
        guard let value = Value(rawValue: text) else {
            let names = Value.allCases.map(\.rawValue).joined(separator: ", ")
            throw failure(.range, "expected one of \(names)")
        }
        return value
    }
}
