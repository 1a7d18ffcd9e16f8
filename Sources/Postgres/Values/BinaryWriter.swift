/// A growing block of bytes in network order.
///
/// Each write makes room once and then stores without further checks; an array asks for the room
/// of all its elements at once.
@safe struct BinaryWriter: ~Copyable {
    private var start: UnsafeMutableRawPointer
    private var capacity: Int
    private(set) var count = 0

    init(capacity: Int) {
        unsafe start = .allocate(byteCount: capacity, alignment: 8)
        self.capacity = capacity
    }

    deinit {
        unsafe start.deallocate()
    }

    /// Valid until the next write.
    var bytes: UnsafeRawPointer { unsafe UnsafeRawPointer(start) }

    /// Forgets all bytes, and gives memory back when one large call made the block grow past
    /// `keeping` bytes.
    mutating func removeAll(keeping limit: Int) {
        count = 0
        guard capacity > limit else { return }
        unsafe start.deallocate()
        unsafe start = .allocate(byteCount: limit, alignment: 8)
        capacity = limit
    }

    mutating func reserve(_ extra: Int) {
        guard count + extra > capacity else { return }
        capacity = max(capacity * 2, count + extra)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 8)
        unsafe larger.copyMemory(from: start, byteCount: count)
        unsafe start.deallocate()
        unsafe start = larger
    }

    mutating func write<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
        reserve(MemoryLayout<Value>.size)
        store(value)
    }

    mutating func write(_ text: String) {
        var text = text
        text.withUTF8 { unsafe write(UnsafeRawBufferPointer($0)) }
    }

    mutating func write(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe write($0) }
    }

    private mutating func write(_ source: UnsafeRawBufferPointer) {
        guard let base = source.baseAddress, source.count > 0 else { return }
        reserve(source.count)
        unsafe (start + count).copyMemory(from: base, byteCount: source.count)
        count += source.count
    }

    /// `write` without the check; only after `reserve`.
    @inline(__always)
    fileprivate mutating func store<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
        unsafe start.storeBytes(of: value.bigEndian, toByteOffset: count, as: Value.self)
        count += MemoryLayout<Value>.size
    }
}

// Arrays (`array_recv`): dimensions, a flag for nulls, the element's type; the size and first index
// of the one dimension; then each element as its length and bytes, length -1 for null.
extension BinaryWriter {
    mutating func writeIntegers<Value: FixedWidthInteger & BitwiseCopyable>(
        _ values: [Value], of type: TypeID
    ) {
        writeHeader(of: type, count: values.count)
        let size = MemoryLayout<Value>.size
        reserve(values.count * (4 + size))
        for value in values {
            store(Int32(size))
            store(value)
        }
    }

    mutating func write(_ values: [Bool]) {
        writeHeader(of: .bool, count: values.count)
        reserve(values.count * 5)
        for value in values {
            store(Int32(1))
            store(UInt8(value ? 1 : 0))
        }
    }

    mutating func write(_ values: [UUID]) {
        writeHeader(of: .uuid, count: values.count)
        reserve(values.count * 20)
        for value in values {
            store(Int32(16))
            store(value.high)
            store(value.low)
        }
    }

    mutating func write(_ values: [Timestamp]) {
        writeHeader(of: .timestamptz, count: values.count)
        reserve(values.count * 12)
        for value in values {
            store(Int32(8))
            store(value.sinceEpoch2000)
        }
    }

    mutating func write(_ values: [Timestamp?]) {
        writeHeader(of: .timestamptz, count: values.count, hasNulls: true)
        reserve(values.count * 12)
        for value in values {
            guard let value else {
                store(Int32(-1))
                continue
            }
            store(Int32(8))
            store(value.sinceEpoch2000)
        }
    }

    mutating func write(_ values: [String]) {
        writeHeader(of: .text, count: values.count)
        for value in values {
            write(Int32(value.utf8.count))
            write(value)
        }
    }

    mutating func write(_ values: [String?]) {
        writeHeader(of: .text, count: values.count, hasNulls: true)
        for value in values {
            guard let value else {
                write(Int32(-1))
                continue
            }
            write(Int32(value.utf8.count))
            write(value)
        }
    }

    private mutating func writeHeader(of type: TypeID, count: Int, hasNulls: Bool = false) {
        reserve(20)
        store(Int32(count == 0 ? 0 : 1))
        store(Int32(hasNulls ? 1 : 0))
        store(type.rawValue)
        guard count > 0 else { return }
        store(Int32(count))
        store(Int32(1))
    }
}

extension Timestamp {
    /// 2000-01-01T00:00:00Z, the zero of PostgreSQL's `timestamptz`, in microseconds since 1970.
    private static let epoch2000: Int64 = 946_684_800_000_000

    /// The binary form of `timestamptz`; the ends of the range are the infinities.
    var sinceEpoch2000: Int64 {
        if self == .distantFuture || self == .distantPast { return microseconds }
        let (value, overflow) = microseconds.subtractingReportingOverflow(Self.epoch2000)
        return overflow ? .min : value
    }

    init(sinceEpoch2000 value: Int64) {
        if value == .max || value == .min {
            self.init(microseconds: value)
            return
        }
        let (sum, overflow) = value.addingReportingOverflow(Self.epoch2000)
        self.init(microseconds: overflow ? .max : sum)
    }
}
