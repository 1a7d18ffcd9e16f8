/// A request method, RFC 9110 section 9. Methods are case-sensitive: `get` is not GET.
package enum Method: Hashable, Sendable {
    case get
    case head
    case post
    case put
    case patch
    case delete
    case options
    case trace
    case connect
    case other(String)

    package init(_ text: String) {
        self = Method.known.first { $0.description == text } ?? .other(text)
    }

    static let known: [Method] = [
        .get, .head, .post, .put, .patch, .delete, .options, .trace, .connect,
    ]
}

extension Method: CustomStringConvertible {
    package var description: String {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .patch: "PATCH"
        case .delete: "DELETE"
        case .options: "OPTIONS"
        case .trace: "TRACE"
        case .connect: "CONNECT"
        case .other(let text): text
        }
    }
}

/// A method as the parser holds it: trivial to copy.
enum MethodToken: UInt8, Sendable {
    case get, head, post, put, patch, delete, options, trace, connect, other

    init(_ bytes: Span<UInt8>, in range: ByteRange) {
        switch range.count {
        case 3:
            self =
                bytes.equals("GET", in: range)
                ? .get : bytes.equals("PUT", in: range) ? .put : .other
        case 4:
            self =
                bytes.equals("POST", in: range)
                ? .post : bytes.equals("HEAD", in: range) ? .head : .other
        case 5:
            self =
                bytes.equals("PATCH", in: range)
                ? .patch : bytes.equals("TRACE", in: range) ? .trace : .other
        case 6: self = bytes.equals("DELETE", in: range) ? .delete : .other
        case 7:
            self =
                bytes.equals("OPTIONS", in: range)
                ? .options : bytes.equals("CONNECT", in: range) ? .connect : .other
        default: self = .other
        }
    }
}
