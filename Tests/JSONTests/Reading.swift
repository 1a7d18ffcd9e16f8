package import JSON

// What the suites share: reading a text given as a literal.

/// The whole document as one value.
func read(_ text: String, limits: JSONLimits = .default) throws(JSONError) -> JSONValue {
    try read([UInt8](text.utf8), limits: limits)
}

func read(_ bytes: [UInt8], limits: JSONLimits = .default) throws(JSONError) -> JSONValue {
    try JSONReader.decode(from: bytes, limits: limits)
}

/// What the whole document is refused with, nil if it is accepted.
func refusal(_ text: String, limits: JSONLimits = .default) -> JSONError? {
    refusal([UInt8](text.utf8), limits: limits)
}

func refusal(_ bytes: [UInt8], limits: JSONLimits = .default) -> JSONError? {
    refusal(of: bytes, limits: limits) { reader throws(JSONError) in
        _ = try reader.readValue()
    }
}

/// What `read` followed by the document's end is refused with.
func refusal(
    of text: String,
    limits: JSONLimits = .default,
    _ read: (inout JSONReader) throws(JSONError) -> Void
) -> JSONError? {
    refusal(of: [UInt8](text.utf8), limits: limits, read)
}

func refusal(
    of bytes: [UInt8],
    limits: JSONLimits = .default,
    _ read: (inout JSONReader) throws(JSONError) -> Void
) -> JSONError? {
    var reader = JSONReader(bytes, limits: limits)
    do throws(JSONError) {
        try read(&reader)
        try reader.finish()
        return nil
    } catch {
        return error
    }
}

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int) { self = .number(JSONNumber(value)) }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers from the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
