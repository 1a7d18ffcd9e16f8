/// Turns answers into bytes, RFC 9112 sections 4 to 7.
struct ResponseWriter {
    /// How the body is delimited.
    enum Framing {
        case length(Int)
        case chunked
        /// By the end of the connection: a stream to an HTTP/1.0 client.
        case close
        /// No body and no length: 204 and 304.
        case none
    }

    /// What an answer needs to know of its request.
    struct Context {
        let id: RequestID
        let isHTTP10: Bool
        /// HEAD: the head as for GET, no body.
        let isHead: Bool
        /// Whether the connection stays open.
        let keepsAlive: Bool

        init(id: RequestID, isHTTP10: Bool, isHead: Bool, keepsAlive: Bool) {
            self.id = id
            self.isHTTP10 = isHTTP10
            self.isHead = isHead
            self.keepsAlive = keepsAlive
        }

        init(_ request: Request, keepsAlive: Bool) {
            self.init(
                id: request.id, isHTTP10: request.head.minorVersion == 0,
                isHead: request.head.method == .head, keepsAlive: keepsAlive)
        }
    }

    static let continue100: StaticString = "HTTP/1.1 100 Continue\r\n\r\n"

    static func framing(of response: Response, _ context: Context) -> Framing {
        switch response.body {
        case _ where response.status.forbidsBody: .none
        case .empty, .abandoned: .length(0)
        case .bytes(let bytes): .length(bytes.count)
        case .stream: context.isHTTP10 ? .close : .chunked
        }
    }

    /// Appends the head. Octets that could end a line early become spaces.
    static func writeHead(
        _ response: Response, _ framing: Framing, _ context: Context, date: [UInt8],
        to buffer: inout ByteBuffer
    ) {
        let line = response.status.line
        if line.utf8CodeUnitCount > 0 {
            buffer.append(line)
        } else {
            buffer.append("HTTP/1.1 ")
            buffer.append(decimal: Int(response.status.code))
            buffer.append(" \r\n")
        }
        buffer.append(date)
        if let type = response.contentType {
            buffer.append("Content-Type: ")
            buffer.append(type.text)
            buffer.append("\r\n")
        }
        switch framing {
        case .length(let length):
            buffer.append("Content-Length: ")
            buffer.append(decimal: length)
            buffer.append("\r\nX-Request-Id: ")
        case .chunked: buffer.append("Transfer-Encoding: chunked\r\nX-Request-Id: ")
        case .close, .none: buffer.append("X-Request-Id: ")
        }
        writeID(context.id, to: &buffer)
        if !response.fields.isEmpty { writeFields(response.fields, to: &buffer) }
        if !context.keepsAlive {
            buffer.append("\r\nConnection: close\r\n\r\n")
        } else if context.isHTTP10 {
            buffer.append("\r\nConnection: keep-alive\r\n\r\n")
        } else {
            buffer.append("\r\n\r\n")
        }
    }

    private static func writeID(_ id: RequestID, to buffer: inout ByteBuffer) {
        switch id.origin {
        case .made(let high, let low):
            buffer.append(hex: high)
            buffer.append(hex: low)
        case .received(let text): buffer.append(text: text)
        }
    }

    private static func writeFields(_ fields: [Field], to buffer: inout ByteBuffer) {
        for field in fields where !field.name.belongsToLayer {
            buffer.append("\r\n")
            buffer.append(text: field.name.description)
            buffer.append(": ")
            buffer.append(fieldValue: field.value)
        }
    }

    /// One chunk, RFC 9112 section 7.1; `bytes` is not empty, since an empty chunk ends the body.
    static func writeChunk(_ bytes: [UInt8], to buffer: inout ByteBuffer) {
        precondition(!bytes.isEmpty)
        buffer.append(text: String(bytes.count, radix: 16))
        buffer.append("\r\n")
        buffer.append(bytes)
        buffer.append("\r\n")
    }

    static let lastChunk: StaticString = "0\r\n\r\n"
}

extension FieldName {
    /// Fields that only the layer itself may write: they decide where messages end.
    var belongsToLayer: Bool {
        switch description.utf8.count {
        case 4: self == "Date"
        case 10: self == .connection
        case 12: self == .xRequestID
        case 14: self == .contentLength
        case 17: self == "Transfer-Encoding"
        default: false
        }
    }
}
