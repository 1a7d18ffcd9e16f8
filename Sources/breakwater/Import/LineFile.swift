import Crypto
import Glibc

/// A file's lines, in bounded memory, and the hash of all its octets.
struct LineFile {
    struct Failure: Error, CustomStringConvertible { let description: String }

    let path: String
    /// Longer lines are cut there, and so refused by who reads them.
    let maxLineBytes: Int

    /// Calls `body` with each line and its number from 1; lines of white space alone are passed
    /// over. Answers the SHA-256 of the file.
    func read(_ body: (Int, [UInt8]) throws -> Void) throws -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open") }
        defer { close(descriptor) }
        var hash = SHA256()
        var room = [UInt8](repeating: 0, count: 1 << 18)
        var line: [UInt8] = []
        var number = 1
        func end() throws {
            if line.contains(where: { $0 > 0x20 }) { try body(number, line) }
            line.removeAll(keepingCapacity: true)
            number += 1
        }
        while true {
            let count = unsafe Glibc.read(descriptor, &room, room.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("read") }
            if count == 0 { break }
            hash.update(data: room[..<count])
            var rest = room[..<count]
            while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
                line += rest[..<newline].prefix(max(0, maxLineBytes + 1 - line.count))
                try end()
                rest = rest[(newline + 1)...]
            }
            line += rest.prefix(max(0, maxLineBytes + 1 - line.count))
        }
        try end()
        return Array(hash.finalize())
    }

    private func failure(_ call: String) -> Failure {
        Failure(description: "cannot \(call) \(path): \(unsafe String(cString: strerror(errno)))")
    }
}
