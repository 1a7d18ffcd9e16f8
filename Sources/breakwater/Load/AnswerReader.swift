import IO

/// What of an HTTP/1.1 answer a load needs: its status, and where it ends.
struct AnswerReader {
    enum Failure: Error, CustomStringConvertible {
        case malformed(String)

        var description: String { if case .malformed(let what) = self { what } else { "" } }
    }

    private var bytes = [UInt8](repeating: 0, count: 16_384)
    private var start = 0
    private var end = 0
    /// Longer heads are not ours.
    private static let maxHead = 16_384
    private static let maxBody = 64 << 20

    /// Reads what the socket has; 0 at its end, nil if it would block.
    mutating func fill(from socket: Socket) throws(IOError) -> Int? {
        if start == end {
            start = 0
            end = 0
        } else if bytes.count - end < 4_096 {
            bytes.removeFirst(start)
            end -= start
            start = 0
            bytes.append(contentsOf: repeatElement(0, count: bytes.count + 4_096))
        }
        var outcome = Result<Int?, IOError>.success(nil)
        unsafe bytes.withUnsafeMutableBytes { block in
            let room = unsafe UnsafeMutableRawBufferPointer(rebasing: block[end...])
            do throws(IOError) {
                outcome = .success(unsafe try socket.read(into: room))
            } catch { outcome = .failure(error) }
        }
        let count = try outcome.get()
        end += count ?? 0
        return count
    }

    /// Takes the next whole answer; nil when more must come.
    mutating func next() throws(Failure) -> Int? {
        guard let head = endOfHead() else {
            if end - start > Self.maxHead { throw .malformed("a head over 16 KiB") }
            return nil
        }
        let status = digits(from: start + 9, to: start + 12)
        guard let status, status >= 200, bytes[start..<start + 5].elementsEqual("HTTP/".utf8)
        else { throw .malformed("no HTTP answer") }
        guard let length = status == 204 ? 0 : contentLength(upTo: head) else {
            throw .malformed("an answer without a Content-Length")
        }
        guard end - head >= length else { return nil }
        start = head + length
        return status
    }

    /// Behind the empty line.
    private func endOfHead() -> Int? {
        var index = start + 12
        while index + 3 < end {
            if bytes[index + 3] > 0x0d {
                index += 4
            } else if bytes[index] == 0x0d, bytes[index + 1] == 0x0a, bytes[index + 2] == 0x0d,
                bytes[index + 3] == 0x0a
            {
                return index + 4
            } else {
                index += 1
            }
        }
        return nil
    }

    private func contentLength(upTo head: Int) -> Int? {
        var line = start
        while line < head {
            let name = bytes[line..<min(line + 15, head)]
            if bytes[line] | 0x20 == 0x63,
                name.elementsEqual("content-length:".utf8, by: { $0 | 0x20 == $1 | 0x20 })
            {
                var from = line + 15
                while bytes[from] == 0x20 { from += 1 }
                let to = bytes[from..<head].firstIndex(of: 0x0d) ?? head
                return digits(from: from, to: to).flatMap { $0 <= Self.maxBody ? $0 : nil }
            }
            guard let next = bytes[line..<head].firstIndex(of: 0x0a) else { return nil }
            line = next + 1
        }
        return nil
    }

    private func digits(from: Int, to: Int) -> Int? {
        guard from < to, to <= end, to - from < 12 else { return nil }
        var value = 0
        for byte in bytes[from..<to] {
            guard (0x30...0x39).contains(byte) else { return nil }
            value = value * 10 + Int(byte - 0x30)
        }
        return value
    }
}
