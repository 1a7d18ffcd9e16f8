import HTTP

/// An input of the HTTP fuzzer: an octet that tightens limits, one that cuts, and what a client sends.
struct FuzzInput {
    /// What the client sends.
    let bytes: [UInt8]
    let limits: HTTPLimits
    /// `limits` for the second parser.
    let slowLimits: SlowParser.Limits
    /// `bytes` as the reads of a connection might bring them.
    let pieces: [ArraySlice<UInt8>]

    /// The first octet's five lowest bits tighten a limit each, the next makes these tighter still;
    /// "@" leaves all as they are. The second's three lowest say how long a piece may be, 1 to 128
    /// octets; its length is random, with the octet as the seed. "@" is octet by octet.
    init(_ input: [UInt8]) {
        let knob = input.first ?? 0
        let seed = input.dropFirst().first ?? 0
        bytes = Array(input.dropFirst(2))

        func tightened(_ bit: UInt8, _ tight: Int, from loose: Int) -> Int {
            if knob & (1 << bit) == 0 { return loose }
            return knob & (1 << 5) == 0 ? tight : tight / 2
        }
        var slow = SlowParser.Limits()
        slow.requestLine = tightened(0, 40, from: slow.requestLine)
        slow.head = tightened(1, 96, from: slow.head)
        slow.fields = tightened(2, 4, from: slow.fields)
        slow.body = tightened(3, 10, from: slow.body)
        slow.chunkExtension = tightened(4, 8, from: slow.chunkExtension)
        slow.chunkExtensions = tightened(4, 12, from: slow.chunkExtensions)
        slowLimits = slow

        var limits = HTTPLimits()
        limits.requestLineBytes = slow.requestLine
        limits.headBytes = slow.head
        limits.fieldCount = slow.fields
        limits.bodyBytes = slow.body
        limits.chunkExtensionBytes = slow.chunkExtension
        limits.chunkExtensionsBytes = slow.chunkExtensions
        self.limits = limits

        var random = RandomSource(seed: UInt64(seed))
        var pieces: [ArraySlice<UInt8>] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = rest.prefix(.random(in: 1...(1 << Int(seed & 7)), using: &random))
            pieces.append(piece)
            rest = rest.dropFirst(piece.count)
        }
        self.pieces = pieces
    }
}
