/// A member's name, compared octet by octet against literals without making a `String`.
///
/// ```swift
/// switch key {
/// case "operation": operation = try reader.readString(maxBytes: 64)
/// default: throw reader.unknownField(key)
/// }
/// ```
///
/// Two names are one if their Unicode scalars are: `String`'s `==` also equates what merely looks
/// the same (composed and decomposed accents), and RFC 8259 section 8.3 does not.
package struct JSONKey: Hashable, Sendable {
    /// The name, unescaped: UTF-8 that the reader has checked.
    let bytes: ArraySlice<UInt8>

    package var string: String { String(decoding: bytes, as: UTF8.self) }

    package static func == (key: JSONKey, name: String) -> Bool {
        let octets = name.utf8.span
        guard octets.count == key.bytes.count else { return false }
        let own = key.bytes.span
        for index in own.indices where own[index] != octets[index] { return false }
        return true
    }

    package static func ~= (name: String, key: JSONKey) -> Bool { key == name }
}
