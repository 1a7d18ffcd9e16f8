import Glibc

/// Bytes on their way in or out: a window of used bytes in a block that grows on demand.
///
/// This folder's unsafe files are the module's only ones. Everything else sees the bytes as a `Span`,
/// each access checked.
@safe struct ByteBuffer: ~Copyable {
    private var base: UnsafeMutableRawPointer?
    private(set) var capacity = 0
    private var start = 0
    private var end = 0

    init() { unsafe base = nil }

    init(capacity: Int) {
        unsafe base = .allocate(byteCount: capacity, alignment: 16)
        self.capacity = capacity
    }

    fileprivate init(block: UnsafeMutableRawPointer, capacity: Int) {
        unsafe base = block
        self.capacity = capacity
    }

    deinit { unsafe base?.deallocate() }

    /// Gives up the block, which the caller owns from now on.
    fileprivate consuming func release() -> UnsafeMutableRawPointer? {
        let block = unsafe base
        discard self
        return unsafe block
    }

    var count: Int { end &- start }
    var isEmpty: Bool { start == end }
    var room: Int { capacity &- end }

    // MARK: Reading

    /// The used bytes.
    @inline(__always) func withBytes<Result, Failure: Error>(
        _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let bytes = unsafe UnsafeBufferPointer(
            start: base.map { unsafe ($0 + start).assumingMemoryBound(to: UInt8.self) },
            count: count)
        return try body(unsafe Span(_unsafeElements: bytes))
    }

    /// Forgets the first `count` used bytes.
    mutating func consume(_ count: Int) {
        precondition(count >= 0 && count <= self.count)
        start &+= count
        if start == end {
            start = 0
            end = 0
        }
    }

    mutating func removeAll() {
        start = 0
        end = 0
    }

    /// Hands the used bytes to a writer, which says how many it took (nil: none now).
    mutating func drain<Failure: Error>(
        _ write: (UnsafeRawBufferPointer) throws(Failure) -> Int?
    ) throws(Failure) -> Int? {
        let bytes = unsafe UnsafeRawBufferPointer(
            start: base.map { unsafe $0 + start }, count: count)
        guard let written = try unsafe write(bytes) else { return nil }
        consume(written)
        return written
    }

    // MARK: Writing

    /// Hands the unused rest of the block to a reader, which says how many bytes it put there.
    mutating func fill<Failure: Error>(
        _ read: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int?
    ) throws(Failure) -> Int? {
        let rest = unsafe UnsafeMutableRawBufferPointer(
            start: base.map { unsafe $0 + end }, count: room)
        guard let count = try unsafe read(rest) else { return nil }
        precondition(count >= 0 && count <= room)
        end &+= count
        return count
    }

    /// Makes room for `count` more bytes: moves the used ones to the front, else into a larger block.
    @inline(__always) mutating func reserve(_ count: Int) {
        if room < count { makeRoom(count) }
    }

    @inline(never) private mutating func makeRoom(_ count: Int) {
        let used = self.count
        let needed = used + count
        if needed <= capacity, let base = unsafe base {
            unsafe base.copyMemory(from: base + start, byteCount: used)
        } else {
            let size = max(needed, capacity * 2, 512)
            let block = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
            if let base = unsafe base {
                unsafe block.copyMemory(from: base + start, byteCount: used)
                unsafe base.deallocate()
            }
            unsafe base = block
            capacity = size
        }
        start = 0
        end = used
    }

    @inline(__always) private mutating func append(
        _ source: UnsafeRawPointer?, count: Int
    ) {
        guard count > 0, let source = unsafe source else { return }
        reserve(count)
        guard let base = unsafe base else { return }
        unsafe memcpy(base + end, source, count)
        end &+= count
    }

    @inline(__always) mutating func append(_ text: StaticString) {
        unsafe append(UnsafeRawPointer(text.utf8Start), count: text.utf8CodeUnitCount)
    }

    @inline(__always) mutating func append(_ byte: UInt8) {
        reserve(1)
        guard let base = unsafe base else { return }
        unsafe base.storeBytes(of: byte, toByteOffset: end, as: UInt8.self)
        end &+= 1
    }

