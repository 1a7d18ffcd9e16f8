/// A Swift type that reads one of PostgreSQL's types in its binary form.
protocol ColumnValue {
    /// Nil where `type` is not one that this reads, or the bytes are not of its form.
    @unsafe init?(binary bytes: UnsafeRawBufferPointer, type: TypeID)
}

/// A big-endian integer that fills `bytes` exactly.
private func integer<Value: FixedWidthInteger & BitwiseCopyable>(
    _ bytes: UnsafeRawBufferPointer, as: Value.Type = Value.self
) -> Value? {
    guard bytes.count == MemoryLayout<Value>.size else { return nil }
    return unsafe Value(bigEndian: bytes.loadUnaligned(as: Value.self))
}

extension Bool: ColumnValue {
    init?(binary bytes: UnsafeRawBufferPointer, type: TypeID) {
        guard type == .bool, let value = unsafe integer(bytes, as: UInt8.self) else { return nil }
        self = value != 0
    }
}

extension Int16: ColumnValue {
    init?(binary bytes: UnsafeRawBufferPointer, type: TypeID) {
        guard type == .int2, let value = unsafe integer(bytes, as: Int16.self) else { return nil }
        self = value
    }
}

extension Int32: ColumnValue {
    init?(binary bytes: UnsafeRawBufferPointer, type: TypeID) {
        switch type {
        case .int4:
            guard let value = unsafe integer(bytes, as: Int32.self) else { return nil }
            self = value
        case .int2:
            guard let value = unsafe integer(bytes, as: Int16.self) else { return nil }
            self = Int32(value)
        default: return nil
        }
    }
}

extension Int64: ColumnValue {
    init?(binary bytes: UnsafeRawBufferPointer, type: TypeID) {
        if type == .int8 {
            guard let value = unsafe integer(bytes, as: Int64.self) else { return nil }
            self = value
        } else {
            guard let value = unsafe Int32(binary: bytes, type: type) else { return nil }
            self = Int64(value)
        }
    }
}

extension Double: ColumnValue {
    init?(binary bytes: UnsafeRawBufferPointer, type: TypeID) {
        switch type {
        case .float8:
            guard let bits = unsafe integer(bytes, as: UInt64.self) else { return nil }
            self.init(bitPattern: bits)
        case .float4:
            guard let bits = unsafe integer(bytes, as: UInt32.self) else { return nil }
            self = Double(Float(bitPattern: bits))
        default: return nil
        }
    }
}

extension String: ColumnValue {
    init?(binary bytes: UnsafeRawBufferPointer, type: TypeID) {
        switch type {
        case .text, .varchar, .bpchar, .name: unsafe self.init(decoding: bytes, as: UTF8.self)
        default: return nil
        }
    }
}

extension [UInt8]: ColumnValue {
    init?(binary bytes: UnsafeRawBufferPointer, type: TypeID) {
        guard type == .bytea else { return nil }
        unsafe self.init(bytes)
    }
}

extension UUID: ColumnValue {
    init?(binary bytes: UnsafeRawBufferPointer, type: TypeID) {
        guard type == .uuid, bytes.count == 16 else { return nil }
        unsafe self.init(
            high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
            low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }
}

extension Timestamp: ColumnValue {
    init?(binary bytes: UnsafeRawBufferPointer, type: TypeID) {
        guard type == .timestamptz, let value = unsafe integer(bytes, as: Int64.self) else {
            return nil
        }
        self.init(sinceEpoch2000: value)
    }
}

struct JSONText: ColumnValue {
    let text: String

    init?(binary bytes: UnsafeRawBufferPointer, type: TypeID) {
        switch type {
        case .json: text = unsafe String(decoding: bytes, as: UTF8.self)
        case .jsonb:
            guard unsafe bytes.first == 1 else { return nil }  // the version of the format
            text = unsafe String(decoding: bytes.dropFirst(), as: UTF8.self)
        default: return nil
        }
    }
}

/// Reads a one-dimensional array (`array_send`); nil where it has more dimensions, elements that
/// `Value` does not read, or is cut short.
@unsafe func decodeArray<Value: ColumnValue>(binary bytes: UnsafeRawBufferPointer) -> [Value?]? {
    var position = 0
    func next() -> Int32? {
        guard bytes.count - position >= 4 else { return nil }
        defer { position += 4 }
        return unsafe Int32(
            bigEndian: bytes.loadUnaligned(fromByteOffset: position, as: Int32.self))
    }
    guard let dimensions = next(), next() != nil, let element = next() else { return nil }
    guard dimensions > 0 else { return bytes.count == 12 ? [] : nil }
    guard dimensions == 1, let count = next(), next() != nil,
        count >= 0, Int(count) <= bytes.count / 4
    else { return nil }
    let type = TypeID(rawValue: UInt32(bitPattern: element))
    var values: [Value?] = []
    values.reserveCapacity(Int(count))
    for _ in 0..<count {
        guard let length = next() else { return nil }
        if length == -1 {
            values.append(nil)
            continue
        }
        let end = position + Int(length)
        guard length >= 0, end <= bytes.count else { return nil }
        let slice = unsafe UnsafeRawBufferPointer(rebasing: bytes[position..<end])
        guard let value = unsafe Value(binary: slice, type: type) else { return nil }
        values.append(value)
        position = end
    }
    return values
}
