internal import CCurl
internal import Glibc
internal import IO

/// libcurl's side. Each callback notes and copies; none changes anything in libcurl.
extension Transfer {
    func setCallbacks() -> Bool {
        let context = unsafe Unmanaged.passUnretained(self).toOpaque()
        // Told by libcurl with OpenSSL alone; without it `tls` counts as `connect`.
        _ = unsafe bw_curl_set_tls_watch(
            handle,
            { _, _, context in
                unsafe Transfer.at(context)?.facts.hasTLSBegun = true
                return CURLE_OK
            }, context)
        let codes = unsafe [
            bw_curl_set_lookup_watch(
                handle,
                { _, _, context in
                    guard let transfer = unsafe Transfer.at(context),
                        !transfer.refusesRepetition()
                    else { return 1 }
                    transfer.facts.hasLookedUp = true
                    return 0
                }, context),
            bw_curl_set_socket_opener(
                handle,
                { context, _, address in
                    guard let transfer = unsafe Transfer.at(context), let address = unsafe address
                    else { return -1 }
                    return unsafe transfer.openSocket(&address.pointee)
                }, context),
            bw_curl_set_request_gate(
                handle,
                { context, _, _, _, _ in
                    guard let transfer = unsafe Transfer.at(context) else { return 1 }
                    return transfer.mayBegin() ? 0 : 1
                }, context),
            bw_curl_set_reader(
                handle,
                { room, size, count, context in
                    guard let transfer = unsafe Transfer.at(context), let room = unsafe room
                    else { return 0 }
                    return unsafe transfer.giveBody(
                        UnsafeMutableRawBufferPointer(start: room, count: size * count))
                }, context),
            bw_curl_set_seeker(
                handle,
                { context, offset, _ in
                    guard let transfer = unsafe Transfer.at(context), offset == 0,
                        !transfer.refusesRepetition()
                    else { return 1 }
                    transfer.bodyTaken = 0
                    return 0
                }, context),
            bw_curl_set_head_writer(
                handle,
                { bytes, size, count, context in
                    guard let transfer = unsafe Transfer.at(context), let bytes = unsafe bytes
                    else { return 0 }
                    let line = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
                    return unsafe transfer.takeHeadLine(line) ? line.count : 0
                }, context),
            bw_curl_set_writer(
                handle,
                { bytes, size, count, context in
                    guard let transfer = unsafe Transfer.at(context), let bytes = unsafe bytes
                    else { return 0 }
                    return unsafe transfer.takePiece(
                        UnsafeRawBufferPointer(start: bytes, count: size * count))
                }, context),
        ]
        return codes.allSatisfy { $0 == CURLE_OK }
    }

    /// The client holds each transfer until libcurl has let go of it.
    private static func at(_ context: UnsafeMutableRawPointer?) -> Transfer? {
        guard let context = unsafe context else { return nil }
        return unsafe Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    }

    /// libcurl sends a request again by itself when a kept connection died under it before an answer
    /// came. It then rewinds the body, looks the name up, makes a socket, passes the gate: whichever it
    /// does first tells us, and a request that may be sent once only ends there.
    private func refusesRepetition() -> Bool {
        if facts.tries > 0 && !isRepeatable { facts.wasRepetitionRefused = true }
        return facts.wasRepetitionRefused
    }

    /// A socket for an address that may be connected to; -1, and no packet, for another.
    private func openSocket(_ address: inout curl_sockaddr) -> Int32 {
        if refusesRepetition() { return -1 }
        guard let target = IPAddress(&address) else { return -1 }
        if let scope = rule.refusal(of: target) {
            if facts.refused == nil { facts.refused = (target, scope) }
            return -1
        }
        let descriptor = socket(
            address.family, address.socktype | Int32(SOCK_CLOEXEC.rawValue), address.protocol)
        if descriptor >= 0 { facts.sockets += 1 }
        return descriptor
    }

    /// The gate before each sending of the request.
    private func mayBegin() -> Bool {
        if refusesRepetition() { return false }
        facts.tries += 1
        if facts.sockets == facts.socketsBefore { facts.reuses += 1 }
        facts.socketsBefore = facts.sockets
        return true
    }

    private func giveBody(_ room: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(room.count, requestBody.count - bodyTaken)
        guard count > 0 else { return 0 }
        unsafe requestBody.withUnsafeBytes { bytes in
            let piece = unsafe bytes[bodyTaken..<bodyTaken + count]
            unsafe room.copyBytes(from: piece)
        }
        bodyTaken += count
        if bodyTaken == requestBody.count { facts.isBodyTaken = true }
        return count
    }

    /// One line with its end; false ends the transfer. Lines after the body are trailers, left out.
    private func takeHeadLine(_ line: UnsafeRawBufferPointer) -> Bool {
        facts.hasHeadBegun = true
        headBytes += line.count
        if headBytes > headLimit {
            facts.isTooLarge = true
            return false
        }
        if head != nil { return true }
        let text = unsafe String(decoding: line, as: UTF8.self)
        if text.hasPrefix("HTTP/") {
            headFields = []
        } else if text == "\r\n" || text == "\n" {
            endHead()
        } else if let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) {
            // What has no token for a name is left out: the rest of a folded line, for one.
            let (name, value) = (text[..<colon], text[text.index(after: colon)...])
            if isToken(name) { headFields.append(HTTPClient.Field(String(name), trimmed(value))) }
        }
        return true
    }

    private func endHead() {
        let status = unsafe bw_curl_status(handle)
        guard status >= 200 else { return }  // interim: the final one is still to come
        head = HTTPClient.Head(status: status, fields: headFields)
        facts.hasHeadEnded = true
        tell()
    }

    /// How many octets were taken: all, none to end the transfer, or "wait".
    private func takePiece(_ piece: UnsafeRawBufferPointer) -> Int {
        var held = Int.max
        if case .pieces(_, let buffer) = delivery { held = buffer }
        if !body.isEmpty, body.count + piece.count > held {
            isPaused = true
            return Int(CURL_WRITEFUNC_PAUSE)
        }
        received += piece.count
        if received > bodyLimit {
            facts.isTooLarge = true
            return 0
        }
        if isLeft { return piece.count }
        unsafe body.append(contentsOf: piece)
        if held != .max { tell() }
        return piece.count
    }
}

extension IPAddress {
    /// The address that libcurl is about to connect to; nil of another family than IP.
    fileprivate init?(_ address: inout curl_sockaddr) {
        switch address.family {
        case AF_INET:
            let v4 = unsafe withUnsafeBytes(of: &address.addr) {
                unsafe $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
            }
            self.init(v4: UInt32(bigEndian: v4))
        case AF_INET6:
            // sockaddr_in6 is longer than the sockaddr in whose place libcurl keeps it.
            let words = unsafe withUnsafePointer(to: &address.addr) { start in
                let start = unsafe UnsafeRawPointer(start)
                return unsafe (
                    start.loadUnaligned(fromByteOffset: 8, as: UInt64.self),
                    start.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
                )
            }
            self.init(high: UInt64(bigEndian: words.0), low: UInt64(bigEndian: words.1))
        default: return nil
        }
    }
}

private func trimmed(_ text: Substring) -> String {
    var bytes = text.utf8
    while let last = bytes.last, last <= 0x20 { bytes.removeLast() }
    while let first = bytes.first, first <= 0x20 { bytes.removeFirst() }
    return String(Substring(bytes))
}