    mutating func append(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe append($0.baseAddress, count: $0.count) }
    }

    mutating func append(_ bytes: Span<UInt8>) {
        unsafe bytes.withUnsafeBytes { unsafe append($0.baseAddress, count: $0.count) }
    }

    mutating func append(text: String) {
        var text = text
        text.withUTF8 { unsafe append($0.baseAddress, count: $0.count) }
    }

    /// Appends a field value; an octet that may not stand in one (CR, LF, NUL, ...) becomes a space,
    /// so that no value can end its line (RFC 9110 section 5.5).
    mutating func append(fieldValue text: String) {
        let first = end &- start
        append(text: text)
        guard let base = unsafe base else { return }
        for offset in (start &+ first)..<end
        where unsafe !base.load(fromByteOffset: offset, as: UInt8.self).isFieldValue {
            unsafe base.storeBytes(of: .space, toByteOffset: offset, as: UInt8.self)
        }
    }

    mutating func append(decimal value: Int) {
        precondition(value >= 0)
        if value < 10 { return append(UInt8(truncatingIfNeeded: 0x30 + value)) }
        reserve(20)
        guard let base = unsafe base else { return }
        var digits = 1
        var limit = 10
        while digits < 19 && value >= limit {
            digits &+= 1
            limit = digits == 19 ? .max : limit &* 10
        }
        var rest = value
        var position = end &+ digits
        while position > end {
            position &-= 1
            unsafe base.storeBytes(
                of: UInt8(truncatingIfNeeded: 0x30 &+ rest % 10), toByteOffset: position,
                as: UInt8.self)
            rest /= 10
        }
        end &+= digits
    }

    /// Appends 16 lower-case hexadecimal digits.
    mutating func append(hex value: UInt64) {
        reserve(16)
        guard let base = unsafe base else { return }
        unsafe base.storeBytes(
            of: hexDigits(UInt32(value &>> 32)), toByteOffset: end, as: UInt64.self)
        unsafe base.storeBytes(
            of: hexDigits(UInt32(truncatingIfNeeded: value)), toByteOffset: end &+ 8,
            as: UInt64.self)
        end &+= 16
    }
}

/// Eight lower-case hexadecimal digits as a word to be stored in memory: all nibbles at once.
private func hexDigits(_ value: UInt32) -> UInt64 {
    var spread = UInt64(value.byteSwapped)
    spread = (spread | spread &<< 16) & 0x0000_FFFF_0000_FFFF
    spread = (spread | spread &<< 8) & 0x00FF_00FF_00FF_00FF
    // Each octet becomes two nibbles, the high one first.
    let nibbles = (spread &>> 4 & 0x000F_000F_000F_000F) | (spread & 0x000F_000F_000F_000F) &<< 8
    let isLetter = (nibbles &+ 0x0606_0606_0606_0606) &>> 4 & 0x0101_0101_0101_0101
    return (nibbles &+ 0x3030_3030_3030_3030 &+ isLetter &* 0x27).littleEndian
}

/// Blocks of one size, lent to connections while bytes are in flight, so that an idle connection
/// holds none. Belongs to one loop's thread.
@safe final class BufferPool {
    /// Octets a block.
    static let blockSize = 16 * 1024
    /// Free blocks, each holding the address of the next: a list that never moves.
    private var free: UnsafeMutableRawPointer?
    private var count = 0
    private let limit: Int

    /// - Parameter limit: how many blocks are kept; more are freed when they come back.
    init(limit: Int) {
        self.limit = limit
        unsafe free = nil
    }

    deinit {
        while let block = unsafe pop() { unsafe block.deallocate() }
    }

    @inline(__always) private func pop() -> UnsafeMutableRawPointer? {
        guard let block = unsafe free else { return nil }
        unsafe free = block.load(as: UnsafeMutableRawPointer?.self)
        count &-= 1
        return unsafe block
    }

    func take() -> ByteBuffer {
        guard let block = unsafe pop() else {
            return ByteBuffer(capacity: Self.blockSize)
        }
        return unsafe ByteBuffer(block: block, capacity: Self.blockSize)
    }

    func give(_ buffer: consuming ByteBuffer) {
        // One that grew, or never had a block, is not kept.
        guard buffer.capacity == Self.blockSize, count < limit,
            let block = unsafe buffer.release()
        else { return }
        unsafe block.storeBytes(of: free, as: UnsafeMutableRawPointer?.self)
        unsafe free = block
        count &+= 1
    }
}
