internal import CLibpq

/// Parameters in the shape that libpq takes: values, lengths and formats, side by side.
///
/// One block of bytes and three arrays, kept between calls: a call with six arrays of a thousand
/// elements allocates nothing once they have grown.
@safe struct BindBuffer: ~Copyable {
    private static let keptBytes = 1 << 20

    private var writer = BinaryWriter(capacity: 4_096)
    private var offsets: [Int] = []  // -1: null
    private var lengths: [Int32] = []
    private var formats: [Int32] = []
    private var types: [Oid] = []
    private var values: [UnsafePointer<CChar>?] = unsafe []

    /// Replaces what was held by `parameters`.
    mutating func encode(_ parameters: [Parameter]) {
        writer.removeAll(keeping: Self.keptBytes)
        offsets.removeAll(keepingCapacity: true)
        lengths.removeAll(keepingCapacity: true)
        types.removeAll(keepingCapacity: true)
        for parameter in parameters {
            let start = writer.count
            let isNull = !encode(parameter)
            offsets.append(isNull ? -1 : start)
            lengths.append(Int32(writer.count - start))
            types.append(parameter.type.rawValue)
        }
        while formats.count < parameters.count { formats.append(1) }
        unsafe values.removeAll(keepingCapacity: true)
        for offset in offsets {
            guard offset >= 0 else {
                unsafe values.append(nil)
                continue
            }
            unsafe values.append(
                (writer.bytes + offset).assumingMemoryBound(to: CChar.self))
        }
    }

    /// Calls `body` with the arguments of `PQsendQueryPrepared` and its kin.
    borrowing func withArguments<Answer>(
        _ body: (
            _ count: Int32, _ types: UnsafePointer<Oid>?,
            _ values: UnsafePointer<UnsafePointer<CChar>?>?, _ lengths: UnsafePointer<Int32>?,
            _ formats: UnsafePointer<Int32>?
        ) -> Answer
    ) -> Answer {
        unsafe types.withUnsafeBufferPointer { types in
            unsafe values.withUnsafeBufferPointer { values in
                unsafe lengths.withUnsafeBufferPointer { lengths in
                    unsafe formats.withUnsafeBufferPointer { formats in
                        unsafe body(
                            Int32(values.count), types.baseAddress, values.baseAddress,
                            lengths.baseAddress, formats.baseAddress)
                    }
                }
            }
        }
    }

    /// False for null, which has no bytes.
    private mutating func encode(_ parameter: Parameter) -> Bool {
        switch parameter {
        case .bool(let value?): writer.write(UInt8(value ? 1 : 0))
        case .int2(let value?): writer.write(value)
        case .int4(let value?): writer.write(value)
        case .int8(let value?): writer.write(value)
        case .double(let value?): writer.write(value.bitPattern)
        case .text(let value?): writer.write(value)
        case .bytea(let value?): writer.write(value)
        case .uuid(let value?):
            writer.write(value.high)
            writer.write(value.low)
        case .timestamp(let value?): writer.write(value.sinceEpoch2000)
        case .jsonb(let value?):
            writer.write(UInt8(1))  // the version of the format (`jsonb_recv`)
            writer.write(value)
        case .bool, .int2, .int4, .int8, .double, .text, .bytea, .uuid, .timestamp, .jsonb:
            return false
        case .bools(let values): writer.write(values)
        case .int2s(let values): writer.writeIntegers(values, of: .int2)
        case .int4s(let values): writer.writeIntegers(values, of: .int4)
        case .int8s(let values): writer.writeIntegers(values, of: .int8)
        case .texts(let values): writer.write(values)
        case .optionalTexts(let values): writer.write(values)
        case .uuids(let values): writer.write(values)
        case .timestamps(let values): writer.write(values)
        case .optionalTimestamps(let values): writer.write(values)
        }
        return true
    }
}
