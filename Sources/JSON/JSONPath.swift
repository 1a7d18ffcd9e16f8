/// The way from the root to the value that starts at one octet.
///
/// Found by walking the document again, which only an error pays for: linear in the octets before
/// the value, all of which the reader has already accepted.
struct JSONPath {
    private enum Step {
        case member(ArraySlice<UInt8>)  // the name as it stands in the document, escapes and all
        case element(Int)
    }

    /// Octets past which a pointer is cut to an enclosing value's: an error stays small.
    private static let maxPointerBytes = 1024

    private var steps: [Step] = []

    init(to target: Int, in bytes: [UInt8]) {
        var offset = 0
        var expectsName = false
        while offset < min(target, bytes.count) {
            switch bytes[offset] {
            case UInt8(ascii: "{"):
                steps.append(.member([]))
                expectsName = true
            case UInt8(ascii: "["):
                steps.append(.element(0))
                expectsName = false
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                _ = steps.popLast()
                expectsName = false
            case UInt8(ascii: ","):
                switch steps.popLast() {
                case .element(let index)?: steps.append(.element(index + 1))
                case .member?:
                    steps.append(.member([]))
                    expectsName = true
                case nil: break
                }
            case UInt8(ascii: "\""):
                let start = offset + 1
                offset = Self.closingQuote(from: start, in: bytes)
                if expectsName, !steps.isEmpty {
                    steps[steps.count - 1] = .member(bytes[start..<offset])
                    expectsName = false
                }
            default: break
            }
            offset += 1
        }
    }

    /// RFC 6901 section 3: `~` is written `~0`, `/` is written `~1`.
    var pointer: String {
        var pointer: [UInt8] = []
        for step in steps {
            let length = pointer.count
            pointer.append(UInt8(ascii: "/"))
            switch step {
            case .element(let index): pointer.append(contentsOf: String(index).utf8)
            case .member(let name): Self.append(Unescaped(name).bytes, to: &pointer)
            }
            if pointer.count > Self.maxPointerBytes {
                pointer.removeSubrange(length...)
                break
            }
        }
        return String(decoding: pointer, as: UTF8.self)
    }

    /// The pointer of a member of the value that this path leads to.
    func pointer(member name: ArraySlice<UInt8>) -> String {
        var path = self
        path.steps.append(.member(name))
        return path.pointer
    }

    private static func append(_ name: ArraySlice<UInt8>, to pointer: inout [UInt8]) {
        for octet in name {
            switch octet {
            case UInt8(ascii: "~"): pointer.append(contentsOf: "~0".utf8)
            case UInt8(ascii: "/"): pointer.append(contentsOf: "~1".utf8)
            default: pointer.append(octet)
            }
        }
    }

    private static func closingQuote(from start: Int, in bytes: [UInt8]) -> Int {
        var offset = start
        while offset < bytes.count, bytes[offset] != UInt8(ascii: "\"") {
            offset += bytes[offset] == UInt8(ascii: "\\") ? 2 : 1
        }
        return min(offset, bytes.count)
    }
}
