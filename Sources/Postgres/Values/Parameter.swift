/// A value for `$1`, `$2`, ... of a statement, sent in PostgreSQL's binary form.
///
/// The type is part of the call even where the value is nil, so what the server prepares does not
/// depend on the first values that happen to come. A text must not hold U+0000: the server refuses
/// it, and with it all else in the batch.
package enum Parameter: Hashable, Sendable {
    case bool(Bool?)
    case int2(Int16?)
    case int4(Int32?)
    case int8(Int64?)
    case double(Double?)
    case text(String?)
    case bytea([UInt8]?)
    case uuid(UUID?)
    case timestamp(Timestamp?)
    /// JSON text; the server checks it.
    case jsonb(String?)

    case bools([Bool])
    case int2s([Int16])
    case int4s([Int32])
    case int8s([Int64])
    case texts([String])
    case optionalTexts([String?])
    case uuids([UUID])
    case timestamps([Timestamp])
    case optionalTimestamps([Timestamp?])

    var type: TypeID {
        switch self {
        case .bool: .bool
        case .int2: .int2
        case .int4: .int4
        case .int8: .int8
        case .double: .float8
        case .text: .text
        case .bytea: .bytea
        case .uuid: .uuid
        case .timestamp: .timestamptz
        case .jsonb: .jsonb
        case .bools: .boolArray
        case .int2s: .int2Array
        case .int4s: .int4Array
        case .int8s: .int8Array
        case .texts, .optionalTexts: .textArray
        case .uuids: .uuidArray
        case .timestamps, .optionalTimestamps: .timestamptzArray
        }
    }
}
