import Glibc

extension Span where Element == UInt8 {
    /// The place of the first `byte` at or after `start`, or nil.
    @inline(__always) func firstIndex(of byte: UInt8, from start: Int) -> Int? {
        precondition(start >= 0 && start <= count)
        return unsafe withUnsafeBytes { bytes -> Int? in
            guard let base = bytes.baseAddress,
                let found = unsafe memchr(base + start, Int32(byte), bytes.count &- start)
            else { return nil }
            return unsafe UnsafeRawPointer(found) - base
        }
    }

    /// Whether the bytes of `range` are `text`, which is written in lower case, in any case.
    @inline(__always) func matches(_ text: StaticString, in range: ByteRange) -> Bool {
        guard range.count == text.utf8CodeUnitCount, range.upperBound <= count else { return false }
        return unsafe withUnsafeBytes { bytes in
            for offset in 0..<range.count
            where unsafe bytes[range.lowerBound &+ offset].lowercased != text.utf8Start[offset] {
                return false
            }
            return true
        }
    }

    /// Whether the bytes of `range` are exactly `text`.
    @inline(__always) func equals(_ text: StaticString, in range: ByteRange) -> Bool {
        guard range.count == text.utf8CodeUnitCount, range.upperBound <= count else { return false }
        return unsafe withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return true }
            return unsafe memcmp(base + range.lowerBound, text.utf8Start, range.count) == 0
        }
    }

    /// A copy of the bytes of `range`.
    func array(_ range: ByteRange) -> [UInt8] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        return unsafe withUnsafeBufferPointer { bytes in
            unsafe Array(
                UnsafeBufferPointer(rebasing: bytes[range.lowerBound..<range.upperBound]))
        }
    }

    /// The text of `range`; what is not UTF-8 becomes U+FFFD.
    func text(_ range: ByteRange) -> String {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        return unsafe withUnsafeBytes {
            unsafe String(decoding: $0[range.lowerBound..<range.upperBound], as: UTF8.self)
        }
    }
}

extension [UInt8] {
    /// Appends the bytes of `range`.
    mutating func append(_ bytes: Span<UInt8>, in range: ByteRange) {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count)
        unsafe bytes.withUnsafeBytes {
            unsafe append(contentsOf: $0[range.lowerBound..<range.upperBound])
        }
    }
}
