/// The names that one object has had so far; says which comes twice.
///
/// Up to eight plain names are ranges of the document, compared with each other on the stack. More,
/// or one with an escape in it, move to a `Set`, whose hashes are seeded anew in each process: the
/// whole stays linear, whatever names a sender thinks up.
struct KeySet {
    private static var inlineCount: Int { 8 }

    private var ranges = InlineArray<8, Range<Int32>>(repeating: 0..<0)
    private var names: Set<ArraySlice<UInt8>> = []
    private var count = 0  // of `ranges`

    /// Adds a name that stands in the document as it is; false if it is there already.
    @inline(__always)
    mutating func insert(_ range: Range<Int>, of bytes: [UInt8]) -> Bool {
        guard count < Self.inlineCount, names.isEmpty else {
            return insert(unescaped: bytes[range], of: bytes)
        }
        let span = bytes.span
        for index in 0..<count {
            let other = ranges[index]
            guard other.count == range.count else { continue }
            if Self.equal(span, Int(other.lowerBound), range.lowerBound, range.count) {
                return false
            }
        }
        ranges[count] = Int32(range.lowerBound)..<Int32(range.upperBound)
        count += 1
        return true
    }

    /// Adds a name that had escapes.
    @inline(never)
    mutating func insert(unescaped name: ArraySlice<UInt8>, of bytes: [UInt8]) -> Bool {
        if names.isEmpty {
            for index in 0..<count {
                let range = ranges[index]
                names.insert(bytes[Int(range.lowerBound)..<Int(range.upperBound)])
            }
        }
        return names.insert(name).inserted
    }

    @inline(__always)
    private static func equal(_ span: Span<UInt8>, _ a: Int, _ b: Int, _ count: Int) -> Bool {
        for index in 0..<count where span[a + index] != span[b + index] { return false }
        return true
    }
}
