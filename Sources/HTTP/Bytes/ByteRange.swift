/// Where something stands in a run of bytes; half the size of `Range<Int>`, since a request is full
/// of them.
struct ByteRange: Hashable, Sendable {
    private let first: Int32
    private let past: Int32

    @inline(__always) init(_ first: Int, _ past: Int) {
        self.first = Int32(truncatingIfNeeded: first)
        self.past = Int32(truncatingIfNeeded: past)
    }

    static let empty = ByteRange(0, 0)

    @inline(__always) var lowerBound: Int { Int(first) }
    @inline(__always) var upperBound: Int { Int(past) }
    @inline(__always) var count: Int { Int(past &- first) }
    @inline(__always) var isEmpty: Bool { first == past }
}
