package import JSON

/// An operation's name: 1 to 64 of `[a-z0-9_.-]`.
package func operationName(_ text: String) -> Bool {
    (1...64).contains(text.utf8.count)
        && text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
                true
            default: false
            }
        }
}

extension JSONReader {
    package mutating func readOperation() throws(JSONError) -> String {
        let text = try readString(maxBytes: 64)
        guard operationName(text) else {
            throw failure(.range, "must be 1 to 64 of a-z, 0-9, '_', '.', '-'")
        }
        return text
    }
}
